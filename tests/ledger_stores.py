"""The stores of the ledger, for tests that run on each: a place where one ledger is kept."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psycopg
from postgres_server import PostgresServer

from kartra_mcp.core.file_locks import exclusive_lock
from kartra_mcp.core.timings import Clock, read_steady_clock
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.migrations import migrate
from kartra_mcp.ledger.postgres.send_rights import SendRights
from kartra_mcp.ledger.postgres.store import StoreOptions, TeamClocks, open_team_ledger
from kartra_mcp.ledger.running import RunningIntent
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.ledger.store import WAIT

APP, ACCOUNT, KEY = "kartra_app", "main", b"k" * 32
_EMPTY = """
SET LOCAL session_replication_role = replica;
DELETE FROM lines; DELETE FROM intents; DELETE FROM parts; DELETE FROM leads;
DELETE FROM confirmations; DELETE FROM blocks; DELETE FROM approvals; DELETE FROM pin_attempts;
DELETE FROM bulk_intents; DELETE FROM bulk_runs; DELETE FROM bulk_items;
DELETE FROM results; DELETE FROM pace;
DELETE FROM meta WHERE key <> 'swept_timeline';
UPDATE head SET n = 0, hash = repeat('0', 64)
"""
"""Empties an account: a hundredth of the time that a new one takes."""


class Place(Protocol):
    """Place of one ledger; each `open` is another process, as far as the ledger knows."""

    def open(
        self, clock: Clock | None = None, *, steady: Clock | None = None, wait: float = WAIT
    ) -> Ledger: ...

    def let_go(self, running: RunningIntent, clock: Any) -> None:
        """Let an intent end without an outcome, as if its owner had been killed."""
        ...

    def hold_turn(self) -> AbstractContextManager[None]:
        """Keep every writer waiting, as another process that writes."""
        ...

    @property
    def address(self) -> str:
        """Return the arguments by which a child process opens it."""
        ...


@dataclass
class FilePlace:
    """A ledger in a state folder."""

    folder: Path

    def open(
        self, clock: Clock | None = None, *, steady: Clock | None = None, wait: float = WAIT
    ) -> Ledger:
        steady = steady or clock or read_steady_clock
        return open_ledger(self.folder, clock or time.time, wait, steady=steady)

    def let_go(self, running: RunningIntent, clock: Any) -> None:
        running.close()

    @contextmanager
    def hold_turn(self) -> Generator[None]:
        with exclusive_lock(self.folder / "ledger.turn", 5.0):
            yield

    @property
    def address(self) -> str:
        return str(self.folder)


@dataclass
class TeamPlace:
    """A ledger in PostgreSQL; `options` are those of each store that is opened."""

    database: TeamDatabase
    account: str = ACCOUNT
    rights: SendRights = field(default_factory=SendRights)

    def open(
        self, clock: Clock | None = None, *, steady: Clock | None = None, wait: float = WAIT
    ) -> Ledger:
        clocks = TeamClocks(clock, steady or clock or read_steady_clock)
        options = StoreOptions(self.rights, clocks, wait, durable=False)
        return open_team_ledger(self.database.connections, self.account, KEY, options=options)

    def let_go(self, running: RunningIntent, clock: Any) -> None:
        clock.at += self.rights.send_seconds + self.rights.answer_seconds

    @contextmanager
    def hold_turn(self) -> Generator[None]:
        with psycopg.connect(self.database.server.dsn(APP)) as db:
            db.execute(f"SELECT FROM ledger_{self.account}.head FOR UPDATE".encode())
            yield

    def fetch(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run SQL as the store does, with `?` for a value."""
        with psycopg.connect(self.database.server.dsn(APP)) as db:
            db.execute(f"SET LOCAL search_path = ledger_{self.account}".encode())
            done = db.execute(sql.replace("?", "%s").encode(), values)
            return done.fetchall() if done.description else []

    @property
    def address(self) -> str:
        return self.database.server.dsn(APP)


class TeamDatabase:
    """One server for the tests of a worker, with an account that is emptied for each test."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        server.run_sql(f"CREATE ROLE {APP} LOGIN")
        migrate(server.dsn(), [ACCOUNT], APP)
        self.connections = Connections(server.dsn(APP))
        self._accounts = 0
        self._second: TeamPlace | None = None

    def make_empty(self, account: str = ACCOUNT) -> TeamPlace:
        with psycopg.connect(self.server.dsn()) as db:
            db.execute(f"SET LOCAL search_path = ledger_{account}".encode())
            db.execute(_EMPTY.encode())
        return TeamPlace(self, account)

    def make_second_empty(self) -> TeamPlace:
        """A second account, emptied; `forget_second` after a test that altered its tables."""
        self._second = self._second or self.make_account()
        return self.make_empty(self._second.account)

    def forget_second(self) -> None:
        self._second = None

    def make_account(self) -> TeamPlace:
        """An account of its own, for a test that alters its tables."""
        self._accounts += 1
        name = f"other{self._accounts}"
        migrate(self.server.dsn(), [name], APP)
        return TeamPlace(self, name)


def open_place(address: str) -> Ledger:
    """Open the ledger of a place in another process, by its address."""
    if not address.startswith("postgresql:"):
        return open_ledger(Path(address))
    return open_team_ledger(Connections(address), ACCOUNT, KEY, options=StoreOptions(durable=False))
