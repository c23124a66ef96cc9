"""Entries of a team's ledger as the database has them, without any check.

`PostgresStore` refuses a ledger that ends before its head, or is of another version. Whoever looks
for the first broken entry has to read it all the same. It needs only the right to SELECT.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from kartra_mcp.ledger.hash_chain import Head, LedgerEntry
from kartra_mcp.ledger.postgres.connections import BoundedConnection, Connections
from kartra_mcp.ledger.postgres.errors import from_postgres_error
from kartra_mcp.ledger.postgres.migrations import quote_schema

READ_SECONDS = 600.0
"""Seconds for reading every entry."""
CONNECT_SECONDS = 4.0
"""Seconds to wait for the database; the time for reading begins afterwards."""
_BATCH = 2_000
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SETTINGS = "SELECT set_config('search_path', ?, TRUE), set_config('statement_timeout', ?, TRUE)"
_ENTRIES = (
    "SELECT n, at, kind, body, prev, hash FROM lines WHERE n > {last} ORDER BY n LIMIT {most}"
)
_HEAD = "SELECT n, hash FROM head"


@dataclass(frozen=True, slots=True)
class RawEntries:
    """The entries of one account."""

    connections: Connections
    account: str

    def iterate(self) -> Iterator[LedgerEntry]:
        """Yield every entry of one snapshot in order.

        Raises:
            RefusedError: `ledger_unavailable`; the database cannot be read.
        """
        with self._begin() as connection:
            last = 0
            while rows := connection.execute(_make_query(last)).fetchall():
                for row in rows:
                    yield LedgerEntry(*row)
                last = rows[-1][0]

    def read_head(self) -> Head:
        """Return the head that the database itself records."""
        with self._begin() as connection:
            row = connection.execute(_HEAD.encode()).fetchone()
            return Head() if row is None else Head(row["n"], row["hash"])

    @contextmanager
    def _begin(self) -> Generator[BoundedConnection]:
        values = (f"{quote_schema(self.account)}, pg_temp", int(READ_SECONDS * 1000))
        batch = [(_BEGIN, ()), (_SETTINGS, values)]
        try:
            with self.connections.begin(batch, CONNECT_SECONDS, READ_SECONDS) as (connection, _):
                yield connection
        except psycopg.Error as problem:
            raise from_postgres_error(problem) from problem


def _make_query(last: int) -> bytes:
    return _ENTRIES.format(last=int(last), most=_BATCH).encode()
