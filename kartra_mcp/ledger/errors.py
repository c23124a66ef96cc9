"""Why the ledger cannot be used, in words: what SQLite and the system say, as our refusals."""

from __future__ import annotations

import errno
import sqlite3

from kartra_mcp.core.errors import RefusedError

_FULL = "the disk is full, or a limit on the size of files was reached"
_CLOSED = "its folder or file may not be written"
_HELD = "another program has it locked"
_LOW_BYTE = 0xFF

_OF_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EFBIG: _FULL,
    getattr(errno, "EDQUOT", errno.ENOSPC): _FULL,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EROFS: _CLOSED,
    errno.ENOTDIR: "a file stands where its folder should be",
    errno.EEXIST: "a file stands where its folder should be",
}
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: "the disk did not take or give it; it may be full",
    sqlite3.SQLITE_READONLY: _CLOSED,
    sqlite3.SQLITE_PERM: _CLOSED,
    sqlite3.SQLITE_CANTOPEN: "it could not be opened",
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
}
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class LedgerDamagedError(RefusedError):
    """The ledger was altered, cut or overwritten; only a person may set it aside."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "ledger_unavailable",
            f"The ledger is damaged: {why}. Nothing was done.",
            "A person should run `kartra-mcp ledger verify`, keep the file, and then run "
            "`kartra-mcp ledger new`.",
        )
        self.why = why


def unavailable_error(why: str) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"The ledger cannot be written: {why}. Nothing was done.",
        "Writes run only once the ledger can be written: see to that, then try again.",
    )


def wrong_version_error(found: int, known: int) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"The ledger has schema version {found}; this program supports up to {known}. "
        "Nothing was done.",
        "Update kartra-mcp in every client on this machine, then start the clients again.",
    )


def from_os_error(problem: OSError) -> RefusedError:
    name = errno.errorcode.get(problem.errno or 0, "an unknown error")
    return unavailable_error(_OF_SYSTEM.get(problem.errno or 0, f"the system says {name}"))


def from_sqlite_error(problem: sqlite3.Error) -> RefusedError:
    code = getattr(problem, "sqlite_errorcode", None)
    if code is None:  # text that is no UTF-8, a value of the wrong type
        return LedgerDamagedError("it holds what was never written there")
    primary = code & _LOW_BYTE
    if primary in _BROKEN:
        return LedgerDamagedError("bytes of the file were overwritten or cut away")
    why = _OF_SQLITE.get(primary)
    if why is None:
        return LedgerDamagedError("its tables are not as they were made")
    return unavailable_error(why)
