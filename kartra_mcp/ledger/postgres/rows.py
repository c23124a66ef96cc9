"""The shared SQL on a psycopg connection: placeholders, and rows by index and by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper

from kartra_mcp.ledger.database import Query, Rows, Values
from kartra_mcp.ledger.postgres.errors import from_postgres_error

_PARTS = re.compile(r"'(?:[^']|'')*'|\?|(?<!:):([a-z_]+)|%")
_CHANGES = ("INSERT ", "UPDATE ", "DELETE ")
_SAVEPOINTS = ("SAVEPOINT ", "ROLLBACK TO ", "RELEASE ")
_INT2 = 21
"""Object id of the type `smallint`."""


class Row:
    """One row; a name that several columns have is that of the first, as in SQLite."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: dict[str, int], values: Sequence[Any]) -> None:
        self._names, self._values = names, values

    def __getitem__(self, key: int | str) -> Any:
        return self._values[self._names[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def make_rows(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], Row]:
    """Return the row factory of one result.

    The names are those of libpq: `cursor.description` takes as long as a small query.
    """
    result = cursor.pgresult
    names: dict[str, int] = {}
    for number in range(result.nfields if result else 0):
        name = result.fname(number) if result else None
        names.setdefault((name or b"").decode(), number)

    def make(values: Sequence[Any]) -> Row:
        return Row(names, values)

    return make


class BoolDumper(Dumper):
    """A truth value as 0 or 1: the columns are numbers, as in SQLite."""

    oid = _INT2

    def dump(self, obj: bool) -> Buffer:  # noqa: FBT001  psycopg's signature
        return b"1" if obj else b"0"


@lru_cache(maxsize=512)
def translate(sql: str) -> bytes:
    """Return SQL with `?` and `:name` as psycopg's placeholders."""

    def replace(found: re.Match[str]) -> str:
        text = found[0]
        if text == "?":
            return "%s"
        return f"%({found[1]})s" if found[1] else text.replace("%", "%%")

    return _PARTS.sub(replace, sql).encode()


class PostgresDatabase:
    """The open transaction of one connection.

    A change is sent with the next read, or with the commit: each trip to the server costs as much
    as the work itself, and a call has a dozen statements.
    """

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection
        self._binder = psycopg.ClientCursor(connection)
        self._changes: list[str] = []
        self._prefetched: dict[Query, _Fetched] = {}

    def prefetch(self, queries: Sequence[Query]) -> None:
        """Run reads in one trip; each of them then has its rows until the next change."""
        if not psycopg.Pipeline.is_supported():
            return
        if self._changes:
            self._run(self.take_changes())
        with self._connection.pipeline():
            cursors = [self._connection.execute(translate(sql), values) for sql, values in queries]
        fetched = [_Fetched(cursor.fetchall()) for cursor in cursors]  # none of them waits any more
        self._prefetched.update(zip(queries, fetched, strict=True))

    def execute(self, sql: str, values: Values = (), /) -> Rows:
        """Run one statement; a change runs later, and has no rows.

        Raises:
            RefusedError: the index that backs the main rule refused a row.
            psycopg.Error: any other error, also of an earlier change.
        """
        if sql.startswith((*_CHANGES, *_SAVEPOINTS)):
            self._prefetched.clear()
        elif self._prefetched and isinstance(values, tuple):
            found = self._prefetched.get(Query(sql, values))
            if found is not None:
                return found
        if sql.startswith(_CHANGES):
            self._changes.append(self._binder.mogrify(translate(sql), values))
            return _NO_ROWS
        if sql.startswith(_SAVEPOINTS):
            self._run(f"{self.take_changes()}{sql}")
            return _NO_ROWS
        if self._changes:
            self._run(self.take_changes())
        return self._connection.execute(translate(sql), values)

    def executemany(self, sql: str, values: Iterable[Values], /) -> object:
        for each in values:
            self.execute(sql, each)
        return None

    def take_changes(self) -> str:
        """Return the changes that were not sent, as one script, and forget them."""
        script = "".join(f"{change};" for change in self._changes)
        self._changes.clear()
        return script

    def _run(self, script: str) -> None:
        try:
            self._connection.execute(script.encode())
        except psycopg.errors.UniqueViolation as problem:
            # A savepoint undoes one request of a group; only other errors end the whole group.
            raise from_postgres_error(problem) from None


class _Fetched:
    """Rows that were read before they were needed."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def fetchone(self) -> Any:
        return next(iter(self._rows), None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


_NO_ROWS = _Fetched(())
"""Result of a change."""
