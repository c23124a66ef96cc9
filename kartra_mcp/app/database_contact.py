"""Contact of a replica to its database: without it, reads of an account go on for a minute.

A replica that is cut off cannot learn what the others record, so that it must not serve for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.core.timings import read_steady_clock
from kartra_mcp.ledger.postgres.connections import Connections

OFFLINE_SECONDS = 60.0
"""Seconds without an answer of the database after which reads are refused."""
PROBE_AFTER_SECONDS = 5.0
"""Seconds without an answer after which the next read asks the database."""
PROBE_SECONDS = 1.0
"""Longest wait for that answer, and least time between two questions."""


@dataclass(slots=True)
class DatabaseContact:
    """Decides whether the database answered recently. Every transaction of the pool counts.

    Args:
        connections: the pool of the replica.
        limit: seconds without an answer that are accepted.
    """

    connections: Connections
    limit: float = OFFLINE_SECONDS
    _asking: anyio.Lock = field(default_factory=anyio.Lock)
    _asked_at: float | None = None

    async def require(self) -> None:
        """Return if the database answered within `limit` seconds; one caller at a time asks it.

        Raises:
            RefusedError: `ledger_unavailable`; nothing was started.
        """
        if not self._is_silent(PROBE_AFTER_SECONDS):
            return
        if self._asking.locked() and not self._is_silent(self.limit):
            return
        async with self._asking:
            if self._is_silent(PROBE_AFTER_SECONDS) and not self._asked_just_now():
                await run_in_thread(self.connections.probe, PROBE_SECONDS)
                self._asked_at = read_steady_clock()
        if self._is_silent(self.limit):
            raise _offline_error(self.limit)

    def _is_silent(self, seconds: float) -> bool:
        return self.connections.silent_seconds >= min(seconds, self.limit)

    def _asked_just_now(self) -> bool:
        return self._asked_at is not None and read_steady_clock() - self._asked_at < PROBE_SECONDS


def _offline_error(seconds: float) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"The database of this service has not answered for {seconds:.0f} seconds, so that this "
        "replica serves no reads either. Nothing was done.",
        "Repeat the call later. The operators see the reason in the log of the service.",
    )
