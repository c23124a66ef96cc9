"""The ledger's SQLite file: opening, checking, serialized writes, and the head after each commit.

Next to `ledger.db` are `ledger.head` (length and hash of the chain), `ledger.seal` (its files after
the newest commit), `ledger.turn` (the write lock) and `ledger.open` (a shared lock of every process
that has the file open).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from kartra_mcp.core.deadline import bound_wait
from kartra_mcp.core.file_locks import exclusive_lock, try_shared_lock
from kartra_mcp.core.private_folder import make_private_folder
from kartra_mcp.core.timings import Clocks
from kartra_mcp.ledger import schema
from kartra_mcp.ledger.clock_history import ClockHistory
from kartra_mcp.ledger.errors import (
    LedgerDamagedError,
    LedgerRefusedError,
    from_os_error,
    from_sqlite_error,
    require_private,
    unavailable_error,
    uncertain_folder_error,
)
from kartra_mcp.ledger.hash_chain import Head, LedgerEntry, verify_chain
from kartra_mcp.ledger.head_file import HeadFile, keep_names
from kartra_mcp.ledger.identity import AccountKind, LedgerIdentity
from kartra_mcp.ledger.integrity import LINE, verify_entries
from kartra_mcp.ledger.seal import Seal
from kartra_mcp.ledger.transaction import Transaction

NAME = "ledger.db"
WAIT = 3.5
"""Seconds to wait for the write lock, and no longer than the call has left.

