"""Spelling of ids and sums of money: equality and validity. Pure."""

from __future__ import annotations

import re
import unicodedata
from decimal import Context, Decimal, InvalidOperation
from typing import Any

CENT = Decimal("0.01")
_WIDE = Context(prec=5_000)
"""Precision of any number that JSON can contain; the default of 28 digits is less."""

_SETTING = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,2})?")
_ID = re.compile(r"[0-9]{1,40}")
_FOLDED_ID = re.compile(r"\+?([0-9]+)(?:\.0+)?")
_STARTS_AS_NUMBER = re.compile(r"[\s+-]*[0-9]")
_SIGNED = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_CENTS = 100


def amount(text: str) -> Decimal | None:
    """Parse a sum such as 250 or 250.00; None for any other text."""
    return Decimal(text) if _SETTING.fullmatch(text) else None


def parse_amount(value: Any) -> Decimal | None:
    """Parse a sum of money with two decimals: 97, "97.0" and "9.7E1" are equal.

    Rounds to cents, the smallest unit that Kartra pays: two sums that are paid alike may not
    pass as different. `amount_error` refuses a finer sum before a call uses it.
    """
    try:
        number = None if isinstance(value, bool) else _to_decimal(value)
        if number is None or not number.is_finite():
            return None
        return number.quantize(CENT, context=_WIDE)
    except InvalidOperation:
        return None


def format_amount(amount: Decimal | None) -> str | None:
    """Return a sum of money as a human reads it: two decimals."""
    return None if amount is None else f"{amount:.2f}"


def normalize_amount(value: Any) -> Decimal | None:
    """Parse like `parse_amount`, but without trailing zeros: the spelling in the ledger."""
    found = parse_amount(value)
    return None if found is None else Decimal(format(found.normalize(_WIDE), "f"))


def normalize_id(value: Any) -> str:
    """Normalize an id: `101`, `"101"`, `" 0101 "` and `101.0` are equal; addresses ignore case.

    Consent is bound to this spelling, so only what is certainly one object is equal.
    """
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    text = text.strip()
    if _ID.fullmatch(text):
        return str(int(text))
    return text.lower() if "@" in text else text


def to_json_id(identity: str) -> int | str:
    """Return an id as Kartra's commands take it: a number where it is a whole one."""
    return int(identity) if identity.isdecimal() else identity


def fold_id(value: Any) -> str | None:
    """Fold an id for the search of duplicates: everything that may be one object is equal.

    Besides `normalize_id`, ignores case, width and inner blanks of all text, and accepts `+101` and
    `"101.0"`. A duplicate that is missed pays twice; one too many costs a question. The result is
    stored in ledgers and may not change.
    """
    if value is None or isinstance(value, bool):
        return None
    text = " ".join(unicodedata.normalize("NFKC", normalize_id(value)).split()).casefold()
    number = _FOLDED_ID.fullmatch(text)
    return (number[1].lstrip("0") or "0") if number else text or None


def id_error(value: Any) -> str | None:
    """Return the reason why a text is not an id of Kartra, or None.

    PHP reads `101abc` as 101, so that it would be a second target that acts on the first.
    """
    if isinstance(value, str) and _STARTS_AS_NUMBER.match(value):
        folded = fold_id(value) or ""
        return None if _ID.fullmatch(folded) else "is not an id: Kartra's ids are whole numbers"
    return None


def amount_error(value: Any, *, cents: bool = False) -> str | None:
    """Return the reason why an amount is invalid, as a sentence, or None.

    `cents`: the amount is in whole cents.
    """
    if value is None:
        return "The amount is null."
    if isinstance(value, bool):
        return "The amount is true or false, not a number."
    if isinstance(value, str) and not value.strip():
        return "The amount is empty."
    plain = not isinstance(value, str) or _SIGNED.fullmatch(value.strip())
    number = _to_decimal(value) if plain else None
    if number is None:
        return "The amount is not a number."
    return _number_error(number / _CENTS if cents and number.is_finite() else number)


def is_typed(said: Any, wanted: str) -> bool:
    """Return whether the user typed what agrees: the same text, sum or id."""
    if not wanted:
        return True
    text = str(said or "").strip()
    amount, meant = parse_amount(text), parse_amount(wanted)
    # A finer sum would be rounded: 97.004 is not the 97.00 that the user was shown.
    same_sum = isinstance(amount, Decimal) and amount == meant and amount_error(text) is None
    return text == wanted or same_sum or normalize_id(text) == wanted


def parse_number(value: Any) -> Decimal | None:
    """Parse a number, or its plain decimal text; None for anything else, and for infinity."""
    if isinstance(value, bool) or (isinstance(value, str) and not _SIGNED.fullmatch(value.strip())):
        return None
    number = _to_decimal(value)
    return number if number is not None and number.is_finite() else None


def _number_error(number: Decimal) -> str | None:
    if not number.is_finite():
        return "The amount is not finite."
    if number == 0:
        return "The amount is 0."
    if number < 0:
        return "The amount is negative."
    finer = _CENTS % number.as_integer_ratio()[1] != 0
    return "The amount is finer than a cent." if finer else None


def _to_decimal(value: Any) -> Decimal | None:
    """Return the exact number; None for other types than numbers and text."""
    if isinstance(value, str):
        return Decimal(value.strip())
    if isinstance(value, float):
        return Decimal(repr(value))
    return Decimal(value) if isinstance(value, int | Decimal) else None
