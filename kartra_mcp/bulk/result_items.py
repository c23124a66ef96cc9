"""Items of a bulk run from rows that were read before: `from_result`. Pure.

Text of the account reaches arguments by it, as data. The tool is never taken from a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kartra_mcp.bulk.conditions import Condition, parse_condition
from kartra_mcp.bulk.field_paths import (
    FieldLog,
    Found,
    find_row_values,
    find_values,
    has_content,
    parse_path,
)
from kartra_mcp.bulk.request import MAX_ITEMS, SourceItem, require_size
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.ledger.bulk_records import ITEM_STATES, ItemState

_ALL = frozenset({"result_id", "bulk_id", "path", "map", "where", "state"})


@dataclass(frozen=True, slots=True)
class ResultSource:
    """The rows from which items are made.

    Attributes:
        result_id: of a stored result, or "".
        bulk_id: of an earlier run, or ""; exactly one of the two is given.
        path: of the elements that become items; None for the rows themselves, or where a stored
            result was cut.
        map: path in an element by the argument that it fills; empty only for a run, whose items'
            own arguments are used then.
        state: only items of a run in this state, as answers show it.
    """

    result_id: str = ""
    bulk_id: str = ""
    path: str | None = None
    map: Mapping[str, str] = field(default_factory=dict[str, str])
    where: Condition | None = None
    state: ItemState | None = None


def parse_source(given: Mapping[str, Any]) -> ResultSource:
    """Return the validated argument `from_result`.

    Raises:
        RefusedError: `invalid_arguments`; nothing was done.
    """
    if others := given.keys() - _ALL:
        raise _source_error(f"it does not take {', '.join(sorted(map(str, others)))}")
    ids = {name: given[name] for name in ("result_id", "bulk_id") if given.get(name)}
    if len(ids) != 1 or not all(isinstance(id_, str) for id_ in ids.values()):
        raise _source_error("it takes either a result_id or a bulk_id")
    paths: Any = given.get("map") or {}
    if not is_object(paths) or not all(isinstance(path, str) for path in paths.values()):
        raise _source_error("map is an object of a field path for each argument")
    path, state = given.get("path"), given.get("state")
    if path is not None and not isinstance(path, str):
        raise _source_error("path is a text")
    if state is not None and (state not in ITEM_STATES or "bulk_id" not in ids):
        raise _source_error(f"state is, with a bulk_id, one of {', '.join(ITEM_STATES)}")
    if not paths and ("result_id" in ids or path):
        raise _source_error("map is missing")
    where = parse_condition(given.get("where"))
    return ResultSource(**ids, path=path, map=paths, where=where, state=state)


@dataclass(slots=True)
class ItemMaker:
    """Makes items of rows; rows that cannot become one have a reason in `invalid`."""

    source: ResultSource
    shared: Mapping[str, Any]
    items: list[SourceItem] = field(default_factory=list[SourceItem])
    invalid: dict[int, str] = field(default_factory=dict[int, str])
    log: FieldLog = field(default_factory=FieldLog)
    count: int = 0

    def add_run_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add the items of an earlier bulk run."""
        for row in rows:
            if self.source.path:
                parts = self._find_in_row(row, self.source.path)
                self._add_parts(row, parts)
            else:
                self._add_row(row)

    def add_result(self, result: Any, cut: str) -> None:
        """Add the elements of a stored result; `cut` is the location at which it was cut."""
        path = cut if self.source.path is None else self.source.path
        found = find_values(result, parse_path(path))
        self.log.note(path, found, result)
        for part in found.values:
            self._add_part(part)

    def finish(self) -> tuple[list[SourceItem], dict[int, str]]:
        """Return the items and the reasons of the others.

        Raises:
            RefusedError: `invalid_arguments` for a field that no row has, and without any item;
                `input_too_large`. Nothing was done.
        """
        self.log.require_known()
        if not self.items and not self.invalid:
            raise RefusedError(
                "invalid_arguments",
                f"No row matches, of {self.count}. Nothing was done.",
                "Check `path`, `where` and `state` of from_result; kartra_bulk_status with the "
                "same `where` shows the matches.",
            )
        require_size(len(self.items) + len(self.invalid))
        return self.items, self.invalid

    def _add_row(self, row: Mapping[str, Any]) -> None:
        number, where = int(row["item"]), self.source.where
        self.count += 1
        if where is not None:
            found = self._find_in_row(row, where.field)
            if found is None:
                self.invalid[number] = _no_result_reason(row)
                return
            if not where.matches(found):
                return
        if not self.source.map:
            self.items.append(SourceItem(number, {**self.shared, **row.get("arguments", {})}))
            return
        mapped = {name: self._find_in_row(row, path) for name, path in self.source.map.items()}
        if None in mapped.values():
            self.invalid[number] = _no_result_reason(row)
        else:
            self._add_mapped(number, {n: found for n, found in mapped.items() if found})

    def _add_parts(self, row: Mapping[str, Any], parts: Found | None) -> None:
        if parts is None:
            self.invalid[self.count] = _no_result_reason(row)
            self.count += 1
            return
        for part in parts.values:
            self._add_part(part)

    def _add_part(self, part: Any) -> None:
        number, where = self.count, self.source.where
        self.count += 1
        if where is not None:
            found = find_values(part, where.steps)
            self.log.note(where.field, found, part)
            if not where.matches(found):
                return
        mapped = {name: find_values(part, parse_path(p)) for name, p in self.source.map.items()}
        for name, found in mapped.items():
            self.log.note(self.source.map[name], found, part)
        self._add_mapped(number, mapped)

    def _add_mapped(self, number: int, mapped: Mapping[str, Found]) -> None:
        if len(self.items) > MAX_ITEMS:
            return  # too many already; `finish` refuses them
        values = {n: [v for v in f.values if has_content(v)] for n, f in mapped.items()}
        wrong = next((n for n, found in values.items() if len(found) != 1), None)
        if wrong is None:
            own = {name: found[0] for name, found in values.items()}
            self.items.append(SourceItem(number, {**self.shared, **own}))
            return
        count = len(values[wrong]) or "no"
        self.invalid[number] = f"{wrong}: the row has {count} values for it, not one."

    def _find_in_row(self, row: Mapping[str, Any], path: str) -> Found | None:
        found = find_row_values(row, parse_path(path))
        if found is not None:
            self.log.note(path, found, row)
        return found


def _no_result_reason(row: Mapping[str, Any]) -> str:
    """Return why a row has no result, in words of this server."""
    if row.get("state") == "failed":
        return f"It has no result, because it failed: {row.get('reason') or row.get('code')}"
    return f"It has no result: its state is {row.get('state')}."


def _source_error(what: str) -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        f"from_result: {what}. Nothing was done.",
        'Give e.g. {"bulk_id": "blk_…", "map": {"email": "lead_details.email"}, "where": '
        '{"field": "lead_details.tags.tag_name", "equals": "VIP"}}.',
    )
