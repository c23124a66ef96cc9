"""The text that an approver types: it shows that the amount was read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.ledger.approval_records import Approval

TARGETS: Mapping[str, str] = {"transaction_id": "transaction", "subscription_id": "subscription"}


@dataclass(frozen=True, slots=True)
class TypedValue:
    """A text, and what it is: `amount`, `subscription id`, `text`."""

    label: str
    text: str


def find_target(facts: Mapping[str, Any]) -> TypedValue | None:
    """Return the transaction or subscription of a call."""
    for name, noun in TARGETS.items():
        if facts.get(name):
            return TypedValue(f"{noun} id", str(facts[name]))
    return None


def find_typed_value(asked: Approval) -> TypedValue:
    """Return the text to type."""
    target = find_target(asked.facts)
    if target is not None and target.text == asked.typed:
        return target
    is_amount = asked.team is not None and bool(asked.team.amount)
    return TypedValue("amount" if is_amount else "text", asked.typed)
