"""Entries of a ledger in order, read from its store in one snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kartra_mcp.ledger.hash_chain import Head, LedgerEntry
from kartra_mcp.ledger.records import VerificationReport
from kartra_mcp.ledger.store import LedgerStore

_ENTRIES = "SELECT n, at, kind, body, prev, hash FROM lines WHERE n > ? ORDER BY n LIMIT ?"
_BATCH = 2_000
"""Entries that are read at once: a whole ledger need not fit into memory."""


@dataclass(frozen=True, slots=True)
class StoreSource:
    """The entries of a store."""

    store: LedgerStore

    def iterate_entries(self) -> Iterator[LedgerEntry]:
        last = 0
        with self.store.read_transaction() as transaction:
            while rows := transaction.fetch_all(_ENTRIES, last, _BATCH):
                for row in rows:
                    yield LedgerEntry(*row)
                last = rows[-1][0]

    def read_head(self) -> Head:
        with self.store.read_transaction() as transaction:
            return transaction.head

    def verify(self) -> VerificationReport:
        return self.store.verify()
