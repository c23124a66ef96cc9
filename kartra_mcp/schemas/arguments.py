"""Validation of a call's arguments against the action's schema.

Nothing else accepts or refuses them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.schemas.argument_errors import Fault, faults, listed, unknown
from kartra_mcp.schemas.argument_errors import field as field_name
from kartra_mcp.schemas.coercion import DEPTH, amount_fault, normalised
from kartra_mcp.schemas.keywords import listing, mapping, text
from kartra_mcp.schemas.locations import Place, declared, demanded, elements, matched, member
from kartra_mcp.schemas.locations import place as place_of
from kartra_mcp.schemas.portable import Portable

__all__ = ["amount_fault", "checked", "normalised", "require_few"]

NAMED: Final = 5
MOST_NAMES: Final = 1_000
"""In one call, at all depths together; PHP, which Kartra runs on, reads no more of a form."""
ADDED_BY_CLIENTS: Final = "wait_for_previous"
"""Gemini CLI adds it to every tool, and sends it."""
_LARGEST: Final = 2**53
"""Programs in JavaScript, Membrane's among them, round whole numbers beyond it to another one."""

_NAMING: Final = ("properties", "patternProperties")

Path = tuple[str | int, ...]


def checked(
    portable: Portable,
    arguments: Mapping[str, Any] | None,
    *,
    strict: bool,
    extra: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the arguments under the action's own names.

    Args:
        portable: the action's schema.
        arguments: what the caller sent, under advertised or own names; None is no arguments.
        strict: refuse every undeclared name, in nested objects too.
        extra: top-level names of the server; accepted, and left out of the result.

    Raises:
        Refused: the arguments are invalid.
    """
    given = _json_object(arguments)
    shown = {name: shown_as for shown_as, name in portable.renames.items()}
    naming = _Naming(portable, shown, strict)
    own = naming.members(naming.stripped(given, extra), place_of(portable.enforced), ())
    found = _by_field(faults(portable, own, shown))
    for fault in naming.found:
        found[fault.field] = fault
    if found:
        raise _refused(list(found.values()), portable)
    return own


def require_few(arguments: Any) -> None:
    """Refuse more names than a call can use, before anything examines each of them."""
    found, left = 0, [arguments]
    while left and found <= MOST_NAMES:
        value = left.pop()
        if isinstance(value, dict):
            found += len(mapping(value))
            left += mapping(value).values()
        elif isinstance(value, list):
            left += listing(value)
    if found > MOST_NAMES:
        raise RefusedError(
            "invalid_arguments",
            f"Invalid arguments for this tool: more than {MOST_NAMES:,} names.",
            "Send only the arguments that the tool names. Nothing was done.",
        )


def _by_field(found: Iterator[Fault]) -> dict[str, Fault]:
    """Return the first error of each field, and all errors of the whole."""
    kept: dict[str, Fault] = {}
    for fault in found:
        kept.setdefault(fault.field or fault.text, fault)
    return kept


def _refused(found: list[Fault], portable: Portable) -> RefusedError:
    named = "; ".join(str(fault) for fault in found[:NAMED])
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    known = listed(sorted(mapping(portable.advertised.get("properties"))))
    return RefusedError(
        "invalid_arguments",
        f"Invalid arguments for this tool: {named}{more}.",
        f"Correct what is named and call the tool again ({known}). Nothing was done.",
    )


def _json_object(arguments: Any) -> dict[str, Any]:
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise _not_json(Fault("", "an object is expected"))
    given = dict(cast(Mapping[str, Any], arguments))
    fault = next(_foreign(given, ()), None)
    if fault is not None:
        raise _not_json(fault)
    return given


def _not_json(fault: Fault) -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        f"Invalid arguments for this tool: {fault}.",
        "Send the arguments as a plain JSON object. Nothing was done.",
    )


def _foreign(value: Any, path: Path) -> Iterator[Fault]:
    """Return what is not JSON or cannot be sent."""
    if len(path) > DEPTH:
        yield Fault(field_name(path[:3], {}), f"is nested deeper than {DEPTH} levels")
    elif isinstance(value, dict):
        yield from _foreign_members(cast(dict[Any, Any], value), path)
    elif isinstance(value, list):
        for index, item in enumerate(listing(value)):
            yield from _foreign(item, (*path, index))
    else:
        problem = _scalar_problem(value)
        if problem:
            yield Fault(field_name(path, {}), problem)


def _foreign_members(value: dict[Any, Any], path: Path) -> Iterator[Fault]:
    for name, item in value.items():
        if not isinstance(name, str) or _torn(name):
            yield Fault(field_name(path, {}), "every name in an object must be text")
        else:
            yield from _foreign(item, (*path, name))


def _scalar_problem(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number is expected"
    if value is None or isinstance(value, bool | float):
        return ""
    if isinstance(value, int):
        return "" if abs(value) < _LARGEST else "a number below 2^53 is expected"
    if isinstance(value, str):
        return "text in whole characters is expected" if _torn(value) else ""
    return "a JSON value is expected"


def _torn(value: str) -> bool:
    return text(value) != value


@dataclass(slots=True)
class _Naming:
    """Map a caller's names to the action's own, and collect the unknown ones."""

    portable: Portable
    shown: Mapping[str, str]
    strict: bool
    found: list[Fault] = field(default_factory=list[Fault])

    def stripped(self, given: dict[str, Any], extra: frozenset[str]) -> dict[str, Any]:
        """Remove the server's own arguments and those that a client is known to inject."""
        aside = extra | {ADDED_BY_CLIENTS}
        known = self.portable.declared
        return {
            name: value
            for name, value in given.items()
            if name not in aside or self.portable.renames.get(name, name) in known
        }

    def members(self, given: dict[str, Any], at: Place, path: Path) -> dict[str, Any]:
        known = declared(at).keys() | (self.portable.declared if not path else demanded(at))
        out: dict[str, Any] = {}
        for name, value in given.items():
            own = self._own(name, known)
            if own not in known and not self._welcome(name, at, path):
                self._fault((*path, name), unknown(name, {self.shown.get(n, n) for n in known}))
            if own in given and own != name and not _same(given[own], value):
                self._fault((*path, own), f"is given twice, as {name} too, with different values")
            out[own] = self._value(value, member(at, own), (*path, own))
        return out

    def _own(self, name: str, known: frozenset[str] | set[str]) -> str:
        renamed = self.portable.renames.get(name, name)
        return renamed if name not in known and renamed in known else name

    def _welcome(self, name: str, at: Place, path: Path) -> bool:
        if self.strict:
            return bool(path) and not any(
                mapping(view.get(word)) for view in at for word in _NAMING
            )
        return bool(path or matched(at, name) or self.portable.missing or self.portable.open)

    def _fault(self, path: Path, text: str) -> None:
        self.found.append(Fault(field_name(path, self.shown), text))

    def _value(self, value: Any, at: Place, path: Path) -> Any:
        if isinstance(value, dict):
            return self.members(mapping(value), at, path)
        if isinstance(value, list):
            inner = elements(at)
            return [self._value(v, inner, (*path, i)) for i, v in enumerate(listing(value))]
        return value


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other
