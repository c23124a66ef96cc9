"""Parts of a ledger in PostgreSQL for the jobs of a team: its entries, the end of a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kartra_mcp.ledger.hash_chain import Head, LedgerEntry
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.entries import RawEntries
from kartra_mcp.ledger.postgres.history import Timeline
from kartra_mcp.ledger.postgres.store import PostgresStore
from kartra_mcp.ledger.records import VerificationReport


@dataclass(frozen=True, slots=True)
class AccountEntries:
    """The entries of one account, also of a ledger that no server would use."""

    connections: Connections
    account: str

    def iterate_entries(self) -> Iterator[LedgerEntry]:
        return RawEntries(self.connections, self.account).iterate()

    def read_head(self) -> Head:
        return RawEntries(self.connections, self.account).read_head()

    def verify(self) -> VerificationReport:
        return PostgresStore(self.connections, self.account, b"").verify()


@dataclass(slots=True)
class StoreGate:
    """Opens the writes of one ledger after a sweep, if the database was switched before it."""

    store: PostgresStore
    who: str
    _timeline: Timeline | None = None

    def begin(self) -> None:
        self._timeline = self.store.read_timeline()

    def finish(self) -> None:
        if self._timeline is not None and not self._timeline.is_swept:
            self.store.record_sweep(self._timeline, self.who)
