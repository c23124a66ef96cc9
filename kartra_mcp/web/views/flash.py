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
class Notice:
    """`doubtful`: nothing came out of it yet, so it is no success."""

    text: str = ""
    doubtful: bool = False


SILENCE = Notice()


def of_decision(decided: Approval) -> Notice:
    """What a decision means from now on."""
    return Notice(
        f"Number {decided.number}: {outcome_text(decided, format_utc(decided.expires_at))}"
    )


def of_look(told: Mapping[str, Any]) -> Notice:
    """What a look in the account found out."""
    if told["state"] == "succeeded":
        return Notice(f"It was done. {told['why']}")
    if told["state"] == "failed":
        return Notice(f"It was not done. {told['why']}")
    return Notice(f"It is still unknown. {told['why']} {told.get('check', '')}".strip(), True)
