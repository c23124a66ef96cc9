"""Values that Kartra refuses in a command, as tables: ranges, choices, dates, missing fields. Pure.

The user is not asked for a call that cannot run, so a call is checked by these rules first. The
numbers in comments are Kartra's error types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Command
from kartra_mcp.kartra import dates
from kartra_mcp.kartra.fields import STATUS_NAMES, TARGETS, iter_fields, normalize_name
from kartra_mcp.kartra.values import parse_number

Check = Callable[[Any], str | None]
"""A check of one value; it returns the reason of a refusal."""


@dataclass(frozen=True, slots=True)
class ValueFault:
    """One field that Kartra would refuse, and the reason, as a predicate of the field."""

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field} {self.reason}"


@dataclass(frozen=True, slots=True)
class GivenFields:
    """Arguments of a command by Kartra's name of the field.

    `exact`: the arguments are Kartra's own, so that it ignores any other name. An action may have
    names of its own, which are in `others`. Empty values count as absent; `blank` has Kartra's
    names of their fields.
    """

    command: str
    exact: bool
    known: Mapping[str, tuple[str, Any]]
    others: frozenset[str]
    blank: frozenset[str] = frozenset()

    def text(self, field: str) -> str:
        return str(self.known[field][1]).strip() if field in self.known else ""


def find_value_faults(command: Command, *, exact: bool) -> Iterator[ValueFault]:
    """Yield every value that Kartra would refuse; `exact` as in `GivenFields`."""
    if command.name not in _CHECKS:
        return
    given = _read_fields(command, exact=exact)
    for field in _REQUIRED.get(command.name, ()):
        if field not in given.known and (exact or field in given.blank):
            yield ValueFault(field, "is missing or empty")
    for field, (name, value) in given.known.items():
        reason = _CHECKS[command.name][field](value)
        if reason:
            yield ValueFault(name, reason)
    combined = _COMBINED.get(command.name)
    if combined:
        yield from combined(given)


def find_past_date(command: Command, now: datetime) -> ValueFault | None:
    """Return the date of a command that is in the past (261); `now` has a zone."""
    if command.name not in {"edit_subscription", "calendar_subscribe"}:
        return None
    given = _read_fields(command, exact=False)
    if command.name == "edit_subscription":
        name, moment = _NEXT, dates.parse_payment_date(given.text(_NEXT))
    else:
        name, moment = "starting_date", _class_start(given)
    present = dates.to_kartra_time(now)
    if moment is None or moment > present:
        return None
    return ValueFault(name, f"is in the past: Kartra's clock (EST) shows {present:%Y-%m-%d %H:%M}")


def _read_fields(command: Command, *, exact: bool) -> GivenFields:
    aliases = {normalize_name(field): field for field in _CHECKS[command.name]}
    own_names = exact and command.name not in _UNDOCUMENTED
    if not own_names:
        aliases |= _ALIASES.get(command.name, {})
    known: dict[str, tuple[str, Any]] = {}
    others: set[str] = set()
    blank: set[str] = set()
    for name, value in iter_fields(dict(command.arguments)):
        plain = normalize_name(name)
        field = aliases.get(plain, "")
        if _is_blank(value):
            blank.add(field)
            continue
        if plain in _IDENTITY and not field:
            continue
        if field and (not own_names or name == field):
            known.setdefault(field, (name, value))
        else:
            others.add(name)
    return GivenFields(command.name, exact, known, frozenset(others), frozenset(blank))


def _is_blank(value: Any) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


# ── Checks of one value ──


def _whole(least: int, most: int | None = None) -> Check:
    words = f"of at least {least}" if most is None else f"from {least} to {most:,}"

    def check(value: Any) -> str | None:
        number = parse_number(value)
        whole = number is not None and number == number.to_integral_value()
        if number is not None and whole and least <= number <= (number if most is None else most):
            return None
        return f"is not a whole number {words}"

    return check


def _between(least: str, most: str) -> Check:
    low, high = Decimal(least), Decimal(most)

    def check(value: Any) -> str | None:
        number = parse_number(value)
        fits = number is not None and low <= number <= high
        return None if fits else f"is not a number from {low:,} to {high:,}"

    return check


def _one_of(*choices: str) -> Check:
    def check(value: Any) -> str | None:
        return None if _text(value) in choices else f"is not one of: {', '.join(choices)}"

    return check


def _matches(pattern: str, words: str) -> Check:
    compiled = re.compile(pattern)

    def check(value: Any) -> str | None:
        return None if compiled.fullmatch(_text(value)) else words

    return check


def _any(_: Any) -> None:
    return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else "\0"


def _check_payment_date(value: Any) -> str | None:
    if dates.parse_payment_date(_text(value)) is None:
        return f"is not a date such as 2030-01-31 09:00 ({dates.PAYMENT_FORMAT}, EST)"
    return None


def _check_installments(value: Any) -> str | None:
    if _text(value).lower() == UNTIL_CANCELLED or _whole(1)(value) is None:
        return None
    return f'is neither a whole number of at least 1 nor the text "{UNTIL_CANCELLED}"'


def _check_options(value: Any) -> str | None:
    options = list(value.values()) if is_object(value) else value
    if not is_array(options):
        return "is not a list"
    names = [one.get("option_name") if is_object(one) else one for one in options]
    if any(_is_blank(name) or is_array(name) or is_object(name) for name in names):
        return "has an option without an option_name"
    return None if len(options) > 1 else "needs two or more options"


# ── Checks of several values ──


def _check_edit(given: GivenFields) -> Iterator[ValueFault]:
    if not given.known and (given.exact or not given.others):
        some = f"subscription_amount or {_NEXT}"
        yield ValueFault("edit_subscription", f"has no field to change, such as {some}")
    for one, other in ((_PRODUCT, _POINT), (_POINT, _PRODUCT)):
        if one in given.known and other not in given.known and (given.exact or not given.others):
            yield ValueFault(other, f"is missing: it is required together with {one}")
    yield from _check_recurrence(given)


def _check_recurrence(given: GivenFields) -> Iterator[ValueFault]:
    name, whole = given.known.get(_RECURRENCE, ("", {}))
    if not is_object(whole):
        if name == _RECURRENCE or whole not in PERIODS:
            yield ValueFault(_RECURRENCE, f"is not an object with {_FIRST}, such as monthly")
        return
    first, second = given.text(_FIRST), given.text(_SECOND)
    if second and first not in FIRST_PERIODS:
        choices = ", ".join(FIRST_PERIODS)
        yield ValueFault(_FIRST, f"is not one of those that {_SECOND} may follow: {choices}")
    elif whole and not first and (given.exact or not given.others):
        yield ValueFault(_FIRST, f"is missing; give one of: {', '.join(PERIODS)}")


def _check_status(given: GivenFields) -> Iterator[ValueFault]:
    if _STATUS not in given.known and not given.exact and not given.others:
        yield ValueFault(_STATUS, "is missing")


def _check_revocation(given: GivenFields) -> Iterator[ValueFault]:
    """Refuse a revocation of everything that is not asked for: of each membership or level."""
    if "level_name" in given.blank and "level_name" not in given.known:
        yield ValueFault("level_name", "is empty, which would mean every level: leave it out then")


def _check_start(given: GivenFields) -> Iterator[ValueFault]:
    named = given.text("starting_date") or given.text("starting_hour")
    if named and _class_start(given) is None:
        words = "and starting_hour are needed together, in the form 31 Jan 2030 and 09:00"
        yield ValueFault("starting_date", words)


def _check_field_type(given: GivenFields) -> Iterator[ValueFault]:
    kind = given.text("custom_field_type")
    missing = "custom_field_options" not in given.known
    if kind in CHOICE_TYPES and missing and (given.exact or not given.others):
        yield ValueFault("custom_field_options", f"is missing: {kind} needs two or more options")


def _class_start(given: GivenFields) -> datetime | None:
    return dates.parse_class_start(given.text("starting_date"), given.text("starting_hour"))


# ── The tables ──

UNTIL_CANCELLED: Final = "until cancelled"
FIRST_PERIODS: Final = ("weekly", "every 2 weeks", "monthly", "every 2 months")
SECOND_PERIODS: Final = ("yearly", "every 2 years")
PERIODS: Final = (*FIRST_PERIODS, "quarterly", *SECOND_PERIODS)
CHOICE_TYPES: Final = ("drop_down", "radio_button", "checkbox")
STATUSES: Final = ("cancel", "pause", "unpause")

_PRODUCT, _POINT = "subscription_product_id", "subscription_price_point"
_NEXT, _STATUS = "subscription_next_payment_date", "subscription_status_modification"
_RECURRENCE = "subscription_recurrence"
_FIRST, _SECOND = "recurring_period_1", "recurring_period_2"
_IDENTITY = frozenset({"id", "cmd", *(normalize_name(n) for n in TARGETS["subscription"])})

SUBSCRIPTION_FIELDS: Final[Mapping[str, str]] = {
    "subscriptionamount": "subscription_amount",
    "amount": "subscription_amount",
    "price": "subscription_amount",
    "subscriptionproductquantity": "subscription_product_quantity",
    "productquantity": "subscription_product_quantity",
    "quantity": "subscription_product_quantity",
    "recurringperiod1": _FIRST,
    "recurringperiod2": _SECOND,
    "subscriptionrecurrence": _RECURRENCE,
    "subscriptionnextpaymentdate": _NEXT,
    "nextpaymentdate": _NEXT,
    "subscriptioninstallmentsleft": "subscription_installments_left",
    "installmentsleft": "subscription_installments_left",
    "subscriptiontaxpercent": "subscription_tax_percent",
    "taxpercent": "subscription_tax_percent",
    "subscriptionproductid": _PRODUCT,
    "productid": _PRODUCT,
    "subscriptionpricepoint": _POINT,
    "pricepoint": _POINT,
}
"""Normalized names of the fields of edit_subscription, and Kartra's own name of each."""

