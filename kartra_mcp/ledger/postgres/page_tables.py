"""Logins and sessions of the page, shared by every replica; synchronous."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg

from kartra_mcp.ledger.postgres.connections import Connections, commit
from kartra_mcp.ledger.postgres.database import PostgresDatabase
from kartra_mcp.ledger.postgres.errors import from_postgres_error
from kartra_mcp.ledger.postgres.migrations import SERVICE_SCHEMA

LOGIN_SECONDS = 600.0
"""Seconds that a user has for a login at the issuer."""
MAX_LOGINS = 10_000
"""Logins that may wait at once: anybody can begin one. The oldest ones end first."""
WAIT_SECONDS, WORK_SECONDS, COMMIT_SECONDS = 3.5, 5.0, 5.0
_SETTINGS = (
    f"SELECT set_config('search_path', '{SERVICE_SCHEMA}, pg_temp', TRUE),"
    " set_config('statement_timeout', '5000', TRUE), set_config('lock_timeout', '3500', TRUE)"
)
_BEGIN = [("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", ()), (_SETTINGS, ())]
_OLD_LOGINS = (
    "DELETE FROM logins WHERE ends_at < clock_timestamp() OR state IN"
    " (SELECT state FROM logins ORDER BY ends_at DESC OFFSET ?)"
)
_COLUMNS = "key, record, opened_at, used_at, flash"


class SessionRow(NamedTuple):
    """A session as it is stored; `record` is JSON, times are seconds since the epoch."""

    key: str
    record: str
    opened_at: float
    used_at: float
    flash: str


@dataclass(frozen=True, slots=True)
class PageTables:
    """The tables of the schema `service`; every method raises `ledger_unavailable`."""

    connections: Connections

    def add_login(self, state: str, record: str) -> None:
        """Keep a login that has begun, under the hash of its state."""
        with service_transaction(self.connections) as db:
            db.execute(_OLD_LOGINS, (MAX_LOGINS - 1,))
            db.execute(
                "INSERT INTO logins (state, record, ends_at) VALUES"
                " (?, ?, clock_timestamp() + make_interval(secs => ?))",
                (state, record, LOGIN_SECONDS),
            )

    def take_login(self, state: str) -> str | None:
        """Return and remove a login that has not expired: of two that take it, one gets it."""
        taken = (
            "WITH taken AS (DELETE FROM logins WHERE state = ? RETURNING record, ends_at)"
            " SELECT record FROM taken WHERE ends_at > clock_timestamp()"
        )
        with service_transaction(self.connections) as db:
            row = db.execute(taken, (state,)).fetchone()
        return None if row is None else row[0]

    def open_session(
        self, row: SessionRow, principal: str, ends_at: float, replaces: str = ""
    ) -> None:
        """Add a session, and end the one whose key is `replaces`."""
        with service_transaction(self.connections) as db:
            db.execute("DELETE FROM sessions WHERE key = ? OR ends_at < ?", (replaces, row.used_at))
            db.execute(
                "INSERT INTO sessions (key, principal, record, opened_at, used_at, ends_at, flash)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row.key, principal, row.record, row.opened_at, row.used_at, ends_at, row.flash),
            )

    def find_session(self, key: str) -> SessionRow | None:
        with service_transaction(self.connections) as db:
            sql = f"SELECT {_COLUMNS} FROM sessions WHERE key = ?"  # noqa: S608
            row = db.execute(sql, (key,)).fetchone()
        return None if row is None else SessionRow(*row)

    def list_sessions(self, principal: str) -> list[SessionRow]:
        """List the sessions of a principal, the newest first."""
        sql = f"SELECT {_COLUMNS} FROM sessions WHERE principal = ? ORDER BY opened_at DESC"  # noqa: S608
        with service_transaction(self.connections) as db:
            return [SessionRow(*row) for row in db.execute(sql, (principal,))]

    def touch_session(self, key: str, now: float) -> None:
        self._change("UPDATE sessions SET used_at = ? WHERE key = ?", now, key)

    def set_flash(self, key: str, flash: str) -> None:
        self._change("UPDATE sessions SET flash = ? WHERE key = ?", flash, key)

    def end_session(self, key: str) -> None:
        self._change("DELETE FROM sessions WHERE key = ?", key)

    def _change(self, sql: str, *values: Any) -> None:
        with service_transaction(self.connections) as db:
            db.execute(sql, values)


@contextmanager
def service_transaction(connections: Connections) -> Generator[PostgresDatabase]:
    """Run a transaction on the tables that belong to no account.

    Raises:
        RefusedError: `ledger_unavailable`; nothing was committed, or perhaps.
    """
    try:
        begun = connections.begin(_BEGIN, WAIT_SECONDS, WORK_SECONDS)
        with begun as (connection, _):
            database = PostgresDatabase(connection)
            yield database
            commit(connection, database.take_changes(), COMMIT_SECONDS)
    except psycopg.Error as problem:
        raise from_postgres_error(problem) from problem
