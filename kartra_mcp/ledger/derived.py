"""Rows that derive from the entries: intents, the commands of each, and the items of bulk runs.

Writing and verifying share `derive`: a store applies the changes of each entry that it adds, and
a verification applies those of every entry to empty tables. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from kartra_mcp.core.models import Risk
from kartra_mcp.ledger.errors import LedgerDamagedError
from kartra_mcp.ledger.hash_chain import LedgerEntry

Derived = tuple[list[tuple[Any, ...]], ...]
"""Rows of each derived table, in the order of `TABLES`, sorted by their keys."""


@dataclass(frozen=True, slots=True)
class Table:
    """A derived table; its first `keys` columns are its primary key."""

    name: str
    columns: tuple[str, ...]
    keys: int = 1

    def make_key(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(values[name] for name in self.columns[: self.keys])


INTENTS = Table(
    "intents",
    (
        *("id", "line", "at", "tool", "operation", "risk", "connection", "target_kind", "target"),
        *("amount", "remainder", "known_amount", "mail", "lead_hash", "state", "executed"),
        *("ended_at", "outcome_line", "reconcile_line", "action_run_id"),
    ),
)
PARTS = Table(
    "parts",
    (
        *("intent", "number", "line", "at", "operation", "risk", "connection", "target_kind"),
        *("target", "known_amount", "equality"),
    ),
    keys=2,
)
BULK_INTENTS = Table("bulk_intents", ("bulk", "item", "intent"), keys=2)
TABLES = (INTENTS, PARTS, BULK_INTENTS)
_TAKEN = (
    *("tool", "operation", "connection", "target_kind", "target", "amount", "remainder"),
    *("known_amount", "mail", "lead_hash"),
)
_TAKEN_OF_PART = ("operation", "target_kind", "target", "known_amount", "equality")


@dataclass(frozen=True, slots=True)
class Change:
    """A new row, or new values of one; `values` contains its key."""

    table: Table
    values: Mapping[str, Any]
    is_new: bool = True

    @property
    def sql(self) -> str:
        return _make_sql(self.table, tuple(self.values), is_new=self.is_new)


def derive(line: LedgerEntry) -> list[Change]:
    """Return the changes that an entry makes; none for an entry that is not about an intent."""
    if line.kind == "intent":
        return _derive_intent(line, line.payload)
    if line.kind in ("outcome", "reconcile"):
        return [Change(INTENTS, _derive_end(line, line.payload), is_new=False)]
    if line.kind == "conflict":
        # Its state stays: another write on its target may have begun since, and only one of them
        # may be open. All writes of the account are refused meanwhile.
        values = {"id": line.payload["intent"], "executed": "unknown"}
        return [Change(INTENTS, values, is_new=False)]
    return []


def rebuild_all(lines: Iterable[LedgerEntry]) -> Derived:
    """Return the rows that these entries make in empty tables.

    Raises:
        LedgerDamagedError: two entries make the same row.
    """
    rows: dict[Table, dict[tuple[Any, ...], dict[str, Any]]] = {table: {} for table in TABLES}
    for line in lines:
        for change in derive(line):
            found, key = rows[change.table], change.table.make_key(change.values)
            if change.is_new and key in found:
                raise LedgerDamagedError(f"line {line.n} repeats an intent")
            if change.is_new:
                found[key] = dict(change.values)
            elif key in found:
                found[key].update(change.values)
    return tuple(
        sort_rows(tuple(row.get(name) for name in table.columns) for row in rows[table].values())
        for table in TABLES
    )


def sort_rows(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Sort rows by their keys. A database would sort text by its own collation."""
    return sorted((tuple(row) for row in rows), key=_first_two)


def _first_two(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[:2]  # the key of every table


def _derive_intent(line: LedgerEntry, payload: Mapping[str, Any]) -> list[Change]:
    place = {"line": line.n, "at": line.at}
    row = {
        "id": payload["intent"],
        **place,
        "risk": _rank(payload),
        **{name: payload[name] for name in _TAKEN},
        "state": "running",
        "executed": "unknown",
    }
    whole = {"intent": payload["intent"], **place, "connection": payload["connection"]}
    parts = [
        {
            **whole,
            "number": number,
            "risk": _rank(part),
            **{name: part[name] for name in _TAKEN_OF_PART},
        }
        for number, part in enumerate(_list_parts(payload))
    ]
    changes = [Change(INTENTS, row), *(Change(PARTS, part) for part in parts)]
    if payload.get("bulk"):
        item = {name: payload[name] for name in ("bulk", "item", "intent")}
        changes.append(Change(BULK_INTENTS, item))
    return changes


def _derive_end(line: LedgerEntry, payload: Mapping[str, Any]) -> dict[str, Any]:
    ended = {name: payload[name] for name in ("state", "executed")}
    if line.kind == "reconcile":
        return {"id": payload["intent"], **ended, "reconcile_line": line.n}
    return {
        "id": payload["intent"],
        **ended,
        "ended_at": line.at,
        "outcome_line": line.n,
        "action_run_id": payload["action_run_id"],
    }


def _list_parts(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts of an intent; an entry of 0.1.0 has the names of its commands only."""
    if "equality" in payload:
        return payload.get("parts") or [payload]
    names = str(payload["operation"]).split("+")
    return [{**payload, "operation": name, "equality": None} for name in names]


def _rank(payload: Mapping[str, Any]) -> int:
    return int(Risk[payload["risk"].upper()])


@cache
def _make_sql(table: Table, names: tuple[str, ...], *, is_new: bool) -> str:
    if is_new:
        marks = ", ".join(f":{name}" for name in names)
        return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608
    keys = table.columns[: table.keys]
    changed = ", ".join(f"{name} = :{name}" for name in names if name not in keys)
    where = " AND ".join(f"{name} = :{name}" for name in keys)
    return f"UPDATE {table.name} SET {changed} WHERE {where}"  # noqa: S608
