"""A PostgreSQL that syncs each commit, with a ledger of a team after months of use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from benchmarks import fixtures
from benchmarks.client import ROOT
from kartra_mcp.ledger.derived import TABLES, rebuild_all
from kartra_mcp.ledger.hash_chain import LedgerEntry
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.migrations import migrate
from kartra_mcp.ledger.postgres.store import open_team_ledger

_CREATE_BARE = (
    "CREATE TABLE bare (n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body TEXT NOT NULL)"
)
ACCOUNT, ROLE = "main", "kartra_app"
LINE_COLUMNS = ("n", "at", "kind", "body", "prev", "hash")


@dataclass(frozen=True, slots=True)
class TeamDatabase:
    """The ledger of one account, and a bare connection to the same database."""

    ledger: Ledger
    bare: psycopg.Connection[Any]

    def two_commits(self) -> None:
        """Commit two transactions of one row each, as a program with psycopg does."""
        for _ in range(2):
            with self.bare.transaction():
                self._insert()

    def two_inserts(self) -> None:
        """Insert two rows, each a statement that commits itself: the least that a commit takes."""
        for _ in range(2):
            self._insert()

    def _insert(self) -> None:
        self.bare.execute("INSERT INTO bare (body) VALUES (%s)", ("x" * 500,))

    def fill(self, entries: Sequence[LedgerEntry]) -> None:
        """Write the entries of an empty ledger, and the rows that derive from them, past its rules.

        Through them, it would take minutes.
        """
        lines = [tuple(getattr(entry, name) for name in LINE_COLUMNS) for entry in entries]
        with self.bare.transaction():
            self.bare.execute("SET LOCAL session_replication_role = replica")
            self.bare.execute(f"SET LOCAL search_path = ledger_{ACCOUNT}")
            self._copy("lines", LINE_COLUMNS, lines)
            for table, rows in zip(TABLES, rebuild_all(entries), strict=True):
                self._copy(table.name, table.columns, rows)
            self.bare.execute(
                "UPDATE parts SET state = i.state FROM intents i WHERE i.id = parts.intent"
            )
            self.bare.execute("UPDATE head SET n = %s, hash = %s", (lines[-1][0], lines[-1][-1]))
        self.bare.execute("ANALYZE")

    def _copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        sql = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with self.bare.cursor() as cursor, cursor.copy(sql.encode()) as copy:
            for row in rows:
                copy.write_row(row)


@contextmanager
def team_database(lines: int, *, standby: bool = False) -> Generator[TeamDatabase]:
    """Yield a ledger with so many lines; with `standby`, each commit waits for a second server."""
    with TemporaryDirectory(prefix="kartra-mcp-bench-") as folder, ExitStack() as stack:
        server = stack.enter_context(_server(folder))
        server.run_sql(f"CREATE ROLE {ROLE} LOGIN")
        migrate(server.dsn(), [ACCOUNT], ROLE)
        server.run_sql(_CREATE_BARE)
        connections = stack.enter_context(closing(Connections(server.dsn(ROLE))))
        bare = stack.enter_context(psycopg.connect(server.dsn(), autocommit=True))
        team = TeamDatabase(open_team_ledger(connections, ACCOUNT, b"k" * 32), bare)
        team.fill(fixtures.chain(lines))
        if standby:
            stack.enter_context(_standby(folder, server))
        yield team


@contextmanager
def _standby(folder: str, server: Any) -> Generator[None]:
    """Run a copy of a server, for which each of its commits waits."""
    copy = _servers().PostgresServer(Path(folder) / "standby", server.settings)
    copy.copy_of(server, "standby").start()
    try:
        server.reload(synchronous_standby_names="standby")
        yield
    finally:
        server.reload(synchronous_standby_names="")
        copy.remove()


def _server(folder: str) -> Any:
    """Return the server of the tests, with the settings of a real one where time depends on it."""
    start = _servers().running_postgres
    return start(Path(folder) / "data", autovacuum="on", shared_buffers="128MB")


def _servers() -> Any:
    tests = str(ROOT / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    return importlib.import_module("postgres_server")
