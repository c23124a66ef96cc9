"""Contexts of the pages about bulk runs, read from the ledger. Synchronous."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.json_types import as_dict
from kartra_mcp.ledger.bulk_records import ITEM_STATES, BulkItem, BulkRun, ItemState
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.web.views import bulk

MAX_RUNS = 50
"""Runs in the list."""
MAX_ITEMS = 50
"""Items on one page, and of each kind of fault on the page of a run."""


@dataclass(frozen=True, slots=True)
class BulkPages:
    """Reads what the pages of bulk runs show."""

    ledger: Ledger

    def list_context(self) -> dict[str, Any]:
        """Return the context of the list, newest first."""
        self.ledger.mark_orphans_unknown()
        runs = self.ledger.bulk.list_recent(MAX_RUNS)
        rows = [bulk.make_run_row(run, self.ledger.bulk.count_items(run.id)) for run in runs]
        return {"runs": rows, "max_runs": MAX_RUNS}

    def run_context(self, bulk_id: str) -> dict[str, Any] | None:
        """Return the context of one run; None if there is none with this id."""
        run = self._find(bulk_id)
        if run is None:
            return None
        counts = self.ledger.bulk.count_items(run.id)
        # Items done in part come after all that are unknown or failed.
        limit = counts.unknown + counts.failed + MAX_ITEMS
        faults = _make_rows(run, self.ledger.bulk.list_failures(run.id, limit))
        return {
            "run": bulk.make_run_detail(run, counts, self._find_approval(run)),
            "unknown": self._make_rows(run, "unknown"),
            "failed": self._make_rows(run, "failed"),
            "partial": [row for row in faults if row.label == bulk.PARTIAL],
            "counts": counts,
        }

    def items_context(self, bulk_id: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the context of a run's items, `MAX_ITEMS` at a time; None for an unknown id."""
        run = self._find(bulk_id)
        if run is None:
            return None
        counts = self.ledger.bulk.count_items(run.id)
        wanted = query.get("state", "")
        state = wanted if wanted in ITEM_STATES else None
        offset = _parse_offset(query.get("from", ""))
        found = self.ledger.bulk.list_items(run.id, offset=offset, limit=MAX_ITEMS + 1, state=state)
        return {
            "run": bulk.make_run_row(run, counts),
            "items": _make_rows(run, found[:MAX_ITEMS]),
            "choices": bulk.list_choices(counts),
            "state": state or "",
            "offset": offset,
            "earlier": max(offset - MAX_ITEMS, 0) if offset else None,
            "later": offset + MAX_ITEMS if found[MAX_ITEMS:] else None,
        }

    def _find(self, bulk_id: str) -> BulkRun | None:
        self.ledger.mark_orphans_unknown()
        return self.ledger.bulk.get(bulk_id)

    def _find_approval(self, run: BulkRun) -> int | None:
        """Return the number of the pending approval of a run."""
        if run.state != "planned" or not run.digest:
            return None
        pending = self.ledger.approvals.list_pending()
        return next((x.number for x in pending if x.binding.arguments == run.digest), None)

    def _make_rows(self, run: BulkRun, state: ItemState) -> list[bulk.BulkItemRow]:
        return _make_rows(run, self.ledger.bulk.list_items(run.id, limit=MAX_ITEMS, state=state))


def _make_rows(run: BulkRun, items: list[BulkItem]) -> list[bulk.BulkItemRow]:
    shared = as_dict(run.facts.get("shared"))
    return [bulk.make_item_row(item, shared) for item in items]


def _parse_offset(text: str) -> int:
    """Return the number of items before a page; 0, the first page, for anything invalid."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= len("9999") else 0
