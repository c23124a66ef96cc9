"""The ledger's SQLite file: opening, checking, and its head.

Next to `ledger.db` are `ledger.head` (length and hash of the chain), `ledger.seal` (its files after
the newest commit), `ledger.turn` (the write lock) and `ledger.open` (a shared lock of every process
that has the file open).
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from kartra_mcp.core.file_locks import try_shared_lock
from kartra_mcp.ledger.errors import LedgerDamagedError, unavailable_error
from kartra_mcp.ledger.hash_chain import Head, LedgerEntry, verify_chain
from kartra_mcp.ledger.integrity import LINE
from kartra_mcp.ledger.sqlite import schema
from kartra_mcp.ledger.sqlite.head_file import HeadFile, keep_names
from kartra_mcp.ledger.sqlite.identity import AccountKind, LedgerIdentity
from kartra_mcp.ledger.sqlite.seal import Seal

NAME = "ledger.db"

TAIL_CHECK = 64
"""Number of newest entries that are verified when the file is opened; `verify` checks all."""


class LedgerFile:
    """The file of one state folder; opened on first use. The caller serializes its threads.

    Args:
        folder: the state folder, which exists when the file is opened.
        account: the kind of account whose writes are recorded here.
    """

    def __init__(self, folder: Path, account: AccountKind = "") -> None:
        self.folder = folder
        self.path = folder / NAME
        self.head = HeadFile(folder / "ledger.head")
        self.seal = Seal(self.path, folder / "ledger.seal")
        self.open_lock = folder / "ledger.open"
        self.identity = LedgerIdentity(account)
        self._db: sqlite3.Connection | None = None
        self._member: int | None = None
        self._opened: tuple[int, int] | None = None
        self._busy_timeout = -1

    @property
    def is_current(self) -> bool:
        """Return whether the file that is open is the one at its path."""
        return self._db is not None and not self._has_moved()

    def connect(self) -> sqlite3.Connection:
        """Return the connection; open and check the file first if it is not open.

        Raises:
            RefusedError: it is damaged, in use, or of another version.
        """
        if self._db is not None and not self._has_moved():
            return self._db
        self.close()
        self._busy_timeout = -1
        self._member = try_shared_lock(self.open_lock)
        if self._member is None:
            raise unavailable_error("another kartra-mcp is replacing it")
        try:
            self._db = self._open()
        except BaseException:
            self.close()
            raise
        return self._db

    def set_busy_timeout(self, db: sqlite3.Connection, milliseconds: int) -> None:
        """Set how long a statement waits for a program that ignores the write lock."""
        if milliseconds != self._busy_timeout:
            db.execute(f"PRAGMA busy_timeout = {milliseconds}")
            self._busy_timeout = milliseconds

    def close(self) -> None:
        if self._db is not None:
            sealed = self.seal.matches()
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None
            if sealed:  # the last one to close the file moves its log into it
                self.seal.write()
        if self._member is not None:
            os.close(self._member)
            self._member = None

    def agree(self, db: sqlite3.Connection, newest: Head) -> None:
        """Require that the head names the newest entry, or repair one that is a commit behind.

        A crash between a commit and its head leaves the head one commit behind. `before` in the
        same commit records the head at that time, so that any other difference is a cut or an
        altered file.
        """
        head = self.head.read()
        if head == newest:
            return
        before = db.execute("SELECT value FROM meta WHERE key = 'before'").fetchone()
        known = Head(*json.loads(before[0])) if before else Head()
        if (head or Head()) != known:
            count = head.count if head else 0
            raise LedgerDamagedError(f"it ends at line {newest.count}, its head at line {count}")
        self.head.write(newest)

    def _open(self) -> sqlite3.Connection:
        self._create()
        db = connect(self.path)
        try:
            if schema.is_empty(db):
                self._make(db)
            schema.must_be_ours(db)
            self._check(db)
            self.identity.require_same_chain(db, self.path)
            _migrate(db)
        except BaseException:
            db.close()
            raise
        self._opened = self._file_identity()
        return db

    def _create(self) -> None:
        """Create an empty ledger file if there is none.

        A deleted ledger must not be replaced by an empty one: the empty one would admit every
        refund again.

        Raises:
            LedgerDamagedError: the head file records entries.
        """
        if self.path.exists():
            return
        head = self.head.read()
        if head is not None and head.count:
            raise LedgerDamagedError(f"{NAME} is missing; it had {head.count} lines")
        self.identity.require_present(self.path)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))

    def _make(self, db: sqlite3.Connection) -> None:
        head = self.head.read()
        if head is not None and head.count:
            raise LedgerDamagedError(f"{NAME} is empty; it had {head.count} lines")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        schema.make(db)
        db.execute("COMMIT")
        self.head.replace(Head())
        keep_names(self.folder)

    def _check(self, db: sqlite3.Connection) -> None:
        """Check tables, pages, the newest entries and the head. `verify` checks every entry."""
        _require_whole(db)
        # Measured: 9 ms at 10,000 entries, once per start.
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise LedgerDamagedError("parts of the file were overwritten or cut off")
        newest = [
            LedgerEntry(*row) for row in db.execute(LINE + "ORDER BY n DESC LIMIT ?", (TAIL_CHECK,))
        ]
        newest.reverse()
        start = Head(newest[0].n - 1, newest[0].prev) if newest else Head()
        walked = verify_chain(newest, start)
        if walked.broken is not None:
            raise LedgerDamagedError(walked.why)
        self.agree(db, walked.head)

    def _file_identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116  before each transaction
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _has_moved(self) -> bool:
        return self._opened is None or self._file_identity() != self._opened


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing SQLite file. COMMIT returns only when the data is on disk."""
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


def roll_back(db: sqlite3.Connection) -> None:
    """End the open transaction, if there is one, without its changes."""
    with suppress(sqlite3.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")


def _require_whole(db: sqlite3.Connection) -> None:
    if not schema.is_whole(db):
        raise LedgerDamagedError("its tables were altered")


def _migrate(db: sqlite3.Connection) -> None:
    """Bring a checked file to this program's schema, all or nothing. The caller has the write lock.

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
        roll_back(db)
        raise
