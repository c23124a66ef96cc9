"""Sanitize the keywords of a schema, one at a time; only here is a keyword's value judged."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from typing import Any, Final

from kartra_mcp.core.json_types import as_dict, as_list, json_type

TYPE_NAMES: Final = ("string", "integer", "number", "boolean", "object", "array", "null")
MAX_ENUM_VALUES: Final = 100
_VALUE_DEPTH: Final = 24
_LARGEST: Final = 10**300

_FORMATS: Final = {
    **{name: name for name in ("date-time", "date", "time", "duration", "email", "hostname")},
    **{name: name for name in ("ipv4", "ipv6", "uri", "uri-reference", "uuid")},
    "datetime": "date-time",
    "url": "uri",
}
ANNOTATION_KEYWORDS: Final = frozenset(
    "title description default examples deprecated readOnly writeOnly format".split()  # noqa: SIM905
)
"""Annotations: keywords that validate nothing."""


class _Dropped:
    """Marker for a value that cannot be kept."""


DROPPED: Final = _Dropped()
FALSE_SCHEMA: Final[dict[str, Any]] = {"not": {}}
"""Replacement of `false` for a property: unlike `false`, errors keep their location."""


def matches_type(value: Any, names: list[str]) -> bool:
    """Return whether a value has one of the types."""
    own = json_type(value)
    return own in names or (own == "integer" and "number" in names)


def type_names(schema: dict[str, Any]) -> list[str]:
    """Return the types of a schema as a list: trimmed, known ones only, without duplicates."""
    named = schema.get("type")
    wanted = as_list(named) or [named]
    clean = [name.strip().lower() for name in wanted if isinstance(name, str)]
    return [name for name in dict.fromkeys(clean) if name in TYPE_NAMES]


def sanitize_value(value: Any, depth: int = 0) -> Any:
    """Return a JSON value that can be sent, or DROPPED: no NaN, no formula, no endless nesting."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, int | float):
        return value if _is_sound(value) else DROPPED
    if depth >= _VALUE_DEPTH:
        return DROPPED
    return (
        _sanitize_list(value, depth) if isinstance(value, list) else _sanitize_object(value, depth)
    )


def _is_sound(number: float) -> bool:
    return math.isfinite(number) if isinstance(number, float) else abs(number) < _LARGEST


def _sanitize_list(value: Any, depth: int) -> Any:
    kept = [sanitize_value(item, depth + 1) for item in as_list(value)]
    return DROPPED if any(item is DROPPED for item in kept) else kept


def _sanitize_object(value: Any, depth: int) -> Any:
    found = as_dict(value)
    if not isinstance(value, dict) or any(str(key).startswith("$") for key in found):
        return DROPPED
    kept = {
        replace_surrogates(str(key)): sanitize_value(item, depth + 1) for key, item in found.items()
    }
    return DROPPED if any(item is DROPPED for item in kept.values()) else kept


def replace_surrogates(value: str) -> str:
    """Return the text without unpaired surrogates, which cannot be encoded."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _text_or_dropped(value: Any) -> Any:
    return replace_surrogates(value) if isinstance(value, str) else DROPPED


def _flag_or_dropped(value: Any) -> Any:
    return value if isinstance(value, bool) else DROPPED


def _number_or_dropped(value: Any) -> Any:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and _is_sound(value)
    return value if ok else DROPPED


def _positive_or_dropped(value: Any) -> Any:
    number = _number_or_dropped(value)
    return number if number is not DROPPED and number > 0 else DROPPED


def _count_or_dropped(value: Any) -> Any:
    number = _number_or_dropped(value)
    return int(number) if number is not DROPPED and number >= 0 and number % 1 == 0 else DROPPED


def _format_or_dropped(value: Any) -> Any:
    return _FORMATS.get(value.strip().lower(), DROPPED) if isinstance(value, str) else DROPPED


def _sanitize_examples(value: Any) -> Any:
    kept = [sanitize_value(item) for item in (as_list(value) or [value])]
    return [item for item in kept if item is not DROPPED] or DROPPED


def pattern_or_dropped(value: Any) -> Any:
    """Return the pattern if Python's `re` compiles it without a warning."""
    if not isinstance(value, str):
        return DROPPED
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(value)
    except (re.error, OverflowError, RecursionError, Warning):
        return DROPPED
    return value if replace_surrogates(value) == value else DROPPED


def _names_or_dropped(value: Any) -> Any:
    names = list(dict.fromkeys(name for name in as_list(value) if isinstance(name, str)))
    return names or DROPPED


def _sanitize_dependents(value: Any) -> Any:
    kept = {key: _names_or_dropped(names) for key, names in as_dict(value).items()}
    return {key: names for key, names in kept.items() if names is not DROPPED} or DROPPED


RULES: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("title", "description"), _text_or_dropped),
    **dict.fromkeys(("deprecated", "readOnly", "writeOnly", "uniqueItems"), _flag_or_dropped),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _count_or_dropped),
    **dict.fromkeys(
        ("minProperties", "maxProperties", "minContains", "maxContains"), _count_or_dropped
    ),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number_or_dropped
    ),
    "multipleOf": _positive_or_dropped,
    "format": _format_or_dropped,
    "pattern": pattern_or_dropped,
    "default": sanitize_value,
    "const": sanitize_value,
    "examples": _sanitize_examples,
    "required": _names_or_dropped,
    "dependentRequired": _sanitize_dependents,
}


def type_keyword(names: list[str]) -> dict[str, Any]:
    if not names:
        return {}
    return {"type": names[0] if len(names) == 1 else names}


def coerce_enum_value(value: Any, names: list[str]) -> Any:
    """Convert an enum value to its type: Membrane writes an integer 1 as `"1"`."""
    if isinstance(value, str) and names and not matches_type(value, names):
        if re.fullmatch(r"-?[0-9]{1,18}", value) and matches_type(1, names):
            return int(value)
        if value in {"true", "false"} and "boolean" in names:
            return value == "true"
    return value


def describe_open_enum(values: list[Any], description: str) -> dict[str, Any]:
    """Move an open enum's values to the description."""
    shown = [str(value) for value in values if isinstance(value, str | int | float)]
    if not shown:
        return {}
    more = f" and {len(shown) - MAX_ENUM_VALUES} more" if len(shown) > MAX_ENUM_VALUES else ""
    listed = f"Known values: {', '.join(shown[:MAX_ENUM_VALUES])}{more}"
    return {"description": f"{description} {listed}".strip()}


def upgrade_draft(node: dict[str, Any]) -> dict[str, Any]:
    """Upgrade keywords of older drafts: tuple items, dependencies, boolean exclusive bounds."""
    out = dict(node)
    if isinstance(out.get("items"), list):
        out["prefixItems"] = out.pop("items")
        if "additionalItems" in out:
            out["items"] = out["additionalItems"]
    for bound in ("Minimum", "Maximum"):
        if isinstance(out.get(f"exclusive{bound}"), bool):
            exclusive = out.pop(f"exclusive{bound}")
            if exclusive and bound.lower() in out:
                out[f"exclusive{bound}"] = out.pop(bound.lower())
    return _split_dependencies(out)


def _split_dependencies(out: dict[str, Any]) -> dict[str, Any]:
    old = as_dict(out.pop("dependencies", None))
    for key, kinds in (("dependentRequired", list), ("dependentSchemas", dict)):
        found: dict[str, Any] = {
            name: item for name, item in old.items() if isinstance(item, kinds)
        }
        if found:
            out[key] = {**found, **as_dict(out.get(key))}
    return out
