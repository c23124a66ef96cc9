"""Verification of the whole ledger, and replacement of a damaged one for the user."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.file_locks import try_exclusive_lock
from kartra_mcp.ledger.errors import REPLACEABLE_LAG, LedgerDamagedError
from kartra_mcp.ledger.hash_chain import GENESIS_HASH, Head, LedgerEntry, make_entry
from kartra_mcp.ledger.records import ReplacedLedger, VerificationReport
from kartra_mcp.ledger.sqlite import schema
from kartra_mcp.ledger.sqlite.errors import from_sqlite_error
from kartra_mcp.ledger.sqlite.head_file import keep_names
from kartra_mcp.ledger.sqlite.integrity import verify_file
from kartra_mcp.ledger.sqlite.intent_locks import IntentLocks
from kartra_mcp.ledger.sqlite.ledger_file import LedgerFile, connect
from kartra_mcp.ledger.sqlite.transactions import FileTransactions

_BESIDE = ("", "-wal", "-shm")


def verify(store: FileTransactions) -> VerificationReport:
    """Verify every entry up to the head, and rebuild the table of intents to compare it.

    The report of an intact ledger has the reason for which writes are refused all the same.

    Raises:
        RefusedError: the ledger cannot be read, for another reason than damage.
    """
    try:
        with store.read_transaction():
            pass
        why = ""
    except LedgerDamagedError as problem:
        why = problem.why
    path = store.file.path
    if not path.exists():
        return VerificationReport(0, False, None, why)
    found = _verify_path(path)
    if found.ok and why:
        return VerificationReport(found.count, False, found.count + 1, why)
    if found.ok:
        refused = store.refusal_reason()
        return replace(found, ok=not refused, refused=refused)
    return found


def replace_damaged(store: FileTransactions, locks: IntentLocks) -> ReplacedLedger:
    """Rename a damaged ledger to a dated name and begin a new one that names it.

    A sound ledger is never replaced: an empty one would admit every earlier refund again. One that
    a wrong clock wrote far into the future would refuse every write for as long.

    Raises:
        RefusedError: it is sound, or is in use, or a call is still running.
    """
    report = verify(store)
    if not report.why and store.lag() < REPLACEABLE_LAG:
        raise RefusedError(
            "not_allowed",
            "The ledger is valid. It was not replaced.",
            "Keep it. Only a damaged ledger can be replaced.",
        )
    with _hold_alone(store, locks, "run `kartra-mcp ledger new` again."):
        return _set_aside(store.file, report, store.current_time())


def replace_rehearsal(store: FileTransactions, locks: IntentLocks) -> ReplacedLedger | None:
    """Rename the ledger of the sandbox account to a dated name and begin a new one that names it.

    Only for `sandbox reset`: the refunds in it are those of an account that is replaced too.
    Return None if there is no ledger.

    Raises:
        RefusedError: it may be that of a real account, is in use, or a call is still running.
    """
    file = store.file
    if not (file.path.exists() or file.head.path.exists()):
        return None
    with _hold_alone(store, locks, "run `kartra-mcp sandbox reset` again."):
        require_rehearsal(file)
        report = VerificationReport(0, ok=False, why="the user reset the sandbox")
        return _set_aside(file, report, store.current_time())


def require_rehearsal(file: LedgerFile) -> None:
    """Raise unless the file has no mark of a real account.

    A damaged file whose mark cannot be read is left to `ledger new`, which shows the damage first.
    """
    if not file.path.exists():
        return
    try:
        with closing(connect(file.path)) as db:
            why = "" if schema.is_empty(db) else file.identity.account_fault(db)
    except sqlite3.Error as problem:
        raise from_sqlite_error(problem) from problem
    if why:
        raise RefusedError(
            "not_allowed",
            f"Nothing was reset: {why} ({file.path}).",
            "Keep it. Name another folder for the sandbox with --state-dir.",
        )


def _verify_path(path: Path) -> VerificationReport:
    try:
        with closing(connect(path)) as db:
            # Bytes that are not UTF-8 must reach the chain check, which reports their entry.
            db.text_factory = _decode_any_text
            db.execute("BEGIN")
            return verify_file(db)
    except sqlite3.Error as problem:
        fault = from_sqlite_error(problem)
        if isinstance(fault, LedgerDamagedError):
            return VerificationReport(0, False, None, fault.why)
        raise fault from problem


def _decode_any_text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


@contextmanager
def _hold_alone(store: FileTransactions, locks: IntentLocks, again: str) -> Generator[None]:
    """Hold the ledger while no other process has it open and no call is running.

    `again` ends the remedy of a refusal.
    """
    with store.write_lock(), _lock_alone(store.file, again):
        if locks.is_any_held():
            raise RefusedError(
                "in_progress",
                "A program that a call started is still running. Nothing was changed.",
                f"Wait until it has ended, then {again}",
            )
        yield


@contextmanager
def _lock_alone(file: LedgerFile, again: str) -> Generator[None]:
    hold = try_exclusive_lock(file.open_lock)
    if hold is None:
        raise RefusedError(
            "in_progress",
            "Another kartra-mcp has the ledger open. Nothing was changed.",
            "Close the clients that run kartra-mcp, and its page (`kartra-mcp page --end`). "
            f"Then {again}",
        )
    try:
        yield
    finally:
        os.close(hold)


def _set_aside(file: LedgerFile, report: VerificationReport, now: float) -> ReplacedLedger:
    """Replace the files in an order in which a crash leaves a damaged ledger, never a new one."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    old = _free(file.folder, stamp) if file.path.exists() else None
    known = _read_last_head(file)
    coming = file.folder / "ledger.coming"
    head = _begin(coming, now, old, known, report)
    if file.head.path.exists():
        shutil.copy2(file.head.path, file.folder / f"ledger-{stamp}.head")
    if old is not None:
        for end in reversed(_BESIDE):
            _rename(Path(f"{file.path}{end}"), file.folder / f"{old}{end}")
    coming.replace(file.path)
    keep_names(file.folder)
    file.head.replace(head)
    return ReplacedLedger(old, known.hash, report.why or report.refused)


def _free(folder: Path, stamp: str) -> str:
    names = (f"ledger-{stamp}{more}.db" for more in ("", *(f"-{n}" for n in range(2, 100))))
    return next(name for name in names if not (folder / name).exists())


def _read_last_head(file: LedgerFile) -> Head:
    try:
        return file.head.read() or Head(0, "")
    except LedgerDamagedError:
        return Head(0, "")


def _begin(path: Path, at: float, old: str | None, known: Head, report: VerificationReport) -> Head:
    """Write a ledger whose first entry names the old one."""
    for end in _BESIDE:
        Path(f"{path}{end}").unlink(missing_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    why = report.why or report.refused
    after = {"file": old, "count": known.count, "hash": known.hash, "why": why}
    line = make_entry(Head(), at, "start", {"after": after})
    with closing(connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        schema.make(db)
        db.execute("INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?)", _entry_values(line))
        db.execute("INSERT INTO meta VALUES ('before', ?)", (f'[-1,"{GENESIS_HASH}"]',))
        db.execute("COMMIT")
    return Head(line.n, line.hash)


def _entry_values(line: LedgerEntry) -> tuple[int, float, str, str, str, str]:
    return line.n, line.at, line.kind, line.body, line.prev, line.hash


def _rename(old: Path, new_name: Path) -> None:
    if old.exists():
        old.replace(new_name)
