"""Transactions on the ledger's file: serialized writes, and the head and the seal after each."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from kartra_mcp.core.deadline import bound_wait
from kartra_mcp.core.file_locks import exclusive_lock
from kartra_mcp.core.private_folder import make_private_folder
from kartra_mcp.core.timings import Clocks
from kartra_mcp.ledger.clock_history import ClockHistory
from kartra_mcp.ledger.errors import (
    LedgerDamagedError,
    LedgerRefusedError,
    unavailable_error,
    uncertain_folder_error,
)
from kartra_mcp.ledger.hash_chain import Head
from kartra_mcp.ledger.sqlite.errors import from_os_error, from_sqlite_error, require_private
from kartra_mcp.ledger.sqlite.identity import AccountKind
from kartra_mcp.ledger.sqlite.integrity import verify_file
from kartra_mcp.ledger.sqlite.ledger_file import LedgerFile, roll_back
from kartra_mcp.ledger.store import WAIT, ListReads, bound_wait_for_others
from kartra_mcp.ledger.transaction import Times, Transaction, make_transaction


class FileTransactions:
    """Transactions on the file of one state folder; it is reopened after an error.

    Args:
        folder: the state folder; created with mode 0700 if it does not exist.
        clocks: the wall clock and the steady clock.
        wait: seconds to wait for the write lock. SQLite waits one more for a program that ignores
            the lock.
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
        self.file = LedgerFile(folder, account)
        self._turn_lock = folder / "ledger.turn"
        self._clocks = clocks
        self._history = ClockHistory()
        self._wait = wait
        self._fault = fault
        self._thread = threading.RLock()

    def require_certain(self) -> None:
        if self._fault:
            raise uncertain_folder_error(self._fault)

    def wait_seconds(self, *, settles: bool) -> float:
        return bound_wait_for_others(self._wait, settles=settles)

    @contextmanager
    def write_transaction(
        self, *, settles: bool = False, looks: bool = False, reads: ListReads | None = None
    ) -> Generator[Transaction]:
        """Run one exclusive, atomic commit, then write the head."""
        del looks, reads  # a file is never switched to another server, and no trip to one is saved
        self.require_certain()
        wait = self.wait_seconds(settles=settles)
        with self._take_turn(wait) as left, self._translate_errors(), self._take_write_lock(left):
            sealed = self.file.seal.matches()
            if not sealed:
                self.file.close()  # pages that it cached would hide an alteration
            db = self.file.connect()
            self.file.set_busy_timeout(db, int(1000 * min(bound_wait(1.0), wait)))
            transaction = self._begin(db, "BEGIN IMMEDIATE")
            before = transaction.head
            try:
                self._require_usable(db, transaction, sealed=sealed, settles=settles)
                yield transaction
                self._note_in_meta(transaction, before)
                db.execute("COMMIT")
            except BaseException:
                roll_back(db)
                raise
            self._history.note(transaction.now, transaction.steady)
            self.file.identity.note(transaction.head, transaction.now)
            if transaction.added:
                self.file.head.write(transaction.head)
            self.file.seal.write()

    def _note_in_meta(self, transaction: Transaction, before: Head) -> None:
        if transaction.added:
            transaction.set_meta("before", json.dumps([before.count, before.hash]))
            self.file.identity.mark_account(transaction.db)

    def _require_usable(
        self, db: sqlite3.Connection, transaction: Transaction, *, sealed: bool, settles: bool
    ) -> None:
        require_private(self.folder)
        self.file.agree(db, transaction.head)
        if not sealed:
            _require_intact(db)
        self.file.identity.require_account(db)
        if not settles:
            transaction.require_clock()

    @contextmanager
    def read_transaction(self) -> Generator[Transaction]:
        """Run reads on one consistent snapshot."""
        with self._take_turn(bound_wait(self._wait)) as left, self._translate_errors():
            if not self.file.is_current:
                with self._take_write_lock(left):
                    self.file.connect()
            db = self.file.connect()
            try:
                yield self._begin(db, "BEGIN")
            finally:
                roll_back(db)

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
                return self.file.identity.account_fault(transaction.db)
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
            self.file.close()

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
            with exclusive_lock(self._turn_lock, wait):
                yield
        except TimeoutError:
            raise unavailable_error("another kartra-mcp is still writing to it") from None

    def _begin(self, db: sqlite3.Connection, how: str) -> Transaction:
        db.execute(how)
        row = db.execute("SELECT n, hash, at FROM lines ORDER BY n DESC LIMIT 1").fetchone()
        wall, steady = self.current_time(), self._clocks.steady()
        newest = wall if row is None else row[2]
        head = Head() if row is None else Head(row[0], row[1])
        if head.count:
            self.file.identity.note(head, newest)
        return make_transaction(db, head, Times(wall, newest, steady), self._history)


def _require_intact(db: sqlite3.Connection) -> None:
    """Raise unless the entries, and everything that derives from them, are intact."""
    report = verify_file(db)
    if not report.ok:
        raise LedgerDamagedError(report.why)
