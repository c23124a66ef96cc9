"""Errors of SQLite and of the operating system, as refusals with a reason and a remedy."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.private_folder import find_folder_fault
from kartra_mcp.ledger.errors import LedgerDamagedError, LedgerRefusedError, unavailable_error

_FULL = "the disk is full, or a limit on the size of files was reached"
_CLOSED = "its folder or file is not writable"
_HELD = "another program has locked it"
_LOW_BYTE = 0xFF

_OF_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EFBIG: _FULL,
    getattr(errno, "EDQUOT", errno.ENOSPC): _FULL,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EROFS: _CLOSED,
    errno.ENOTDIR: "its folder's path is a file",
    errno.EEXIST: "its folder's path is a file",
}
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: "reading or writing the disk failed; it may be full",
    sqlite3.SQLITE_READONLY: _CLOSED,
    sqlite3.SQLITE_PERM: _CLOSED,
    sqlite3.SQLITE_CANTOPEN: "it could not be opened",
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
}
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


FILE_FAULTS: tuple[type[Exception], ...] = (sqlite3.Error, OSError, LedgerDamagedError)
"""Errors whose cause may be the ledger's file, and not the call that met them."""


def require_private(folder: Path) -> None:
    """Raise `ledger_unavailable` if another user can change the folder of the ledger."""
    why, fix = find_folder_fault(folder)
    if why:
        raise LedgerRefusedError(
            why,
            f"The user should check who changed it, then {fix}, and repeat the call.",
            f"The ledger is not private: {why}",
        )


def from_os_error(problem: OSError) -> RefusedError:
    """Return the refusal for an error of the operating system."""
    name = errno.errorcode.get(problem.errno or 0, "an unknown error")
    return unavailable_error(_OF_SYSTEM.get(problem.errno or 0, f"the system reports {name}"))


def from_sqlite_error(problem: sqlite3.Error) -> RefusedError:
    """Return the refusal for an error of SQLite: damaged, or unavailable for now."""
    code = getattr(problem, "sqlite_errorcode", None)
    if code is None:  # text that is not UTF-8, or a value of the wrong type
        return LedgerDamagedError("it contains a value that was never written")
    primary = code & _LOW_BYTE
    if primary in _BROKEN:
        return LedgerDamagedError("parts of the file were overwritten or cut off")
    why = _OF_SQLITE.get(primary)
    if why is None:
        return LedgerDamagedError("its tables were altered")
    return unavailable_error(why)
