"""Items of a bulk run as the rows of one table, read from disk where they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from kartra_mcp.bulk.conditions import Condition
from kartra_mcp.bulk.field_paths import FieldLog, find_row_values
from kartra_mcp.bulk.view import describe_item
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import as_dict
from kartra_mcp.core.sanitize import map_strings
from kartra_mcp.ledger.bulk_records import BulkRun, ItemState
from kartra_mcp.ledger.bulk_runs import BulkRuns

BATCH = 50
"""Rows in memory at once: a result has up to 256 KB."""


@dataclass(frozen=True, slots=True)
class RowChoice:
    """Rows of a run to show: of a state, and those that pass a condition."""

    state: ItemState | None = None
    where: Condition | None = None


@dataclass(slots=True)
class BulkTable(Sequence[Any]):
    """Rows of one run.

    Attributes:
        numbers: of the items that are rows.
        undecided: number of items without a result, for which the condition is not known.
        whole: each row has all its arguments, not only its own.
    """

    runs: BulkRuns
    run: BulkRun
    numbers: Sequence[int]
    undecided: int = 0
    whole: bool = False
    _first: int = 0
    _held: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        if not self._first <= index < self._first + len(self._held):
            wanted = self.numbers[index : index + BATCH]
            items = self.runs.list_items(self.run.id, numbers=wanted)
            shared = () if self.whole else self.shared.keys()
            self._first = index
            self._held = [map_strings(describe_item(item, shared)) for item in items]
        return self._held[index - self._first]

    @property
    def shared(self) -> dict[str, Any]:
        """Arguments that are equal in all items, so that no row repeats them."""
        shared = as_dict(self.run.facts.get("shared")) if self.run.total > 1 else {}
        return map_strings(shared)


def open_table(
    runs: BulkRuns, run: BulkRun, choice: RowChoice, *, whole: bool = False
) -> BulkTable:
    """Return the rows of a run that were chosen.

    Raises:
        RefusedError: `result_expired` if they were removed; `invalid_arguments` for a condition on
            a field that no row has.
    """
    every = BulkTable(runs, run, range(run.total), whole=whole)
    if (whole or choice.where is not None) and _is_removed(every):
        raise _removed_error()
    if choice.state is None and choice.where is None:
        return every
    return BulkTable(runs, run, *_choose(every, choice), whole=whole)


def _choose(every: BulkTable, choice: RowChoice) -> tuple[list[int], int]:
    """Return the numbers of the rows that were chosen, and how many are undecided."""
    numbers: list[int] = []
    undecided, log = 0, FieldLog()
    for number, row in _iter_rows(every, choice.state):
        if choice.where is None:
            numbers.append(number)
            continue
        found = find_row_values(row, choice.where.steps)
        if found is None:
            undecided += 1
            continue
        log.note(choice.where.field, found, row)
        if choice.where.matches(found):
            numbers.append(number)
    log.require_known()
    return numbers, undecided


def _iter_rows(every: BulkTable, state: ItemState | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and row of every item of a state, a batch at a time."""
    offset = 0
    while items := every.runs.list_items(every.run.id, offset=offset, limit=BATCH, state=state):
        for item in items:
            yield item.number, map_strings(describe_item(item))
        offset += len(items)


def _is_removed(table: BulkTable) -> bool:
    first = table.runs.list_items(table.run.id, limit=1)
    return bool(first) and first[0].is_removed


def _removed_error() -> RefusedError:
    return RefusedError(
        "result_expired",
        "The arguments and results of this run were removed: those of reads are kept for a day, "
        "those of writes for 30 days. Nothing was done.",
        "Run it again: kartra_bulk_run with its tool and items.",
    )
