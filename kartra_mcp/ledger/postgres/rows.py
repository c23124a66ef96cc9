"""Rows of results, by index and by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from psycopg.abc import Transformer
    from psycopg.pq.abc import PGresult


class _Columns:
    """The names of a result's columns, read when a row is first read by name.

    They are those of libpq: `cursor.description` takes as long as a small query.
    """

    __slots__ = ("_numbers", "_result")

    def __init__(self, result: PGresult | None) -> None:
        self._result = result
        self._numbers: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        if self._result is not None:
            for number in range(self._result.nfields):
                self._numbers.setdefault((self._result.fname(number) or b"").decode(), number)
            self._result = None
        return self._numbers[name]


class Row:
    """One row; a name that several columns have is that of the first, as in SQLite."""

    __slots__ = ("_columns", "_values")

    def __init__(self, columns: _Columns, values: Sequence[Any]) -> None:
        self._columns, self._values = columns, values

    def __getitem__(self, key: int | str) -> Any:
        return self._values[self._columns[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def make_rows(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], Row]:
    """Return the row factory of one result of a cursor."""
    return partial(Row, _Columns(cursor.pgresult))


def read_rows(result: PGresult, transformer: Transformer) -> list[Row]:
    """Return the rows of a result."""
    count = result.ntuples
    if not count:
        return []
    transformer.set_pgresult(result)
    return list(transformer.load_rows(0, count, partial(Row, _Columns(result))))
