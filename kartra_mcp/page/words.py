"""The page's words: labels, values of strangers as one clean line, moments, how long something is.

What is said here is text; the templates escape it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kartra_mcp.ledger.words import moment
from kartra_mcp.shapes import is_array
from kartra_mcp.terminal import tidy

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
class Moment:
    """One moment: for people by this machine's clock, for programs in UTC."""

    at: float

    @property
    def iso(self) -> str:
        return moment(self.at)

    @property
    def text(self) -> str:
        """`23 Nov 2026, 17:06`."""
        local = datetime.fromtimestamp(self.at).astimezone()
        return f"{local.day} {local:%b %Y, %H:%M}"

    @property
    def exact(self) -> str:
        """`23 Nov 2026, 17:06:05 CET`."""
        local = datetime.fromtimestamp(self.at).astimezone()
        return f"{local.day} {local:%b %Y, %H:%M:%S %Z}"


def label(name: str) -> str:
    """`refunded_so_far` → `Refunded so far`; of a name that is a stranger's, the name."""
    known = LABELS.get(name)
    if known:
        return known
    plain = tidy(name.replace("_", " "), 60)
    return plain[:1].upper() + plain[1:]


def facts(told: Mapping[str, Any]) -> tuple[Fact, ...]:
    """The facts that we know in our order, then the others in theirs."""
    known = [name for name in LABELS if name in told]
    others = [name for name in told if name not in LABELS]
    return tuple(Fact(tidy(name), label(name), values(told[name])) for name in [*known, *others])


def values(value: Any) -> tuple[str, ...]:
    if is_array(value):
        return tuple(tidy(inner) for inner in value) or ("-",)
    return (tidy(value),)


def tool_title(tool: str) -> str:
    """`kartra_refund_transaction` → `Refund transaction`."""
    return label(tool.removeprefix("kartra_"))


def lasting(seconds: float) -> str:
    """`23 h 40 min`; never less than a minute, never negative."""
    left = max(int(seconds), 0)
    if left < MINUTE:
        return "less than a minute"
    if left < HOUR:
        return f"{left // MINUTE} min"
    if left < 2 * DAY:
        return f"{left // HOUR} h {left % HOUR // MINUTE} min"
    return f"{left // DAY} days"
