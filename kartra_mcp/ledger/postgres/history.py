"""The history that a database shows: it may never go back, and never change its timeline unseen.

A failover to a standby that lagged, or a backup put back, forgets commits. Each process remembers
the newest entry that it saw; a process that starts afterwards does not, so that a new timeline of
the database stops writes until the run logs were swept.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from kartra_mcp.ledger.errors import LedgerRefusedError
from kartra_mcp.ledger.hash_chain import Head
from kartra_mcp.ledger.postgres.errors import SETTLE, RolledBackError

SWEPT_KEY = "swept_timeline"
"""Key in `meta` of the timeline up to which the run logs were swept."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Timeline of the database now, and the one of the last sweep: `system identifier/number`.

    The system identifier tells a restore by dump into another cluster.
    """

    current: str
    swept: str

    @property
    def is_swept(self) -> bool:
        return self.current == self.swept

    def require_swept(self) -> None:
        """Raise `ledger_unavailable` if the timeline changed since the last sweep."""
        if not self.is_swept:
            raise LedgerRefusedError(
                "the ledger's database was switched to another server or restored, and the run "
                "logs were not swept since",
                SETTLE,
            )


class HighWater:
    """The newest entry that this process saw in one ledger."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen = Head()

    @property
    def seen(self) -> Head:
        return self._seen

    def note(self, head: Head) -> None:
        with self._lock:
            if head.count > self._seen.count:
                self._seen = head


def require_same_history(seen: Head, shown: Head, hash_then: str | None) -> None:
    """Raise unless the ledger continues what was seen.

    Args:
        seen: the newest entry that this process had seen before the transaction began.
        shown: the newest entry that the database shows.
        hash_then: hash that the database shows for the entry `seen`, None if it has none.
    """
    if not seen.count:
        return
    if shown.count < seen.count:
        raise RolledBackError(f"it shows {shown.count} lines, and this server saw {seen.count}")
    if hash_then != seen.hash:
        raise RolledBackError(f"its line {seen.count} is not the one that this server saw")
