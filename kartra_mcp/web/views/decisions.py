"""What persons decided, and every attempt with a PIN, as a table of plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kartra_mcp.core.display import display_value
from kartra_mcp.ledger.decision_log import Decision
from kartra_mcp.web.views.formatting import Timestamp, humanize, make_tool_title

MAX_ROWS = 30
"""Of the newest; the ledger keeps them all."""

_EVENTS: Mapping[str, str] = {
    "approval_asked": "Approval asked for",
    "approval_approved": "Approved",
    "approval_declined": "Declined",
    "approval_expired": "Expired undecided or unused",
    "approval_superseded": "Replaced: the account had changed",
    "approval_withdrawn": "Approval taken back",
    "pin_set": "PIN chosen",
    "pin_right": "PIN typed, right",
    "pin_wrong": "PIN typed, wrong",
    "pin_locked": "PIN typed while locked",
    "declined": "Declined in the client",
    "dismissed": "Question in the client closed",
    "answered_by_host": "Answered by the client itself, so not counted",
}
_INKS: Mapping[str, str] = {
    "approval_approved": "succeeded",
    "approval_declined": "failed",
    "declined": "failed",
    "pin_wrong": "unknown",
    "pin_locked": "unknown",
}


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One decision or attempt; `ink` is a state's colour."""

    at: Timestamp
    what: str
    ink: str
    about: str
    by: str
    reason: str


def make_row(told: Decision) -> DecisionRow:
    number = "" if told.number is None else f"Number {told.number}"
    tool = make_tool_title(told.tool) if told.tool else ""
    about = ": ".join(x for x in (number, f"{tool} {told.target}".strip()) if x)
    return DecisionRow(
        at=Timestamp(told.at),
        what=_EVENTS.get(told.event) or humanize(told.event),
        ink=_INKS.get(told.event, ""),
        about=display_value(about, 120) if about else "",
        by=display_value(told.who or told.by, 120),
        reason=display_value(told.reason) if told.reason else "",
    )
