"""State that the replicas of a team share besides the ledger of an account, in its schema.

Nothing here decides about a write: a result expires, and a rate limit without a database is that
of each replica.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import psycopg

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.migrations import quote_schema
from kartra_mcp.ledger.postgres.rows import Row

SECONDS = 3.0
"""Seconds for one statement, the wait for a connection included."""

PACE_SECONDS = 1.0
MAX_OWNER_BYTES = 50 * 1024 * 1024
"""Stored bytes of one owner's results, compressed."""

MAX_BACKLOG_SECONDS = 600.0
_SAVE = "INSERT INTO {schema}.results (id, owner, body, size) VALUES (%s, %s, %s, %s) RETURNING id"
_TIDY = """
DELETE FROM {schema}.results
WHERE made_at < clock_timestamp() - make_interval(secs => %s) OR id IN (
  SELECT id FROM (
    SELECT id, sum(size) OVER (ORDER BY made_at DESC, id) AS total
    FROM {schema}.results WHERE owner = %s) AS own
  WHERE total > %s) RETURNING id
"""
_FRESH = "id = %s AND owner = %s AND made_at >= clock_timestamp() - make_interval(secs => %s)"
_CLOCK = "extract(epoch FROM clock_timestamp())::double precision"
_RESERVE = f"""
INSERT INTO {{schema}}.pace AS p (empty_at) VALUES ({_CLOCK} + {{interval}})
ON CONFLICT (one) DO UPDATE SET empty_at = {{interval}} + CASE
  WHEN p.empty_at - {_CLOCK} BETWEEN 0 AND {MAX_BACKLOG_SECONDS} THEN p.empty_at ELSE {_CLOCK} END
RETURNING empty_at - {_CLOCK} AS backlog
"""  # noqa: S608  numbers of this file
_RELEASE = "UPDATE {schema}.pace SET empty_at = empty_at - {interval} RETURNING empty_at"


@dataclass(frozen=True, slots=True)
class _SharedTables:
    """Statements on the tables of one account, each in a transaction of its own."""

    connections: Connections
    account: str

    def run(self, statement: str, *values: Any) -> list[Row]:
        sql = statement.format(schema=quote_schema(self.account)).encode()
        with self.connections.begin([("SELECT 1", ())], SECONDS, SECONDS) as (connection, _):
            return connection.execute(sql, values).fetchall()

    def run_batch(self, statement: str, **numbers: float) -> Row:
        """Run one statement without values, in one trip to the server."""
        sql = statement.format(schema=quote_schema(self.account), **numbers)
        with self.connections.begin([(sql, ())], PACE_SECONDS, PACE_SECONDS) as (_, found):
            return found[0][0]


@dataclass(slots=True)
class SharedResults:
    """Stored results of an account, readable on each replica by their owner alone.

    Args:
        ttl: seconds for which a result is stored.
    """

    connections: Connections
    account: str
    ttl: float
    problem: str = ""
    _tables: _SharedTables = field(init=False)

    def __post_init__(self) -> None:
        self._tables = _SharedTables(self.connections, self.account)

    def save(self, identity: str, owner: str, text: str) -> bool:
        body = zlib.compress(text.encode("utf-8", "surrogatepass"), 1)
        if not owner or len(body) > MAX_OWNER_BYTES:
            return False
        try:
            self._tables.run(_TIDY, self.ttl, owner, MAX_OWNER_BYTES - len(body))
            self._tables.run(_SAVE, identity, owner, body, len(body))
        except (psycopg.Error, KartraMCPError):
            self.problem = "Results cannot be stored: the database cannot be used."
            return False
        self.problem = ""
        return True

    def is_stored(self, identity: str, owner: str) -> bool:
        return bool(self._read("id", identity, owner))

    def load(self, identity: str, owner: str) -> str | None:
        found = self._read("body", identity, owner)
        if not found:
            return None
        return zlib.decompress(found[0]["body"]).decode("utf-8", "surrogatepass")

    def _read(self, column: str, identity: str, owner: str) -> list[Row]:
        sql = f"SELECT {column} FROM {{schema}}.results WHERE {_FRESH}"  # noqa: S608  our own names
        try:
            return self._tables.run(sql, identity, owner, self.ttl) if owner else []
        except (psycopg.Error, KartraMCPError):
            return []


@dataclass(frozen=True, slots=True)
class SharedBucket:
    """Token bucket of an account for every replica: a burst of one second, in order of arrival."""

    connections: Connections
    account: str
    rate: float

    def reserve(self) -> float | None:
        """Reserve the next call; return the seconds to wait, None if the database fails."""
        backlog = self._run(_RESERVE, "backlog")
        return None if backlog is None else max(0.0, backlog - max(self.rate, 1.0) / self.rate)

    def release(self) -> bool:
        """Release a reservation; return False if the database fails."""
        return self._run(_RELEASE, "empty_at") is not None

    def _run(self, statement: str, column: str) -> float | None:
        tables = _SharedTables(self.connections, self.account)
        try:
            return tables.run_batch(statement, interval=1 / self.rate)[column]
        except (psycopg.Error, KartraMCPError):
            return None
