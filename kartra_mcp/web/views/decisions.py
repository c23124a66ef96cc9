"""View models of approval decisions, PIN attempts, stops of all writes, and revocations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kartra_mcp.core.display import display_value
from kartra_mcp.ledger.decision_log import DecisionEvent
from kartra_mcp.web.views.formatting import Timestamp, humanize, make_tool_title

MAX_ROWS = 30
"""Newest decisions shown; the ledger contains all."""

_EVENTS: Mapping[str, str] = {
    "approval_asked": "Approval requested",
    "approval_agreed": "Approved by one of several people",
    "approval_approved": "Approved",
    "approval_declined": "Declined",
    "approval_expired": "Expired before a decision or a use",
    "approval_superseded": "Replaced because the account changed, or its bulk run was cancelled",
    "approval_withdrawn": "Approval revoked",
    "pin_set": "PIN chosen",
    "pin_right": "PIN correct",
    "pin_wrong": "PIN wrong",
    "pin_locked": "PIN entered while locked",
    "declined": "Declined in the client",
    "dismissed": "Form in the client closed",
    "answered_by_host": "Answered by the client itself, not counted",
    "stopped": "Writes stopped",
    "resume_asked": "Resuming requested by one of two people",
    "resumed": "Writes resumed",
    "revoked": "Access revoked",
    "released": "Access released",
}
_INKS: Mapping[str, str] = {
    "approval_approved": "succeeded",
    "approval_declined": "failed",
    "declined": "failed",
    "pin_wrong": "unknown",
    "pin_locked": "unknown",
    "stopped": "failed",
    "resumed": "succeeded",
    "revoked": "failed",
    "released": "succeeded",
}


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One decision. `ink` is the CSS class of a state's color."""

    at: Timestamp
    what: str
    ink: str
    about: str
    by: str
    reason: str


def make_row(decision: DecisionEvent) -> DecisionRow:
    number = "" if decision.number is None else f"Number {decision.number}"
    tool = make_tool_title(decision.tool) if decision.tool else ""
    about = ": ".join(x for x in (number, f"{tool} {decision.target}".strip()) if x)
    return DecisionRow(
        at=Timestamp(decision.at),
        what=_EVENTS.get(decision.event) or humanize(decision.event),
        ink=_INKS.get(decision.event, ""),
        about=display_value(about, 120) if about else "",
        by=display_value(decision.who or decision.by, 120),
        reason=display_value(decision.reason) if decision.reason else "",
    )
