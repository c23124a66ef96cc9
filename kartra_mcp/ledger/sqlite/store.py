"""The store of one user's ledger: an SQLite file in the state folder, and file locks."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from kartra_mcp.core.timings import Clock, Clocks, read_steady_clock
from kartra_mcp.ledger.errors import LedgerDamagedError
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.pseudonyms import load_or_create_key
from kartra_mcp.ledger.records import ReplacedLedger, VerificationReport
from kartra_mcp.ledger.sqlite import repair
from kartra_mcp.ledger.sqlite.identity import AccountKind
from kartra_mcp.ledger.sqlite.intent_locks import IntentLocks
from kartra_mcp.ledger.sqlite.transactions import FileTransactions
from kartra_mcp.ledger.store import WAIT


class SQLiteStore(FileTransactions):
    """The ledger of one state folder, shared by every process of this user."""

    faults: tuple[type[Exception], ...] = (sqlite3.Error, OSError, LedgerDamagedError)

    def __init__(
        self,
        folder: Path,
        clocks: Clocks,
        wait: float = WAIT,
        fault: str = "",
        account: AccountKind = "",
    ) -> None:
        super().__init__(folder, clocks, wait, fault, account)
        self.owners = IntentLocks(folder / "locks")

    def identify(self, connection: str) -> str:
        return connection

    def lead_key(self) -> bytes:
        with self.write_transaction(settles=True):
            return load_or_create_key(self.folder)

    def verify(self) -> VerificationReport:
        return repair.verify(self)

    def replace_damaged(self) -> ReplacedLedger:
        return repair.replace_damaged(self, self.owners)

    def require_rehearsal(self) -> None:
        """Raise if the ledger may be that of a real account; nothing is opened or begun."""
        repair.require_rehearsal(self.file)

    def replace_rehearsal(self) -> ReplacedLedger | None:
        """Replace the ledger of the sandbox account; None if there is none."""
        return repair.replace_rehearsal(self, self.owners)


def open_rehearsal_store(folder: Path) -> SQLiteStore:
    """Return the store of the sandbox account's ledger, to replace it."""
    return SQLiteStore(folder, Clocks(time.time, read_steady_clock), account="sandbox")


def open_ledger(
    folder: Path,
    clock: Clock = time.time,
    wait: float = WAIT,
    fault: str = "",
    *,
    steady: Clock = read_steady_clock,
    account: AccountKind = "",
) -> Ledger:
    """Return the ledger of a state folder; nothing is opened before its first use.

    Args:
        folder: the state folder.
        clock: seconds since the epoch.
        wait: seconds to wait for other processes' commits.
        fault: the reason why nothing may be written here, or "".
        steady: seconds of a clock that cannot be set.
        account: the kind of account whose writes are recorded here.
    """
    return Ledger(SQLiteStore(folder, Clocks(clock, steady), wait, fault, account))
