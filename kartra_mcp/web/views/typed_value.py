"""The text that an approver types: it shows that the amount was read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.consent.preview import is_typed
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.kartra.values import parse_amount
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.web.views.bulk_facts import is_bulk_consent

TARGETS: Mapping[str, str] = {"transaction_id": "transaction", "subscription_id": "subscription"}


@dataclass(frozen=True, slots=True)
class TypedValue:
    """The text to type, and what it is: `amount`, `subscription id`, `number of this approval`."""

    label: str
    text: str


class TypedValueError(RefusedError):
    """Another text was typed."""


def find_target(facts: Mapping[str, Any]) -> TypedValue | None:
    """Return the transaction or subscription of a call."""
    for name, noun in TARGETS.items():
        if facts.get(name):
            return TypedValue(f"{noun} id", str(facts[name]))
    return None


def find_typed_value(asked: Approval) -> TypedValue:
    """Return the amount; without one the id of the target, else the approval's number."""
    amount = asked.facts.get("amount" if is_bulk_consent(asked.facts) else "this_refund")
    if parse_amount(amount) is not None:
        return TypedValue("amount", str(amount))
    number = TypedValue("number of this approval", str(asked.number))
    return find_target(asked.facts) or number


def require_typed(asked: Approval, typed: str) -> None:
    """Raise unless the user typed what the request shows."""
    value = find_typed_value(asked)
    if not is_typed(typed, value.text):
        raise TypedValueError(
            "invalid_arguments",
            f"The {value.label} that was typed is not the one of this request. Nothing was"
            " decided.",
            f"Type the {value.label} as the request shows it, then approve again.",
        )
