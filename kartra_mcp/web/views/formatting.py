"""The page's words: labels, values of strangers as one clean line, moments, how long something is.

What is said here is text; the templates escape it.
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
    "taken_back_by_the_bank": "Taken back by the bank",
    "remaining": "Remains to refund",
    "this_refund": "This refund",
    "full_or_partial": "Full or partial",
    "date": "Date of the sale",
    "type": "Kind of sale",
    "status": "Status",
    "price": "Price",
    "recurring": "Recurring",
    "next_payment": "Next payment",
    "installments_left": "Installments left",
    "changes": "Changes",
    "acts_on": "Acts on",
    "does": "Does",
    "arguments": "Arguments",
    "transaction_id": "Transaction",
    "subscription_id": "Subscription",
    "lead_id": "Lead's number",
    "product_id": "Product's number",
    "currency": "Currency",
    "access": "Access",
    "charges": "Charges",
    "may_also": "May also",
}
"""The facts that we name, in the order in which a person wants them."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact as it is shown; several values stand under each other."""

    name: str
    label: str
    values: tuple[str, ...]

    @property
    def several(self) -> bool:
        return len(self.values) > 1


@dataclass(frozen=True, slots=True)
class Timestamp:
    """One moment: for people by this machine's clock, for programs in UTC."""

    at: float

    @property
    def iso(self) -> str:
        return format_utc(self.at)

    @property
    def text(self) -> str:
        """`23 Nov 2026, 17:06`; the zone stands once, at the foot of the page."""
        return _format_time(datetime.fromtimestamp(self.at).astimezone())

    @property
    def exact(self) -> str:
        """`23 Nov 2026, 17:06:05 CET`."""
        local = datetime.fromtimestamp(self.at).astimezone()
        return f"{local.day} {local:%b %Y, %H:%M:%S %Z}"

    @property
    def zone(self) -> str:
        """`CET, UTC+01:00`."""
        local = datetime.fromtimestamp(self.at).astimezone()
        name, offset = f"{local:%Z}", f"UTC{local:%z}"
        offset = f"{offset[:6]}:{offset[6:]}"
        return "UTC" if name == "UTC" else f"{name}, {offset}"


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_OF_KARTRA = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(?::\d\d)?)?")


def split_timestamps(text: str) -> tuple[str | Timestamp, ...]:
    """A sentence with the moments in it, so that each is shown by the person's clock."""
    return tuple(_parse_part(part) for part in _MOMENT.split(text) if part)


def _parse_part(text: str) -> str | Timestamp:
    if not _MOMENT.fullmatch(text):
        return text
    try:
        return Timestamp(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return text


def format_kartra_date(value: Any) -> str:
    """A date of Kartra's, which names no zone, as all dates are written; else as it came."""
    text = display_value(value)
    found = _OF_KARTRA.fullmatch(text)
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
    """A sum with its two decimals; what is no number, as it came."""
    text = display_value(value, 40)
    amount = parse_amount(text)
    return text if amount is None else f"{amount:.2f}"


def humanize(name: str) -> str:
    """`refunded_so_far` → `Refunded so far`; of a name that is a stranger's, the name."""
    known = LABELS.get(name)
    if known:
        return known
    plain = display_value(name.replace("_", " "), 60)
    return plain[:1].upper() + plain[1:]


def make_facts(told: Mapping[str, Any]) -> tuple[Fact, ...]:
    """The facts that we know in our order, then the others in theirs."""
    known = [name for name in LABELS if name in told]
    others = [name for name in told if name not in LABELS]
    return tuple(
        Fact(display_value(name), humanize(name), _format_fact(name, told))
        for name in [*known, *others]
    )


DATES = frozenset({"date", "next_payment"})
SUMS = frozenset(
    {"amount", "refunded_so_far", "taken_back_by_the_bank", "remaining", "this_refund", "price"}
)


def _format_fact(name: str, told: Mapping[str, Any]) -> tuple[str, ...]:
    value = told[name]
    if is_array(value) or is_object(value):
        return format_values(value)
    if name in DATES:
        return (format_kartra_date(value),)
    if name in SUMS:
        return (format_money(value),)
    if name == "full_or_partial":
        return (_format_how_much(display_value(value), told),)
    return format_values(value)


def _format_how_much(said: str, told: Mapping[str, Any]) -> str:
    """`FULL` after a part went back is not the whole sum."""
    before = ("refunded_so_far", "taken_back_by_the_bank")
    part_went = any(format_money(told.get(name)) not in {"-", "0.00"} for name in before)
    words = {"FULL": "All that remains" if part_went else "Full", "PARTIAL": "Partial"}
    return words.get(said, said)


def format_values(value: Any) -> tuple[str, ...]:
    if is_array(value):
        return tuple(display_value(inner) for inner in value) or ("-",)
    return (display_value(value),)


def make_tool_title(tool: str) -> str:
    """`kartra_refund_transaction` → `Refund transaction`."""
    return humanize(tool.removeprefix("kartra_"))


def format_duration(seconds: float) -> str:
    """`23 h 40 min`; never less than a minute, never negative."""
    left = max(int(seconds), 0)
    if left < MINUTE:
        return "less than a minute"
    if left < HOUR:
        return f"{left // MINUTE} min"
    if left < 2 * DAY:
        return f"{left // HOUR} h {left % HOUR // MINUTE} min"
    return f"{left // DAY} days"
