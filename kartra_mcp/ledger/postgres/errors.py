"""Errors of PostgreSQL as refusals. No text has an address, a name or a value of the database."""

from __future__ import annotations

import psycopg
from psycopg import errors as reported

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.errors import LedgerDamagedError, LedgerRefusedError, unavailable_error

MIGRATE = "An admin should run `kartra-mcp team migrate`, then repeat the call."
SETTLE = (
    "An admin should run `kartra-mcp team settle`, which looks in the run logs for writes that "
    "this ledger lacks. Until then no write runs."
)
_ONE_RULE = "parts_one_"
"""Begin of the names of the indexes that back the main rule."""

_WORDS: tuple[tuple[type[psycopg.Error], str], ...] = (
    (reported.LockNotAvailable, "another replica is still writing to it"),
    (reported.QueryCanceled, "its database did not answer in time"),
    (reported.ReadOnlySqlTransaction, "its database is a standby, which takes no writes"),
    (reported.DiskFull, "the disk of its database is full"),
    (reported.TooManyConnections, "its database has no connection left"),
    (reported.InvalidPassword, "its database refused the login of this service"),
    (
        reported.InvalidAuthorizationSpecification,
        "its database refused the login of this service",
    ),
    (reported.DataError, "its database cannot store a value of this call"),
)


_NOT_MIGRATED = (reported.UndefinedTable, reported.UndefinedFunction, reported.InvalidSchemaName)


class DatabaseTimeoutError(psycopg.OperationalError):
    """The server did not answer within the time that this process waits."""


class TeamLedgerDamagedError(LedgerDamagedError):
    """The team's ledger was altered. It is never replaced by a program."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.remedy = (
            "An admin should run `kartra-mcp team verify`, and keep the database as it is. "
            "Until it is explained, no write runs."
        )


class CommitUncertainError(LedgerRefusedError):
    """A commit that was not plainly acknowledged: it may be recorded, so nothing may be sent."""

    def __init__(self, why: str) -> None:
        RefusedError.__init__(
            self,
            "ledger_unavailable",
            f"The ledger may have recorded this, but {why}. Nothing was sent to Kartra after that.",
            "Repeat the call later. If this one was recorded, kartra_ledger shows it, and it "
            "settles by itself.",
        )
        self.why = why


class RolledBackError(LedgerRefusedError):
    """The database shows less than this process saw, or another history."""

    def __init__(self, why: str) -> None:
        super().__init__(why, SETTLE, f"The ledger's database went back: {why}")


def rival_error() -> RefusedError:
    """Return the refusal of a write that an index of the database found to be a second one."""
    return RefusedError(
        "in_progress",
        "An equal call is running, or its outcome is unknown. Nothing was done by this one.",
        "Look it up with kartra_ledger. If it is unknown, settle it with kartra_reconcile.",
    )


def is_unstorable(problem: psycopg.Error) -> bool:
    """Return whether psycopg did not send a value, e.g. a text with a NUL: the call is at fault."""
    return isinstance(problem, psycopg.DataError) and problem.sqlstate is None


def from_postgres_error(problem: psycopg.Error) -> RefusedError:
    """Return the refusal for an error outside a commit: nothing was committed."""
    if is_unstorable(problem):
        return RefusedError(
            "invalid_arguments",
            "A value of this call has a character that the ledger cannot store. Nothing was done.",
            "Leave out control characters, then repeat the call.",
        )
    if isinstance(problem, reported.UniqueViolation):
        name = problem.diag.constraint_name or ""
        return rival_error() if name.startswith(_ONE_RULE) else _altered_error()
    if isinstance(problem, reported.IntegrityError):
        return _altered_error()
    if isinstance(problem, reported.InsufficientPrivilege):
        return LedgerRefusedError("the role of this service lacks a right on its tables", MIGRATE)
    if isinstance(problem, _NOT_MIGRATED):
        return LedgerRefusedError("its database has no tables for this account", MIGRATE)
    words = (text for kind, text in _WORDS if isinstance(problem, kind))
    return unavailable_error(next(words, "its database cannot be reached"))


def _altered_error() -> RefusedError:
    return TeamLedgerDamagedError("a row contradicts the lines")