_ALIASES: Final[Mapping[str, Mapping[str, str]]] = {
    "edit_subscription": SUBSCRIPTION_FIELDS,
    "modify_subscription_status": dict.fromkeys(STATUS_NAMES, _STATUS),
    "revoke_membership_access": {
        **{normalize_name(name): "membership_name" for name in TARGETS["membership"]},
        "level": "level_name",
    },
}
_STEP = _matches("[A-Za-z0-9]+", "is not a step: letters and digits only")
_FIELD_NAME = _matches("[A-Za-z0-9_-]+", "is not a name of letters, digits, - and _ only")
_CHECKS: Final[Mapping[str, Mapping[str, Check]]] = {
    "edit_subscription": {
        "subscription_amount": _between("1.00", "9999.99"),  # 277
        "subscription_product_quantity": _whole(1, 9_999),  # 276, 278
        "subscription_tax_percent": _between("0", "100"),  # 290
        "subscription_installments_left": _check_installments,  # 282
        _FIRST: _one_of(*PERIODS),  # 280
        _SECOND: _one_of(*SECOND_PERIODS),  # 280
        _RECURRENCE: _any,
        _PRODUCT: _whole(1),  # 283
        _POINT: _whole(1),  # 283
        _NEXT: _check_payment_date,  # 260
    },
    "modify_subscription_status": {
        "subscription_id": _any,  # 248
        _STATUS: _one_of(*STATUSES),  # 274
    },
    "calendar_subscribe": {
        "calendar_name": _any,
        "class_name": _any,
        "starting_date": _any,
        "starting_hour": _any,
    },
    "calendar_cancel": {"calendar_name": _any, "class_name": _any},
    "give_points_to_lead": {"points": _whole(0), "expiration": _whole(0)},  # 227
    "remove_points_from_lead": {"points": _whole(0)},  # 228
    "create_custom_field": {
        "custom_field_identifier": _FIELD_NAME,  # 263
        "custom_field_type": _one_of("input_field", "text_area", *CHOICE_TYPES),  # 269
        "custom_field_options": _check_options,  # 270, 272, 273
    },
    "subscribe_lead_to_sequence_at_step": {"sequence_name": _any, "step": _STEP},  # 229
    "unsubscribe_lead_from_sequence": {"sequence_name": _any},
    "assign_tag": {"tag_name": _any},
    "unassign_tag": {"tag_name": _any},
    "subscribe_lead_to_list": {"list_name": _any},
    "unsubscribe_lead_from_list": {"list_name": _any},
    "revoke_membership_access": {"membership_name": _any, "level_name": _any},
}
"""Command, its field, and the check of the field's value."""
_COMBINED: Final[Mapping[str, Callable[[GivenFields], Iterator[ValueFault]]]] = {
    "edit_subscription": _check_edit,  # 280, 283, 285
    "modify_subscription_status": _check_status,
    "revoke_membership_access": _check_revocation,
    "calendar_subscribe": _check_start,  # 260
    "create_custom_field": _check_field_type,  # 270, 273
}
_UNDOCUMENTED: Final = frozenset({"revoke_membership_access"})
"""Commands whose own names of the fields are not documented, so that an alias may be one."""
_OPTIONAL: Final = frozenset(
    {"expiration", "starting_date", "starting_hour", "custom_field_options", "level_name"}
)
_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    command: tuple(field for field in checks if field not in _OPTIONAL)
    for command, checks in _CHECKS.items()
    if command != "edit_subscription"
}
"""Fields without which Kartra refuses a command (207, 208, 211, 213, 215, 217, 225, 226, …)."""