SQLite waits one more for a program that ignores the lock.
"""

SETTLING_WAIT = 1.0
"""Seconds to wait for recording an outcome after the deadline of its call."""

TAIL_CHECK = 64
"""Number of newest entries that are verified when the file is opened; `verify` checks all."""


class LedgerDatabase:
    """The ledger's file, shared by processes; opened on first use, and reopened after an error.

    Args:
        folder: the state folder; created with mode 0700 if it does not exist.
        clocks: the wall clock and the steady clock.
        wait: seconds to wait for the write lock.
        fault: the reason why nothing may be written here, or "".
        account: the kind of account whose writes are recorded here.
    """

    def __init__(
        self,
        folder: Path,
        clocks: Clocks,
        wait: float = WAIT,
        fault: str = "",
        account: AccountKind = "",
    ) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.head = HeadFile(folder / "ledger.head")
        self.seal = Seal(self.path, folder / "ledger.seal")
        self.open_lock = folder / "ledger.open"
        self._clocks = clocks
        self._history = ClockHistory()
        self._wait = wait
        self._fault = fault
        self._identity = LedgerIdentity(account)
        self._thread = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._member: int | None = None
        self._file: tuple[int, int] | None = None

    def require_certain(self) -> None:
        """Raise `ledger_unavailable` while nothing may be written here."""
        if self._fault:
            raise uncertain_folder_error(self._fault)

    def wait_seconds(self, *, settles: bool) -> float:
        """Return how long a write may wait for others: within the time of its call."""
        return max(bound_wait(self._wait), SETTLING_WAIT if settles else 0.0)

    @contextmanager
    def write_transaction(self, *, settles: bool = False) -> Generator[Transaction]:
        """Run one exclusive, atomic commit, then write the head.

        Args:
            settles: it records the outcome of a running write, which a clock that was set back
                meanwhile must not prevent.

        Raises:
            RefusedError: `ledger_unavailable`; nothing was committed.
        """
        self.require_certain()
        wait = self.wait_seconds(settles=settles)
        with self._take_turn(wait) as left, self._translate_errors(), self._take_write_lock(left):
            sealed = self.seal.matches()
            if not sealed:
                self.close()  # pages that it cached would hide an alteration
            db = self._connect()
            db.execute(f"PRAGMA busy_timeout = {int(1000 * min(bound_wait(1.0), wait))}")
            transaction = self._begin(db, "BEGIN IMMEDIATE")
            before = transaction.head
            try:
                self._require_usable(transaction, sealed=sealed, settles=settles)
                yield transaction
                self._note_in_meta(transaction, before)
                db.execute("COMMIT")
            except BaseException:
                _roll_back(db)
                raise
            self._history.note(transaction.now, transaction.steady)
            self._identity.note(transaction.head, transaction.now)
            if transaction.added:
                self.head.write(transaction.head)
            self.seal.write()

    def _note_in_meta(self, transaction: Transaction, before: Head) -> None:
        if transaction.added:
            transaction.set_meta("before", json.dumps([before.count, before.hash]))
            self._identity.mark_account(transaction.db)

    def _require_usable(self, transaction: Transaction, *, sealed: bool, settles: bool) -> None:
        require_private(self.folder)
        self._agree(transaction.db, transaction.head)
        if not sealed:
            _require_intact(transaction.db)
        self._identity.require_account(transaction.db)
        if not settles:
            transaction.require_clock()

    @contextmanager
    def read_transaction(self) -> Generator[Transaction]:
        """Run reads on one consistent snapshot."""
        with self._take_turn(bound_wait(self._wait)) as left, self._translate_errors():
            if self._db is None or self._has_moved():
                with self._take_write_lock(left):
                    self._connect()
            db = self._connect()
            try:
                yield self._begin(db, "BEGIN")
            finally:
                _roll_back(db)

    @contextmanager
    def write_lock(self) -> Generator[None]:
        """Hold the write lock with the file closed, to replace a damaged file."""
        with self._thread, self._translate_errors(), self._take_write_lock(self._wait):
            self.close()
            yield

    def refusal_reason(self) -> str:
        """Return the reason for which an intact ledger refuses writes now, or ""."""
        try:
            require_private(self.folder)
            with self.read_transaction() as transaction:
                transaction.require_clock()
        except LedgerRefusedError as problem:
            return problem.why
        return self.account_fault()

    def account_fault(self) -> str:
        """Return why this is not the ledger of this kind of account, or ""."""
        try:
            with self.read_transaction() as transaction:
                return self._identity.account_fault(transaction.db)
        except LedgerRefusedError:
            return ""

    def lag(self) -> float:
        """Return the seconds that the clock is behind the newest entry; 0 for a damaged file."""
        with self.read_transaction() as transaction:
            return transaction.behind

    def current_time(self) -> float:
        """Return the clock in seconds, rounded to the milliseconds that an entry stores."""
        return round(self._clocks.wall(), 3)

    def close(self) -> None:
        with self._thread:
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

    @contextmanager
    def _translate_errors(self) -> Generator[None]:
        """Raise errors of SQLite and the system as `RefusedError`, and close the file.

        It is closed because the cause may be the file: the next use opens and checks it again.
        """
        try:
            yield
        except sqlite3.ProgrammingError:  # a bug in this program; the file is not the cause
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
    def _take_turn(self, wait: float) -> Generator[float]:
        """Wait for the other threads of this process; yield the seconds of `wait` that are left."""
        until = time.monotonic() + wait
        if not self._thread.acquire(timeout=wait):
            raise unavailable_error("other calls are still writing to it")
        try:
            yield max(until - time.monotonic(), 0.0)
        finally:
            self._thread.release()

    @contextmanager
    def _take_write_lock(self, wait: float) -> Generator[None]:
        make_private_folder(self.folder)
        try:
            with exclusive_lock(self.folder / "ledger.turn", wait):
                yield
        except TimeoutError:
            raise unavailable_error("another kartra-mcp is still writing to it") from None

    def _begin(self, db: sqlite3.Connection, how: str) -> Transaction:
        db.execute(how)
        row = db.execute("SELECT n, hash, at FROM lines ORDER BY n DESC LIMIT 1").fetchone()
        wall, steady = self.current_time(), self._clocks.steady()
        newest = wall if row is None else row[2]
        now = max(wall, newest)
        head = Head() if row is None else Head(row[0], row[1])
        if head.count:
            self._identity.note(head, newest)
        return Transaction(
            db,
            now,
            steady,
            self._history.earliest(now, steady),
            head,
            self._history,
            behind=max(newest - wall, 0.0),
        )

    def _connect(self) -> sqlite3.Connection:
        if self._db is not None and not self._has_moved():
            return self._db
        self.close()
        self._member = try_shared_lock(self.open_lock)
        if self._member is None:
            raise unavailable_error("another kartra-mcp is replacing it")
        try:
            self._db = self._open()
        except BaseException:
            self.close()
            raise
        return self._db

    def _open(self) -> sqlite3.Connection:
        self._create()
        db = connect(self.path)
        try:
            if schema.is_empty(db):
                self._make(db)
            schema.must_be_ours(db)
            self._check(db)
            self._identity.require_same_chain(db, self.path)
            _migrate(db)
        except BaseException:
            db.close()
            raise
        self._file = self._file_identity()
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
        self._identity.require_present(self.path)
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
        self._agree(db, walked.head)

    def _agree(self, db: sqlite3.Connection, newest: Head) -> None:
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

    def _file_identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _has_moved(self) -> bool:
        return self._file is None or self._file_identity() != self._file


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


def _require_intact(db: sqlite3.Connection) -> None:
    """Raise unless the entries, and everything that derives from them, are intact."""
    report = verify_entries(db)
    if not report.ok:
        raise LedgerDamagedError(report.why)


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
        _roll_back(db)
        raise


def _roll_back(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")
