"""Rows of bulk runs for answers: a page of a table, the rest by `kartra_read_more`, items of a run.

Everything here reads the disk, so it runs in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.bulk.conditions import parse_condition
from kartra_mcp.bulk.errors import other_connection_error
from kartra_mcp.bulk.request import SourceItem
from kartra_mcp.bulk.result_items import ItemMaker, ResultSource
from kartra_mcp.bulk.table import BulkTable, RowChoice, open_table
from kartra_mcp.calls import pagination
from kartra_mcp.calls.result_store import ResultStore
from kartra_mcp.ledger.bulk_records import BulkRun
from kartra_mcp.ledger.bulk_rows import unknown_run_error
from kartra_mcp.ledger.bulk_runs import BulkRuns

FIRST_ROWS_BYTES = 6_000
"""Rows in the answer of a run: a look at them. Most callers use them by `from_result`."""
HEAD_BYTES = 2_000
"""Bytes that a page of rows leaves for the state of its run."""


@dataclass(frozen=True, slots=True)
class RowPage:
    """Rows of an answer, and the notice of those that are left out."""

    fields: dict[str, Any]
    truncated: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads rows of bulk runs; `room` is the size in bytes of the JSON of one result."""

    kept: ResultStore
    room: int

    def read_page(
        self,
        runs: BulkRuns,
        run: BulkRun,
        choice: RowChoice = RowChoice(),  # noqa: B008  frozen
        *,
        offset: int = 0,
        limit: int | None = None,
        room: int | None = None,
    ) -> RowPage:
        """Return rows that were chosen, from `offset` on, as many as fit."""
        table = open_table(runs, run, choice)
        most = min(room or self.room, max(self.room - HEAD_BYTES, self.room // 2))
        page = pagination.read_page(table, most, path="", offset=offset, limit=limit)
        counted = choice.where is not None
        fields = {
            **({"shared": table.shared} if table.shared else {}),
            **({"matches": len(table)} if counted else {}),
            **({"undecided": table.undecided} if counted else {}),
            "items": page.shown,
        }
        if not page.has_more:
            return RowPage(fields, None)
        rest = {
            "result_id": self.kept.save_rows(_identify(run, choice), page.next_offset or 0) or None,
            "total": len(table),
            "next_offset": page.next_offset,
        }
        return RowPage(fields, rest)

    def open_stored(self, runs: BulkRuns, identity: Mapping[str, Any]) -> BulkTable:
        """Return the rows that a stored result stands for."""
        choice = RowChoice(identity.get("state"), parse_condition(identity.get("where")))
        return open_table(runs, _require_run(runs, str(identity["bulk_id"])), choice)

    def make_items(
        self, runs: BulkRuns, source: ResultSource, shared: Mapping[str, Any], account: str
    ) -> tuple[list[SourceItem], dict[int, str]]:
        """Return the items of `from_result`, and the reasons of the rows that cannot be one.

        A run of another account than `account` is refused: its ids name others here.
        """
        maker = ItemMaker(source, shared)
        bulk_id, choice = source.bulk_id, RowChoice(source.state)
        if source.result_id:
            stored = self.kept.read(source.result_id)
            rows = stored.bulk_rows
            if rows is None:
                maker.add_result(stored.result, stored.path)
                return maker.finish()
            choice = RowChoice(rows.get("state"), parse_condition(rows.get("where")))
            bulk_id = str(rows["bulk_id"])
        run = _require_run(runs, bulk_id)
        if run.connection != account:
            raise other_connection_error()
        maker.add_run_rows(open_table(runs, run, choice, whole=True))
        return maker.finish()


def _identify(run: BulkRun, choice: RowChoice) -> dict[str, Any]:
    where = choice.where.as_dict() if choice.where else None
    return {"bulk_id": run.id, "state": choice.state, "where": where}


def _require_run(runs: BulkRuns, bulk_id: str) -> BulkRun:
    found = runs.get(bulk_id)
    if found is None:
        raise unknown_run_error()
    return found
