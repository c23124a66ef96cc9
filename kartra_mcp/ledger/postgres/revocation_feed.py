"""New entries about revoked accesses, of every account, for a replica that asks often.

They are read as the database has them: a ledger that was altered refuses its writes, but its reads
go on, and a revoked person must not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.errors import from_postgres_error
from kartra_mcp.ledger.postgres.migrations import quote_schema
from kartra_mcp.ledger.postgres.rows import Row

SECONDS = 3.0
_NEW = "SELECT n, at, body FROM {}.lines WHERE kind = 'revocation' AND n >= ? ORDER BY n"


@dataclass(frozen=True, slots=True)
class RevocationFeed:
    """The entries of the accounts of one database."""

    connections: Connections

    def read_new(self, seen: Mapping[str, int]) -> dict[str, list[Row]]:
        """Return the entries from the number on that was seen last, by account.

        An account whose tables cannot be read is left out.

        Raises:
            RefusedError: `ledger_unavailable`; the database cannot be reached.
        """
        found: dict[str, list[Row]] = {}
        try:
            with self.connections.begin([("SELECT 1", ())], SECONDS, SECONDS) as (connection, _):
                for account, number in seen.items():
                    with suppress(psycopg.ProgrammingError):
                        statement = (_NEW.format(quote_schema(account)), (number,))
                        found[account] = connection.run([statement])[0]
        except psycopg.Error as problem:
            raise from_postgres_error(problem) from problem
        return found
