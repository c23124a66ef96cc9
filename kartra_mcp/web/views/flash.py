"""Messages shown once after a change on the page.

They contain times as `2026-11-23T17:06:00Z`; the templates show them in local time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.consent.decisions import outcome_text
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.bulk_records import BulkRun
from kartra_mcp.ledger.records import format_utc


@dataclass(frozen=True, slots=True)
class FlashMessage:
    """A message. `doubtful` means that nothing was settled, so it is not styled as a success."""

    text: str = ""
    doubtful: bool = False


NO_MESSAGE = FlashMessage()


def decision_message(decided: Approval) -> FlashMessage:
    """Describe the result of a decision."""
    return FlashMessage(
        f"Number {decided.number}: {outcome_text(decided, format_utc(decided.expires_at))}"
    )


def cancel_message(before: BulkRun, after: BulkRun) -> FlashMessage:
    """Describe the result of cancelling a bulk run."""
    if before.has_ended or after.state != "cancelled":
        return FlashMessage("This bulk run had already ended. Nothing was changed.", True)
    if after.agreed_at is None:
        return FlashMessage("The bulk run was cancelled. None of its items was run.")
    return FlashMessage(
        "The bulk run was cancelled: no further item begins. Items that were done stay done."
    )


def look_message(result: Mapping[str, Any]) -> FlashMessage:
    """Describe the result of reconciling."""
    if result["state"] == "succeeded":
        return FlashMessage(f"It was done. {result['why']}")
    if result["state"] == "failed":
        return FlashMessage(f"It was not done. {result['why']}")
    return FlashMessage(
        f"It is still unknown. {result['why']} {result.get('check', '')}".strip(), True
    )
