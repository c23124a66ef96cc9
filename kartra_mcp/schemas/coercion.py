"""Coerce arguments to the declared JSON type where the meaning is certain. No other module does.

Ids and amounts may be numbers or numeric text, a list or an object may be its JSON text, and null
may stand for an absent field. Only the JSON type changes. Which ids and amounts are equal or valid
is in `kartra/values.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

from kartra_mcp.core.json_types import as_dict, as_list, json_type
from kartra_mcp.schemas.locations import (
    Location,
    always_required_names,
    at_items,
    at_property,
    declared_types,
    locate,
    property_names,
)
from kartra_mcp.schemas.portable import PortableSchema

DEPTH: Final = 64
MAX_JSON_TEXT: Final = 1_000_000
"""Characters of a list or an object that is given as text."""
_WHOLE: Final = re.compile(r"[0-9]{1,40}")
_DECIMAL: Final = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?")

NumberPattern = re.Pattern[str] | None
"""Spelling of the text of an id or an amount; None for any other field."""


def coerce_numbers(
    portable: PortableSchema,
    arguments: Mapping[str, Any] | None,
    ids: frozenset[str],
    amounts: frozenset[str],
) -> dict[str, Any]:
    """Return the arguments with ids and amounts in the declared type.

    Anything unclear is unchanged.
    """
    reading = _Coercer(portable.renames, _fold_names(ids), _fold_names(amounts))
    return reading.coerce_members(dict(arguments or {}), locate(portable.enforced), 0)


def drop_absent(
    portable: PortableSchema, given: Mapping[str, Any], optional: frozenset[str] | None
) -> dict[str, Any]:
    """Return the arguments without null, and "" for a number, where that means an absent field.

    Args:
        portable: the schema; a required field is kept, and null where the schema allows it.
        given: top-level arguments, under advertised or own names.
        optional: folded names that may be left out without a larger effect; None is all of them.
    """
    if all(value is not None and value != "" for value in given.values()):
        return dict(given)
    at, needed = locate(portable.enforced), always_required_names(portable.enforced)
    known = property_names(at)

    def is_absent(name: str, value: Any) -> bool:
        if value is not None and value != "":
            return False
        own = name if name in known else portable.renames.get(name, name)
        if (
            own not in known
            or own in needed
            or (optional is not None and _fold(own) not in optional)
        ):
            return False
        types = declared_types(at_property(at, own))
        if value is None:
            return bool(types) and "null" not in types
        return bool(types) and types <= {"integer", "number"}

    return {name: value for name, value in given.items() if not is_absent(name, value)}


@cache
def _fold_names(names: frozenset[str]) -> frozenset[str]:
    return frozenset(_fold(name) for name in names)


def _fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()


def _is_id(folded: str) -> bool:
    return folded.endswith(("id", "ids"))


@dataclass(frozen=True, slots=True)
class _Coercer:
    renames: Mapping[str, str]
    ids: frozenset[str]
    amounts: frozenset[str]

    def coerce_members(
        self, given: dict[str, Any], at: Location, depth: int, form: NumberPattern = None
    ) -> dict[str, Any]:
        """Coerce an object's members.

        `form` is the pattern of the object's own name, which its member `value` inherits.
        """
        known = property_names(at).keys()
        return {
            name: self._coerce_member(name, value, at, known, depth, form)
            for name, value in given.items()
        }

    def _coerce_member(
        self,
        name: str,
        value: Any,
        at: Location,
        known: Collection[str],
        depth: int,
        form: NumberPattern,
    ) -> Any:
        own = name if name in known else self.renames.get(name, name)
        if own not in known:
            own = name
        found = form if own == "value" else self._pick_pattern({_fold(name), _fold(own)})
        return self._coerce_value(value, at_property(at, own), found, depth)

    def _pick_pattern(self, folded: set[str]) -> NumberPattern:
        if folded & self.amounts:
            return _DECIMAL
        return _WHOLE if folded & self.ids or any(map(_is_id, folded)) else None

    def _coerce_value(self, value: Any, at: Location, form: NumberPattern, depth: int) -> Any:
        if depth >= DEPTH:
            return value
        if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
            value = _parse_container(value, _container_types(at))
        if isinstance(value, dict):
            return self.coerce_members(as_dict(value), at, depth + 1, form)
        if isinstance(value, list):
            return [
                self._coerce_value(item, at_items(at), form, depth + 1) for item in as_list(value)
            ]
        return value if form is None else _retype(value, form, declared_types(at))


def _container_types(at: Location) -> frozenset[str]:
    """Return the types of a value that is only a list or an object; empty for any other."""
    types = declared_types(at) - {"null"}
    if not types:
        objects = any("properties" in view for view in at)
        return frozenset({"object"} if objects else ())
    return types if types <= {"object", "array"} else frozenset()


def _parse_container(text: str, types: frozenset[str]) -> Any:
    """Return the list or the object that a text is exactly; else the text unchanged."""
    if not types or len(text) > MAX_JSON_TEXT:
        return text
    try:
        found = json.loads(
            text, object_pairs_hook=_reject_repeated_names, parse_constant=_reject_constant
        )
    except (ValueError, RecursionError):
        return text
    return found if json_type(found) in types else text


def _reject_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name is repeated, and parsers differ in the value that they keep")
    return dict(pairs)


def _reject_constant(name: str) -> Any:
    raise ValueError(name)


def _retype(value: Any, form: re.Pattern[str], types: frozenset[str]) -> Any:
    numeric = types & {"integer", "number"}
    written = format_number(value)
    if written is None or bool(numeric) == ("string" in types) or not form.fullmatch(written):
        return value
    if not numeric:
        return written
    return _parse_number(value, written, whole="number" not in numeric)


def format_number(value: Any) -> str | None:
    """Return a number, or a numeric string, as digits: 101.0 is `101`, 97.5 is `97.5`."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return _format_digits(number) if number.is_finite() else None


def _format_digits(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _parse_number(value: Any, written: str, *, whole: bool) -> Any:
    """Return the exact number of the digits; else the value unchanged."""
    exact = Decimal(written)
    if exact == exact.to_integral_value():
        keep = isinstance(value, float) and not whole
        return value if keep else int(exact)
    found = float(written)
    return found if not whole and Decimal(repr(found)) == exact else value
