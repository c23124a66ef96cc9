"""Look at a ledger without opening it for use: no lock, no migration, no file is created.

`store.open_ledger` is for every other read: it checks the chain, and therefore creates its locks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from kartra_mcp.ledger.errors import LedgerDamagedError, explain
from kartra_mcp.ledger.sqlite.errors import from_os_error, from_sqlite_error
from kartra_mcp.ledger.sqlite.intent_locks import IntentLocks, is_intent_id
from kartra_mcp.ledger.sqlite.ledger_file import NAME

_TABLES = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('intents', 'lines')"
_NEWEST = "SELECT at FROM lines ORDER BY n DESC LIMIT 1"
_UNKNOWN = (
    "SELECT connection, SUM(state = 'unknown') FROM intents GROUP BY connection ORDER BY connection"
)
_RUNNING = "SELECT id, connection FROM intents WHERE state = 'running'"
_MAX_TIME = 253_402_300_800.0
"""Seconds since 1970 at the end of the year 9999, the last that can be displayed."""


@dataclass(frozen=True, slots=True)
class LedgerInspection:
    """The contents of a ledger, as far as the files show them.

    Attributes:
        newest_at: time of the newest entry; None without one.
        unknown: number of writes with an unknown outcome, for each connection that ever wrote. A
            write whose server and program have ended without an answer counts too.
        problem: why the ledger could not be read, a sentence; "" if it was, or if there is none.
    """

    newest_at: float | None = None
    unknown: Mapping[str, int] = field(default_factory=dict[str, int])
    problem: str = ""


def inspect_ledger(folder: Path) -> LedgerInspection:
    """Return what the ledger of a state folder contains; nothing in the folder changes."""
    try:
        if not (folder / NAME).exists():
            return LedgerInspection()
        with closing(_connect(folder / NAME)) as db:
            return _inspect(db, IntentLocks(folder / "locks"))
    except LedgerDamagedError as problem:
        return LedgerInspection(problem=explain(problem))
    except sqlite3.Error as problem:
        return LedgerInspection(problem=explain(from_sqlite_error(problem)))
    except OSError as problem:
        return LedgerInspection(problem=explain(from_os_error(problem)))


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file for reading, without the files that SQLite creates for a reader.

    The log of a running server is read by its own index (`-shm`), which is never created here.
    Without a log no write has begun, and the file is complete in itself.
    """
    if not path.is_file():  # SQLite would wait for the writer of a pipe
        raise LedgerDamagedError("it is not a regular file")
    log = path.with_name(f"{NAME}-wal")
    logged = log.exists() and log.stat().st_size > 0
    how = "readonly_shm=1" if logged else "immutable=1"
    uri = f"{path.absolute().as_uri()}?mode=ro&{how}"
    return sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None)


def _inspect(db: sqlite3.Connection, locks: IntentLocks) -> LedgerInspection:
    db.execute("BEGIN")
    if db.execute(_TABLES).fetchone() != (2,):  # a view in place of a table may never end
        raise LedgerDamagedError("its tables were altered")
    newest = db.execute(_NEWEST).fetchone()
    unknown = {_as_name(name): int(count or 0) for name, count in db.execute(_UNKNOWN)}
    for intent, connection in db.execute(_RUNNING).fetchall():
        if not locks.is_locked(_as_intent_id(intent)):
            unknown[connection] = unknown.get(connection, 0) + 1
    return LedgerInspection(None if newest is None else _as_time(newest[0]), unknown)


def _as_name(value: Any) -> str:
    return value if isinstance(value, str) else _refuse_value()


def _as_intent_id(value: Any) -> str:
    return value if isinstance(value, str) and is_intent_id(value) else _refuse_value()


def _as_time(value: Any) -> float:
    if isinstance(value, int | float) and 0 <= value < _MAX_TIME:
        return float(value)
    return _refuse_value()


def _refuse_value() -> NoReturn:
    raise LedgerDamagedError("it contains a value that was never written")
