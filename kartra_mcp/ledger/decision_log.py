"""Approval decisions, PIN attempts, stops of all writes, and revocations, for display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kartra_mcp.ledger.projection import parse_payload
from kartra_mcp.ledger.transaction import Transaction

_NEWEST = """
SELECT l.n, l.at, l.body, json_extract(a.binding, '$.tool') AS tool
FROM lines l
LEFT JOIN approvals a ON a.number = CAST(json_extract(l.body, '$.number') AS INTEGER)
WHERE l.kind IN ('consent', 'switch', 'revocation') ORDER BY l.n DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class DecisionEvent:
    """One entry of a decision.

    `event` is `approval_` with asked, approved, declined, expired, superseded or withdrawn; `pin_`
    with set, right, wrong or locked; or declined, dismissed or answered_by_host, of a question in
    the client; or stopped, resume_asked or resumed, of the switch of a team's account; or revoked
    or released, of an access. `who` decided, typed a PIN, used the switch or is the admin; `by` is
    the client (and its actor) that asked.
    """

    line: int
    at: float
    event: str
    number: int | None
    tool: str
    target: str
    who: str
    by: str
    reason: str


def latest(transaction: Transaction, count: int) -> list[DecisionEvent]:
    """List the newest `count` decisions, newest first."""
    return [_make_event(row) for row in transaction.fetch_all(_NEWEST, max(count, 0))]


def _make_event(row: Any) -> DecisionEvent:
    payload = parse_payload(row["body"])

    def text(*names: str) -> str:
        return next((str(payload[name]) for name in names if payload.get(name)), "")

    return DecisionEvent(
        line=row["n"],
        at=row["at"],
        event=text("event"),
        number=payload.get("number"),
        tool=row["tool"] or text("tool"),
        target=text("target"),
        who=text("who"),
        by=text("by", "client"),
        reason=text("reason"),
    )
