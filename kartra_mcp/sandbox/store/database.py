"""The account in SQLite: one file, opened, created and changed only here and only in a transaction.

`seed_billing.ANCHORS` lists the rows that the demo and tests may rely on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Generator
from typing import Any

from kartra_mcp.sandbox.store import clock, seed
from kartra_mcp.sandbox.store import schema as tables

Row = sqlite3.Row
_WAIT_MS = 30_000


class Account:
    """A Kartra account, with Membrane's own few tables."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.after: tuple[str, str] | None = None
        """Fault to apply after the effect: its type and its message."""
        self.effects: list[dict[str, Any]] = []
        """Commands of the present request that changed the account, with their arguments."""
        self.can_wait = False
        """The API serves this account: a request may arrive, and be executed, later."""
        self.is_late = False
        """The present request was accepted before, and is executed now: its fault is used up."""
        _build_or_tighten(path)
        self._db = _open(path)
        if self.number("PRAGMA user_version") < tables.VERSION:
            with self.transaction():
                self._up_to_date()

    def _up_to_date(self) -> None:
        version = self.number("PRAGMA user_version")
        if not version:
            _fill(self._db)
            return
        for number in range(version + 1, tables.VERSION + 1):
            for statement in filter(str.strip, tables.MIGRATIONS[number].split(";")):
                self.run(statement)
        self.run(f"PRAGMA user_version = {tables.VERSION}")

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        """Run all or nothing, as the only writer."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextlib.contextmanager
    def attempt(self) -> Generator[None]:
        """Run a part of a transaction that is rolled back alone if it is rejected."""
        self._db.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO attempt")
            raise
        finally:
            self._db.execute("RELEASE attempt")

    def close(self) -> None:
        self._db.close()

    def run(self, sql: str, *values: Any) -> int:
        """Execute a statement; return the id of an inserted row."""
        return self._db.execute(sql, values).lastrowid or 0

    def changed(self, sql: str, *values: Any) -> int:
        return self._db.execute(sql, values).rowcount

    def rows(self, sql: str, *values: Any) -> list[Row]:
        return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> Row | None:
        return self._db.execute(sql, values).fetchone()

    def number(self, sql: str, *values: Any) -> int:
        found = self.row(sql, *values)
        return int(found[0] or 0) if found else 0

    def column(self, sql: str, *values: Any) -> list[Any]:
        return [row[0] for row in self._db.execute(sql, values)]

    def note(self, argv: list[str]) -> None:
        """Journal an invocation before anything is done about it."""
        with self.transaction():
            self.run("INSERT INTO journal (at, argv) VALUES (?, ?)", clock.iso(), json.dumps(argv))

    def journal(self) -> list[dict[str, Any]]:
        found = self.rows("SELECT n, at, argv FROM journal ORDER BY n")
        return [{"n": row["n"], "at": row["at"], "argv": json.loads(row["argv"])} for row in found]

    def reset(self) -> None:
        """Recreate the account; of the journal only the newest line remains, the reset itself."""
        with self.transaction():
            self.run("DELETE FROM journal WHERE n < (SELECT max(n) FROM journal)")
            for table in self.tables():
                self.run(f"DROP TABLE {table}")
            _fill(self._db, journal=False)

    def tables(self) -> list[str]:
        return self.column(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            " AND name NOT LIKE 'sqlite_%' AND name <> 'journal' ORDER BY name"
        )

    def digest(self) -> str:
        """Return one hash of everything Kartra stores; equal means unchanged."""
        own = {"settings", "connections", "run_logs", "faults", "requests"}
        found = hashlib.sha256()
        for table in self.tables():
            if table not in own:
                rows = sorted(map(repr, map(tuple, self.rows(f"SELECT * FROM {table}"))))
                found.update(repr((table, rows)).encode())
        return found.hexdigest()

    def setting(self, name: str) -> str:
        found = self.row("SELECT value FROM settings WHERE name = ?", name)
        return found[0] if found else ""

    def set(self, name: str, value: str) -> None:
        self.run("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value)


def _build_or_tighten(path: str) -> None:
    """Make the file if there is none; an older version made one that every user can read."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - pathlib costs 4 ms of each call
    except FileNotFoundError:
        _build(path)
        return
    if mode & 0o077:
        with contextlib.suppress(OSError):
            os.chmod(path, 0o600)  # noqa: PTH101 - see above


def _open(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_WAIT_MS / 1000, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
    db.execute("PRAGMA synchronous = OFF")  # an invented account need not survive a power cut
    return db


def _build(path: str) -> None:
    """Build the file under another name and link it: no process sees a partial account."""
    aside = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        # SQLite gives its own files beside it the same mode.
        os.close(os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        _make(aside)
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    except OSError:  # a disk without links: make it in place, which is slower to be seen whole
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        _open(path).close()
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)  # noqa: PTH108 - see above


def _make(path: str) -> None:
    db = _open(path)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        _fill(db)
        db.execute("COMMIT")
    finally:
        db.close()


def _fill(db: sqlite3.Connection, *, journal: bool = True) -> None:
    journals = tables.JOURNAL if journal else ""
    for script in (tables.KARTRA, tables.MEMBRANE, tables.REQUESTS, journals):
        for statement in filter(str.strip, script.split(";")):
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {tables.VERSION}")
    seed.insert_seed(db)
