"""Turns of the jobs of a service: one of its replicas runs each job, as often as it should."""

from __future__ import annotations

from dataclasses import dataclass

from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.page_tables import service_transaction

_CLAIM = (
    "WITH turn AS (INSERT INTO jobs (name, ran_at) VALUES (?, clock_timestamp())"
    " ON CONFLICT (name) DO UPDATE SET ran_at = excluded.ran_at"
    " WHERE jobs.ran_at <= clock_timestamp() - make_interval(secs => ?) RETURNING name)"
    " SELECT name FROM turn"
)


@dataclass(frozen=True, slots=True)
class JobTurns:
    """The turns that every replica shares. A replica that dies only skips its turn."""

    connections: Connections

    def claim(self, job: str, seconds: float) -> bool:
        """Return True if this replica is to run the job now: none did for so many seconds.

        Raises:
            RefusedError: `ledger_unavailable`; the turn is nobody's.
        """
        with service_transaction(self.connections) as db:
            return db.execute(_CLAIM, (job, seconds)).fetchone() is not None
