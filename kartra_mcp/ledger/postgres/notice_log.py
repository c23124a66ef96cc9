"""Record of the notices of requests for approval, which every replica shares; synchronous."""

from __future__ import annotations

from dataclasses import dataclass

from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.page_tables import service_transaction

KEPT_SECONDS = 2_592_000.0
"""Seconds that a notice is remembered. Its request expires after a day."""
SENT = "sent"
_OLD = "DELETE FROM notices WHERE at < clock_timestamp() - make_interval(secs => ?)"
_CLAIM = (
    "WITH claimed AS (INSERT INTO notices (account, number, at, outcome)"
    " VALUES (?, ?, clock_timestamp(), '') ON CONFLICT DO NOTHING RETURNING number)"
    " SELECT number FROM claimed"
)


@dataclass(frozen=True, slots=True)
class NoticeLog:
    """The notices of a deployment; every method raises `ledger_unavailable`."""

    connections: Connections

    def claim(self, account: str, number: int) -> bool:
        """Return True if the caller is to send this notice: nobody did or will."""
        with service_transaction(self.connections) as db:
            db.execute(_OLD, (KEPT_SECONDS,))
            return db.execute(_CLAIM, (account, number)).fetchone() is not None

    def record(self, account: str, number: int, outcome: str) -> None:
        """Record `SENT`, or why the notice failed."""
        sql = "UPDATE notices SET outcome = ? WHERE account = ? AND number = ?"
        with service_transaction(self.connections) as db:
            db.execute(sql, (outcome, account, number))
