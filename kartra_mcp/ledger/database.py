"""The ledger's one file: opened and checked, written in turns, each commit followed by its head.

Beside `ledger.db` stand `ledger.head` (how far the chain goes), `ledger.turn` (locked by whoever
writes) and `ledger.open` (shared by all who have the file open).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kartra_mcp.core.file_locks import exclusive_lock, try_shared_lock
from kartra_mcp.ledger import projection, schema
from kartra_mcp.ledger.errors import (
    LedgerDamagedError,
    from_os_error,
    from_sqlite_error,
    unavailable_error,
)
from kartra_mcp.ledger.hash_chain import Head, LedgerEntry, make_entry, verify_chain
from kartra_mcp.ledger.head_file import HeadFile, keep_names

NAME = "ledger.db"
WAIT = 3.5
"""Seconds for the turn; SQLite itself waits a second more for a program of somebody else's."""

TAIL_CHECK = 64
"""How many of the newest lines are followed when the file is opened; `verify` follows all."""

LINE = "SELECT n, at, kind, body, prev, hash FROM lines "


@dataclass(slots=True)
class Transaction:
    """One reading or one commit. `now` never runs behind the newest line."""

    db: sqlite3.Connection
    now: float
    head: Head
    added: int = 0

    def append(self, kind: str, body: Mapping[str, Any]) -> LedgerEntry:
        line = make_entry(self.head, self.now, kind, body)
        self.db.execute(
            "INSERT INTO lines (n, at, kind, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (line.n, line.at, line.kind, line.body, line.prev, line.hash),
        )
        projection.apply(self.db, line)
        self.head = Head(line.n, line.hash)
        self.added += 1
        return line

    def fetch_one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        return self.db.execute(sql, values).fetchone()

    def fetch_all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self.db.execute(sql, values).fetchall()

    def run(self, sql: str, *values: Any) -> None:
        self.db.execute(sql, values)

    def meta(self, key: str) -> str | None:
        row = self.fetch_one("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else row[0]

    def set_meta(self, key: str, value: str) -> None:
        self.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", key, value)


class LedgerDatabase:
    """The file, of whichever process; opened when first needed, and again after a fault.

    Args:
        folder: the state folder, made (0700) if it is not there.
        clock: seconds since the epoch.
        wait: seconds to wait for the turn to write.
    """

    def __init__(self, folder: Path, clock: Callable[[], float], wait: float = WAIT) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.head = HeadFile(folder / "ledger.head")
        self.open_lock = folder / "ledger.open"
        self._clock = clock
        self._wait = wait
        self._thread = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._member: int | None = None
        self._file: tuple[int, int] | None = None

    @contextmanager
    def write_transaction(self) -> Generator[Transaction]:
        """One commit, all or nothing, alone; then the head."""
        with self._thread, self._translate_errors(), self._take_write_lock():
            db = self._connect()
            transaction = self._begin(db, "BEGIN IMMEDIATE")
            before = transaction.head
            try:
                self._agree(db, before)
                yield transaction
                if transaction.added:
                    transaction.set_meta("before", json.dumps([before.count, before.hash]))
                db.execute("COMMIT")
            except BaseException:
                _roll_back(db)
                raise
            if transaction.added:
                self.head.write(transaction.head)

    @contextmanager
    def read_transaction(self) -> Generator[Transaction]:
        """One consistent view."""
        with self._thread, self._translate_errors():
            if self._db is None or self._has_moved():
                with self._take_write_lock():
                    self._connect()
            db = self._connect()
            try:
                yield self._begin(db, "BEGIN")
            finally:
                _roll_back(db)

    @contextmanager
    def write_lock(self) -> Generator[None]:
        """The turn to write, with the file closed: for setting a damaged one aside."""
        with self._thread, self._translate_errors(), self._take_write_lock():
            self.close()
            yield

    def current_time(self) -> float:
        return round(self._clock(), 3)

    def close(self) -> None:
        with self._thread:
            if self._db is not None:
                with suppress(sqlite3.Error):
                    self._db.close()
                self._db = None
            if self._member is not None:
                os.close(self._member)
                self._member = None

    @contextmanager
    def _translate_errors(self) -> Generator[None]:
        """Faults of SQLite and the system in our words; after one, the file is opened anew."""
        try:
            yield
        except sqlite3.ProgrammingError:  # a slip of ours, nothing that the file did
            raise
        except sqlite3.Error as problem:
            self.close()
            raise from_sqlite_error(problem) from problem
        except OSError as problem:
            self.close()
            raise from_os_error(problem) from problem
        except LedgerDamagedError:
            self.close()
            raise

    @contextmanager
    def _take_write_lock(self) -> Generator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with exclusive_lock(self.folder / "ledger.turn", self._wait):
                yield
        except TimeoutError:
            raise unavailable_error(
                "another kartra-mcp has been writing to it for too long"
            ) from None

    def _begin(self, db: sqlite3.Connection, how: str) -> Transaction:
        db.execute(how)
        row = db.execute("SELECT n, hash, at FROM lines ORDER BY n DESC LIMIT 1").fetchone()
        if row is None:
            return Transaction(db, self.current_time(), Head())
        return Transaction(db, max(self.current_time(), row[2]), Head(row[0], row[1]))

    def _connect(self) -> sqlite3.Connection:
        if self._db is not None and not self._has_moved():
            return self._db
        self.close()
        self._member = try_shared_lock(self.open_lock)
        if self._member is None:
            raise unavailable_error("it is just being set aside")
        try:
            self._db = self._open()
        except BaseException:
            self.close()
            raise
        return self._db

    def _open(self) -> sqlite3.Connection:
        with suppress(OSError):
            self.folder.chmod(0o700)
        self._create()
        db = connect(self.path)
        try:
            if schema.is_empty(db):
                self._make(db)
            schema.must_be_ours(db)
            self._check(db)
            _migrate(db)
        except BaseException:
            db.close()
            raise
        self._file = self._file_identity()
        return db

    def _create(self) -> None:
        """An empty file where there is none, unless the head tells of lines."""
        if self.path.exists():
            return
        head = self.head.read()
        if head is not None and head.count:
            raise LedgerDamagedError(f"{NAME} is gone, and held {head.count} lines")
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))

    def _make(self, db: sqlite3.Connection) -> None:
        head = self.head.read()
        if head is not None and head.count:
            raise LedgerDamagedError(f"{NAME} is empty, and held {head.count} lines")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        schema.make(db)
        db.execute("COMMIT")
        self.head.replace(Head())
        keep_names(self.folder)

    def _check(self, db: sqlite3.Connection) -> None:
        """Whether the ledger is whole, as far as a short look tells."""
        _require_whole(db)
        # 9 ms at 10,000 lines, once a start.
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise LedgerDamagedError("bytes of the file were overwritten or cut away")
        newest = [
            LedgerEntry(*row) for row in db.execute(LINE + "ORDER BY n DESC LIMIT ?", (TAIL_CHECK,))
        ]
        newest.reverse()
        start = Head(newest[0].n - 1, newest[0].prev) if newest else Head()
        walked = verify_chain(newest, start)
        if walked.broken is not None:
            raise LedgerDamagedError(walked.why)
        self._agree(db, walked.head)

    def _agree(self, db: sqlite3.Connection, newest: Head) -> None:
        """The head file tells of the newest line, or of the commit before, and is then mended."""
        head = self.head.read()
        if head == newest:
            return
        before = db.execute("SELECT value FROM meta WHERE key = 'before'").fetchone()
        known = Head(*json.loads(before[0])) if before else Head()
        if (head or Head()) != known:
            count = head.count if head else 0
            raise LedgerDamagedError(f"it ends at line {newest.count}, its head at line {count}")
        self.head.write(newest)

    def _file_identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _has_moved(self) -> bool:
        return self._file is None or self._file_identity() != self._file


def connect(path: Path) -> sqlite3.Connection:
    """SQLite on an existing file: each commit on disk before it returns."""
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=1.0,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def _require_whole(db: sqlite3.Connection) -> None:
    if not schema.is_whole(db):
        raise LedgerDamagedError("its tables are not as they were made")


def _migrate(db: sqlite3.Connection) -> None:
    """Bring a checked file to this program's schema, all or nothing. The caller has the turn.

    No entry is added or changed, so that the chain and the head stay as they are.
    """
    if schema.get_version(db) == schema.VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        schema.migrate(db)
        _require_whole(db)
        db.execute("COMMIT")
    except BaseException:
        _roll_back(db)
        raise


def _roll_back(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")
