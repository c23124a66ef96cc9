"""Coerce ids and amounts between numbers and numeric strings. No other module does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

from kartra_mcp.schemas.keywords import listing, mapping
from kartra_mcp.schemas.locations import Place, declared, elements, member, place, types_at
from kartra_mcp.schemas.portable import Portable

DEPTH: Final = 64
_WHOLE: Final = re.compile(r"[0-9]{1,40}")
_DECIMAL: Final = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?")
_SIGNED: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_CENTS: Final = 100

Form = re.Pattern[str] | None
"""How the text of an id or an amount is written; None for what is neither."""


def normalised(
    portable: Portable,
    arguments: Mapping[str, Any] | None,
    ids: frozenset[str],
    amounts: frozenset[str],
) -> dict[str, Any]:
    """Return the arguments with ids and amounts in the declared type.

    Anything unclear is unchanged.
    """
    reading = _Reading(portable.renames, _folded(ids), _folded(amounts))
    return reading.members(dict(arguments or {}), place(portable.enforced), 0)


@cache
def _folded(names: frozenset[str]) -> frozenset[str]:
    return frozenset(_fold(name) for name in names)


def _fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()


def _is_id(folded: str) -> bool:
    return folded.endswith(("id", "ids"))


@dataclass(frozen=True, slots=True)
class _Reading:
    renames: Mapping[str, str]
    ids: frozenset[str]
    amounts: frozenset[str]

    def members(
        self, given: dict[str, Any], at: Place, depth: int, form: Form = None
    ) -> dict[str, Any]:
        """Coerce an object's members.

        `form` is that of its own name, which `value` inside inherits.
        """
        return {name: self._member(name, value, at, depth, form) for name, value in given.items()}

    def _member(self, name: str, value: Any, at: Place, depth: int, form: Form) -> Any:
        known = declared(at)
        own = name if name in known else self.renames.get(name, name)
        if own not in known:
            return self._value(value, member(at, name), None, depth)
        found = form if own == "value" else self._form({_fold(name), _fold(own)})
        return self._value(value, member(at, own), found, depth)

    def _form(self, folded: set[str]) -> Form:
        if folded & self.amounts:
            return _DECIMAL
        return _WHOLE if folded & self.ids or any(map(_is_id, folded)) else None

    def _value(self, value: Any, at: Place, form: Form, depth: int) -> Any:
        if depth >= DEPTH:
            return value
        if isinstance(value, dict):
            return self.members(mapping(value), at, depth + 1, form)
        if isinstance(value, list):
            return [self._value(item, elements(at), form, depth + 1) for item in listing(value)]
        return value if form is None else _retyped(value, form, types_at(at))


def _retyped(value: Any, form: re.Pattern[str], types: frozenset[str]) -> Any:
    numeric = types & {"integer", "number"}
    written = _written(value)
    if written is None or bool(numeric) == ("string" in types) or not form.fullmatch(written):
        return value
    if not numeric:
        return written
    return _number(value, written, whole="number" not in numeric)


def _written(value: Any) -> str | None:
    """Return a number, or a numeric string, as digits: 101.0 is `101`, 97.5 is `97.5`."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return _digits(number) if number.is_finite() else None


def _digits(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _number(value: Any, written: str, *, whole: bool) -> Any:
    """Return the exact number of the digits; else the value unchanged."""
    exact = Decimal(written)
    if exact == exact.to_integral_value():
        keep = isinstance(value, float) and not whole
        return value if keep else int(exact)
    found = float(written)
    return found if not whole and Decimal(repr(found)) == exact else value


def amount_fault(value: Any, *, cents: bool = False) -> str | None:
    """Return why an amount (of whole cents, if so) is invalid, in a sentence.

    None if it is valid.
    """
    if value is None:
        return "The amount is null."
    if isinstance(value, bool):
        return "The amount is true or false, not a number."
    if isinstance(value, str) and not value.strip():
        return "The amount is empty."
    number = _amount(value)
    if number is None:
        return "The amount is not a number."
    return _number_fault(number / _CENTS if cents and number.is_finite() else number)


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, str):
        written = value.strip()
        return Decimal(written) if _SIGNED.fullmatch(written) else None
    if isinstance(value, float):
        return Decimal(repr(value))
    return Decimal(value) if isinstance(value, int | Decimal) else None


def _number_fault(number: Decimal) -> str | None:
    if not number.is_finite():
        return "The amount is not finite."
    if number == 0:
        return "The amount is 0."
    if number < 0:
        return "The amount is negative."
    finer = _CENTS % number.as_integer_ratio()[1] != 0
    return "The amount is finer than a cent." if finer else None
