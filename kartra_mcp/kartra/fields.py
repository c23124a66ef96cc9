"""Names of fields: ids, amounts, targets and leads, and how to find them in arguments. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object

TARGETS: Mapping[str, tuple[str, ...]] = {
    "transaction": (
        "transaction_id",
        "transaction",
        "sale_id",
        "payment_id",
        "order_id",
    ),
    "subscription": (
        "subscription_id",
        "subscription",
        "transaction_internal_subscription_id",
        "internal_subscription_id",
        "transaction_subscription_id",
        "recurring_id",
    ),
    "membership": ("membership_id", "membership_name", "membership"),
    "lead": (
        "lead_id",
        "contact_id",
        "customer_id",
        "lead_identifier",
        "email",
        "lead_email",
        "lead",
    ),
}
"""Kind of target and its field names, the most reliable first."""


AMOUNTS = (
    "refund_amount",
    "amount",
    "amount_to_refund",
    "refund_value",
    "partial_amount",
    "subscription_amount",
)
"""Field names of an amount of money."""


AMOUNT_WORDS = frozenset({"amount", "sum", "total", "value", "price", "cents"})


NON_AMOUNT_SUFFIXES = frozenset(
    {"id", "ids", "count", "currency", "type", "flag", "unit", "name", "reason", "note"}
)
"""Endings of names that are not amounts, although they contain one of `AMOUNT_WORDS`."""


LEAD_ALIASES = ("lead", "contact", "customer", "subscriber", "person", "user", "member", "record")


def normalize_name(name: str) -> str:
    """Normalize a name: `transactionId` and `Transaction-ID` become `transactionid`."""
    return _normalize_short(name) if len(name) <= MAX_CACHED_NAME else _normalize(name)


MAX_CACHED_NAME = 64
"""Characters of a name that is kept; longer ones are never names of fields."""


def _normalize(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


# A call looks at each of its names about ninety times.
_normalize_short = lru_cache(maxsize=8_192)(_normalize)


@lru_cache(maxsize=4_096)
def split_words(text: str) -> tuple[str, ...]:
    """Split a name: `refundLead`, `refund-lead` are refund, lead; `APIRefund` is api, refund."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return tuple(word for word in re.split(r"[^a-z0-9]+", split.lower()) if word)


def contains_word(name: str, wanted: str) -> bool:
    """Return whether a word of the name contains `wanted`: `autoRefund` and `autorefund` do."""
    return any(wanted in word for word in split_words(name))


ID_NAMES = frozenset(
    normalize_name(name)
    for name in ("id", *(n for names in TARGETS.values() for n in names))
    if "email" not in name and "name" not in name
)


NUMBER_NAMES = frozenset(
    {"id", "transactionid", "subscriptionid", "transactioninternalsubscriptionid", "leadid"}
)
"""Normalized names of ids that Kartra reads as numbers."""


COERCED_NAMES = ID_NAMES | {"step"}
"""Names of values that may be numbers or numeric text; Kartra's steps are `1`, `2`, `3a`."""


REFERENCE_NAMES = frozenset(
    normalize_name(name)
    for kind in ("transaction", "subscription", "lead")
    for name in TARGETS[kind]
)
"""Names that refer to a command's object; without any of them, Kartra refuses the command."""


AMOUNT_NAMES = frozenset(normalize_name(name) for name in AMOUNTS)


LEAD_ID_NAMES = frozenset(
    owner + end for owner in ("", *LEAD_ALIASES) for end in ("id", "identifier", "uid", "key")
)
"""Normalized names that identify the lead by an id instead of its address."""


RECIPIENT_FIELDS = frozenset(
    normalize_name(name)
    for name in ("email", "lead_email", "tag_name", "list_name", "sequence_name", "membership_name")
)
"""Names of the recipient or object of an operation, in addition to ids and amounts."""


def find_values(arguments: Any, names: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Yield every (name, value), nested too, whose normalized name is in `names`.

    An amount that has its number under `value` yields that number.
    """
    if is_object(arguments):
        for name, value in arguments.items():
            if normalize_name(str(name)) in names:
                yield str(name), _unwrap_number(str(name), value)
            if isinstance(value, _CONTAINERS):  # most values are scalars, which cost no generator
                yield from find_values(value, names)
    elif is_array(arguments):
        for value in arguments:
            if isinstance(value, _CONTAINERS):
                yield from find_values(value, names)


_CONTAINERS = (dict, list)


def find_status(arguments: Mapping[str, Any]) -> str:
    """Return the wanted status of modify_subscription_status, or "" if it is not one text."""
    found = [value for _, value in find_values(dict(arguments), STATUS_NAMES)]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else ""


STATUS_NAMES = frozenset({"subscriptionstatusmodification", "statusmodification", "status"})


def find_amount_names(arguments: Any, *, money: bool) -> frozenset[str]:
    """Return the normalized names of the amounts in these arguments.

    `money`: the operation moves money.
    """
    if not money:
        return AMOUNT_NAMES
    return AMOUNT_NAMES | {
        normalize_name(name) for name, _ in iter_fields(arguments) if is_amount(name)
    }


def find_amounts(arguments: Any, *, money: bool) -> Iterator[tuple[str, Any]]:
    """Yield every (name, value) of an amount, nested too; a flag with such a name is skipped."""
    for name, value in find_values(arguments, find_amount_names(arguments, money=money)):
        if normalize_name(name) in AMOUNT_NAMES or not isinstance(value, bool):
            yield name, value


def is_amount(name: str) -> bool:
    """Return whether a field of an operation that moves money is an amount by its words."""
    said = split_words(name)
    ends = said[-1:] and said[-1].endswith(tuple(AMOUNT_WORDS))
    return bool(ends or AMOUNT_WORDS.intersection(said)) and said[-1] not in NON_AMOUNT_SUFFIXES


def is_cents_field(name: str) -> bool:
    return "cents" in split_words(name)


def iter_fields(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every (name, value), nested too."""
    if is_object(value):
        for name, inner in value.items():
            yield str(name), inner
            yield from iter_fields(inner)
    elif is_array(value):
        for inner in value:
            yield from iter_fields(inner)


def _unwrap_number(name: str, value: Any) -> Any:
    """Return the number of an amount, such as 5 for `{"value": 5, "currency": "USD"}`."""
    if not is_object(value) or not (normalize_name(name) in AMOUNT_NAMES or is_amount(name)):
        return value
    return value.get("value", value.get("amount", value))
