"""Changes of the state of a bulk run, within a transaction."""

from __future__ import annotations

from kartra_mcp.ledger import approval_rows
from kartra_mcp.ledger.bulk_records import BulkRun, RunState
from kartra_mcp.ledger.bulk_rows import require_run
from kartra_mcp.ledger.transaction import Transaction

APPROVER_REVOKED = "the access of a person who approved it was revoked"
_APPROVED = (
    "SELECT a.*, r.id AS bulk FROM bulk_runs r JOIN approvals a ON a.used_by = r.id"
    " WHERE r.state IN ('running', 'paused')"
)


def change_state(transaction: Transaction, run: BulkRun, state: RunState, why: str) -> None:
    """Change the state of a run that has not ended; of a write with a line in the chain."""
    if run.has_ended or run.state == state:
        return
    ended = transaction.now if state in ("done", "cancelled") else None
    sql = "UPDATE bulk_runs SET state = ?, why = ?, ended_at = ? WHERE id = ?"
    transaction.run(sql, state, why, ended, run.id)
    if ended is not None:
        approval_rows.end_unused(transaction, run.binding)
    if run.agreed_at is not None and not run.is_read:
        transaction.append("bulk", {"bulk": run.id, "event": state, "why": why})


def cancel_approved_by(transaction: Transaction, key: str) -> None:
    """Cancel the runs that a person approved: their other items were not begun."""
    for row in transaction.fetch_all(_APPROVED):
        team = approval_rows.make_approval(row, transaction).team
        if team is not None and key in {vote.key for vote in team.votes}:
            run = require_run(transaction, row["bulk"])
            change_state(transaction, run, "cancelled", APPROVER_REVOKED)
