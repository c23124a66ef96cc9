"""The transaction of one connection, as the rules of the ledger use it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg

from kartra_mcp.ledger.database import Query, Rows, Values
from kartra_mcp.ledger.postgres.connections import BoundedConnection
from kartra_mcp.ledger.postgres.errors import from_postgres_error, is_unstorable
from kartra_mcp.ledger.postgres.rows import Row
from kartra_mcp.ledger.postgres.scripts import Statement

_CHANGES = ("INSERT ", "UPDATE ", "DELETE ")
_SAVEPOINTS = ("SAVEPOINT ", "ROLLBACK TO ", "RELEASE ")


class PostgresDatabase:
    """The open transaction of one connection.

    A change is sent with the next read, or with the commit: each trip to the server costs as much
    as the work itself, and a call has a dozen statements.

    Args:
        connection: on which the transaction began.
        fetched: reads that the transaction began with, and their rows.
    """

    def __init__(
        self, connection: BoundedConnection, fetched: Iterable[tuple[Query, Sequence[Row]]] = ()
    ) -> None:
        self.connection = connection
        self._changes: list[Statement] = []
        self._prefetched = {query: _Fetched(rows) for query, rows in fetched}

    def prefetch(self, queries: Sequence[Query]) -> None:
        """Run reads in one trip; each of them then has its rows until the next change."""
        missing = [query for query in queries if query not in self._prefetched]
        if missing:
            fetched = self._run(*missing)
            self._prefetched.update(zip(missing, map(_Fetched, fetched), strict=True))

    def execute(self, sql: str, values: Values = (), /) -> Rows:
        """Run one statement; a change runs later, and has no rows.

        Raises:
            RefusedError: the index that backs the main rule refused a row, or a value cannot be
                stored.
            psycopg.Error: any other error, also of an earlier change.
        """
        if sql.startswith(_CHANGES):
            self._prefetched.clear()
            self._changes.append((sql, values))
            return _NO_ROWS
        if sql.startswith(_SAVEPOINTS):
            self._prefetched.clear()
            if sql.startswith("ROLLBACK "):
                self._changes.clear()  # they were made since the savepoint
            self._run((sql, values))
            return _NO_ROWS
        if self._prefetched and isinstance(values, tuple):
            found = self._prefetched.get(Query(sql, values))
            if found is not None:
                return found
        return _Fetched(self._run((sql, values))[-1])

    def executemany(self, sql: str, values: Iterable[Values], /) -> object:
        for each in values:
            self.execute(sql, each)
        return None

    def take_changes(self) -> list[Statement]:
        """Return the changes that were not sent, and forget them."""
        changes, self._changes = self._changes, []
        return changes

    def _run(self, *statements: Statement) -> list[list[Row]]:
        """Run the changes that were not sent, then statements; return the rows of each read."""
        try:
            return self.connection.run([*self.take_changes(), *statements])
        except (psycopg.errors.UniqueViolation, psycopg.DataError) as problem:
            # A savepoint undoes one request of a group; only other errors end the whole group.
            if isinstance(problem, psycopg.DataError) and not is_unstorable(problem):
                raise
            raise from_postgres_error(problem) from None


class _Fetched:
    """Rows of a read."""

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
