"""Formatting of labels, untrusted values, times, amounts and durations.

All functions return plain text; the templates escape it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kartra_mcp.core.display import display_value
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.kartra.values import parse_amount
from kartra_mcp.ledger.records import format_utc

MINUTE, HOUR, DAY = 60, 3_600, 86_400

LABELS: Mapping[str, str] = {
    "buyer": "Buyer",
    "lead": "Lead",
    "product": "Product",
    "memberships": "Memberships",
    "amount": "Amount of the sale",
    "refunded_so_far": "Refunded so far",
    "taken_back_by_the_bank": "Charged back by the bank",
    "remaining": "Remaining amount",
    "this_refund": "This refund",
    "full_or_partial": "Full or partial",
    "date": "Date of the sale",
    "type": "Kind of sale",
    "status": "Status",
    "price": "Price",
    "next_payment_amount": "Amount of the next payment",
    "recurring": "Recurring",
    "next_payment": "Next payment",
    "installments_left": "Installments left",
    "changes": "Changes",
    "acts_on": "Acts on",
    "does": "Does",
    "arguments": "Arguments",
    "transaction_id": "Transaction",
    "subscription_id": "Subscription",
    "lead_id": "Lead ID",
    "product_id": "Product ID",
    "currency": "Currency",
    "access": "Access",
    "charges": "Charges",
    "may_also": "May also",
}
"""Labels of known facts, in the order of their importance for a decision."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One labeled fact; several values are shown as a list."""

    name: str
    label: str
    values: tuple[str, ...]

    @property
    def several(self) -> bool:
        return len(self.values) > 1


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A point in time: local time for the user, UTC for programs."""

    at: float

    @property
    def iso(self) -> str:
        return format_utc(self.at)

    @property
    def text(self) -> str:
        """Return `23 Nov 2026, 17:06`; the page's footer names the time zone."""
        return _format_time(datetime.fromtimestamp(self.at).astimezone())

    @property
    def exact(self) -> str:
        """Return `23 Nov 2026, 17:06:05 CET`."""
        local = datetime.fromtimestamp(self.at).astimezone()
        return f"{local.day} {local:%b %Y, %H:%M:%S %Z}"

    @property
    def zone(self) -> str:
        """Return `CET, UTC+01:00`."""
        local = datetime.fromtimestamp(self.at).astimezone()
        name, offset = f"{local:%Z}", f"UTC{local:%z}"
        offset = f"{offset[:6]}:{offset[6:]}"
        return "UTC" if name == "UTC" else f"{name}, {offset}"


_UTC_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_KARTRA_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(?::\d\d)?)?")


def split_timestamps(text: str) -> tuple[str | Timestamp, ...]:
    """Split a sentence into text and times, so that each time is shown in local time."""
    return tuple(_parse_part(part) for part in _UTC_TIME.split(text) if part)


def _parse_part(text: str) -> str | Timestamp:
    if not _UTC_TIME.fullmatch(text):
        return text
    try:
        return Timestamp(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return text


def format_kartra_date(value: Any) -> str:
    """Format a date of Kartra, which has no time zone; return other values unchanged."""
    text = display_value(value)
    found = _KARTRA_DATE.fullmatch(text)
    if found is None:
        return text
    try:
        at = datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}")
    except ValueError:
        return text
    if found[2] is None:
        return f"{at.day} {at:%b %Y}"
    return f"{_format_time(at)} (Kartra's time)"


def _format_time(at: datetime) -> str:
    return f"{at.day} {at:%b %Y, %H:%M}"


def format_money(value: Any) -> str:
    """Format an amount with two decimals; return other values unchanged."""
    text = display_value(value, 40)
    amount = parse_amount(text)
    return text if amount is None else f"{amount:.2f}"


def humanize(name: str) -> str:
    """Return `Refunded so far` for `refunded_so_far`; untrusted names are sanitized."""
    known = LABELS.get(name)
    if known:
        return known
    plain = display_value(name.replace("_", " "), 60)
    return plain[:1].upper() + plain[1:]


def make_facts(facts: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return the known facts in the order of `LABELS`, then the others in their own order."""
    known = [name for name in LABELS if name in facts]
    others = [name for name in facts if name not in LABELS]
    return tuple(
        Fact(display_value(name), humanize(name), _format_fact(name, facts))
        for name in [*known, *others]
    )


DATES = frozenset({"date", "next_payment"})
SUMS = frozenset(
    {
        "amount",
        "refunded_so_far",
        "taken_back_by_the_bank",
        "remaining",
        "this_refund",
        "price",
        "next_payment_amount",
    }
)


def _format_fact(name: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    value = facts[name]
    if is_array(value) or is_object(value):
        return format_values(value)
    if name in DATES:
        return (format_kartra_date(value),)
    if name in SUMS:
        return (format_money(value),)
    if name == "full_or_partial":
        return (_format_extent(display_value(value), facts),)
    return format_values(value)


def _format_extent(word: str, facts: Mapping[str, Any]) -> str:
    """Return the extent of a refund; `FULL` after a partial refund is only the remainder."""
    before = ("refunded_so_far", "taken_back_by_the_bank")
    is_remainder = any(format_money(facts.get(name)) not in {"-", "0.00"} for name in before)
    texts = {"FULL": "The whole remainder" if is_remainder else "Full", "PARTIAL": "Partial"}
    return texts.get(word, word)


def format_values(value: Any) -> tuple[str, ...]:
    if is_array(value):
        return tuple(display_value(inner) for inner in value) or ("-",)
    return (display_value(value),)


def make_tool_title(tool: str) -> str:
    """Return `Refund transaction` for `kartra_refund_transaction`."""
    return humanize(tool.removeprefix("kartra_"))


def format_duration(seconds: float) -> str:
    """Return `23 h 40 min`; `less than a minute` for short and negative durations."""
    whole = max(int(seconds), 0)
    if whole < MINUTE:
        return "less than a minute"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < 2 * DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} days"
