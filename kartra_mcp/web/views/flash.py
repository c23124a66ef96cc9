"""What is said once after something was done on the page, and how sure it is.

Moments stand in it as `2026-11-23T17:06:00Z`; the templates show them by the person's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.consent.decisions import outcome_text
from kartra_mcp.ledger.approvals import Approval
from kartra_mcp.ledger.records import format_utc


@dataclass(frozen=True, slots=True)
class FlashMessage:
    """`doubtful`: nothing came out of it yet, so it is no success."""

    text: str = ""
    doubtful: bool = False


NO_MESSAGE = FlashMessage()


def decision_message(decided: Approval) -> FlashMessage:
    """What a decision means from now on."""
    return FlashMessage(
        f"Number {decided.number}: {outcome_text(decided, format_utc(decided.expires_at))}"
    )


def look_message(told: Mapping[str, Any]) -> FlashMessage:
    """What a look in the account found out."""
    if told["state"] == "succeeded":
        return FlashMessage(f"It was done. {told['why']}")
    if told["state"] == "failed":
        return FlashMessage(f"It was not done. {told['why']}")
    return FlashMessage(f"It is still unknown. {told['why']} {told.get('check', '')}".strip(), True)
