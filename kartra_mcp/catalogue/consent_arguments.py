"""Consent arguments of gated tools, next to an action's own arguments. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kartra_mcp.core.models import ConsentArguments

PROPERTIES: Mapping[str, dict[str, Any]] = {
    "confirm": {
        "type": "boolean",
        "description": "The user agreed to exactly this",
    },
    "confirmation_id": {"type": "string"},
    "confirmation_summary": {"type": "string"},
}
REPEAT: Mapping[str, dict[str, Any]] = {
    "repeat": {
        "type": "boolean",
        "description": "Run it again",
    },
}


ALL = PROPERTIES.keys() | REPEAT.keys()


def consent_properties(own: Iterable[str], *, repeat: bool) -> dict[str, dict[str, Any]]:
    """Return the consent arguments, prefixed with `kartra_` if the action has such a field.

    None is required, so that a first call gets its preview and not a schema error.
    """
    taken = frozenset(own)
    return {
        _free_name(name, taken): schema
        for name, schema in _offered_properties(repeat=repeat).items()
    }


def split_consent(
    own: Iterable[str], given: Mapping[str, Any], *, repeat: bool
) -> tuple[dict[str, Any], ConsentArguments]:
    """Split the action's own arguments from the consent arguments.

    Only the boolean true is a yes; an id or a summary must be text.
    """
    taken = frozenset(own)
    names = {_free_name(name, taken): name for name in _offered_properties(repeat=repeat)}
    rest = {name: value for name, value in given.items() if name not in names}
    said = {names[name]: value for name, value in given.items() if name in names}
    return rest, ConsentArguments(
        confirm=said.get("confirm") is True,
        confirmation_id=_text_or_none(said.get("confirmation_id")),
        confirmation_summary=_text_or_none(said.get("confirmation_summary")),
        repeat=said.get("repeat") is True,
        confirm_name=_free_name("confirm", taken),
    )


def merge_consent(own: Iterable[str], said: Mapping[str, Any], *, repeat: bool) -> dict[str, Any]:
    """Merge consent arguments into an action's own, under the names that `split_consent` expects.

    Arguments that its tool does not take are left out.
    """
    taken = frozenset(own)
    return {_free_name(n, taken): said[n] for n in _offered_properties(repeat=repeat) if n in said}


def _offered_properties(*, repeat: bool) -> dict[str, dict[str, Any]]:
    return {**PROPERTIES, **REPEAT} if repeat else dict(PROPERTIES)


def _free_name(name: str, taken: frozenset[str]) -> str:
    return _free_name(f"kartra_{name}", taken) if name in taken else name


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
