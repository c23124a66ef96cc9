"""Lookups of bulk runs for a display that follows them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from kartra_mcp.ledger.bulk_records import BulkRun
from kartra_mcp.ledger.bulk_rows import COLUMNS, count_items, make_run
from kartra_mcp.ledger.database import make_in_list
from kartra_mcp.ledger.hash_chain import dump_canonical
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.ledger.transaction import Transaction

MAX_FOLLOWED = 50
"""Newest runs of which a change is noticed."""


@dataclass(frozen=True, slots=True)
class BulkLookup:
    """The bulk runs of one ledger, for display."""

    store: LedgerStore

    def change_marker(self) -> str:
        """Return a text that changes with the newest runs; "" without runs. Cheap, for polling."""
        with self.store.read_transaction() as transaction:
            runs = transaction.fetch_all(
                "SELECT id, state, why, digest FROM bulk_runs ORDER BY made_at DESC LIMIT ?",
                MAX_FOLLOWED,
            )
            if not runs:
                return ""
            seen = [_describe_run(transaction, row) for row in runs]
            # Settling an unknown write changes a run that has ended.
            lines = [_newest_line(transaction, kind) for kind in ("outcome", "reconcile")]
        return hashlib.sha256(dump_canonical([seen, lines]).encode()).hexdigest()[:16]

    def find_by_digest(self, digests: Collection[str]) -> dict[str, BulkRun]:
        """Return the newest run of each digest of exact items, as a consent is bound to."""
        wanted = sorted(digest for digest in digests if digest)
        if not wanted:
            return {}
        sql = (
            f"SELECT {COLUMNS} FROM bulk_runs WHERE digest IN ({make_in_list(len(wanted))})"  # noqa: S608
            " ORDER BY made_at"
        )
        with self.store.read_transaction() as transaction:
            return {row["digest"]: make_run(row) for row in transaction.fetch_all(sql, *wanted)}


def _describe_run(transaction: Transaction, row: Any) -> list[Any]:
    """Return what is shown of a run; items are counted only while they are checked or run."""
    moves = row["state"] == "running" or (row["state"] == "planned" and not row["digest"])
    counts = count_items(transaction, row["id"]) if moves else None
    return [row["id"], row["state"], row["why"], row["digest"], repr(counts)]


def _newest_line(transaction: Transaction, kind: str) -> int:
    row = transaction.fetch_one("SELECT MAX(n) AS n FROM lines WHERE kind = ?", kind)
    return 0 if row is None else row["n"] or 0
