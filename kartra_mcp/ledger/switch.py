"""Switch of all writes of an account: one person stops them, two different people resume them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.display import display_value
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.principal import Principal
from kartra_mcp.ledger.database import Query
from kartra_mcp.ledger.people import clean_line, make_name
from kartra_mcp.ledger.projection import parse_payload
from kartra_mcp.ledger.records import format_utc
from kartra_mcp.ledger.revocations import find_refusal, is_revoked_since
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.ledger.transaction import Transaction
from kartra_mcp.policy.roles import Right, page_rights

RESUME_SECONDS = 86_400.0
"""Seconds in which a second person has to confirm that writes resume."""
NEWEST = Query("SELECT n, at, body FROM lines WHERE kind = 'switch' ORDER BY n DESC LIMIT 1")
_ONE = "SELECT n, at, body FROM lines WHERE kind = 'switch' AND n = ?"


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """The first person of two who wants writes to resume."""

    who: str
    person: str
    at: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Writes of an account are stopped; times are seconds since the epoch.

    Attributes:
        line: number of the entry.
        who: name of the person who stopped them.
        person: key of that principal.
        resume: the request to resume, while it waits for a second person.
    """

    line: int
    at: float
    who: str
    person: str
    reason: str
    resume: ResumeRequest | None = None


@dataclass(slots=True)
class Switch:
    """The switch of one ledger; `is_off`: this process writes nothing, whatever the ledger has."""

    store: LedgerStore
    is_off: bool = False

    def find_stop(self) -> Stop | None:
        """Return the stop in force, or None while writes run."""
        with self.store.read_transaction() as transaction:
            return find_stop(transaction)

    def find_refusal(self, transaction: Transaction) -> RefusedError | None:
        """Return the refusal of every write while they are stopped, or None."""
        return _off_error() if self.is_off else switch_refusal(transaction)

    def require_running(self) -> None:
        """Raise `writes_stopped` while writes are stopped."""
        with self.store.read_transaction() as transaction:
            refusal = self.find_refusal(transaction)
        if refusal is not None:
            raise refusal

    def stop(self, principal: Principal, reason: str) -> Stop:
        """Stop all writes of the account; a stop in force is replaced, and so is its resume.

        Raises:
            RefusedError: `forbidden_role`, or `invalid_arguments` without a reason.
        """
        _require_right(principal, Right.STOP)
        why = clean_line(reason)
        if not why:
            raise _no_reason_error()
        with self.store.write_transaction(settles=True) as transaction:
            _append(transaction, "stopped", principal, reason=why)
            found = find_stop(transaction)
        assert found is not None  # noqa: S101  it was just recorded
        return found

    def resume(self, principal: Principal) -> Stop | None:
        """Ask that writes resume, or confirm it as the second person.

        Returns:
            None once writes run again; else the stop, with the request that waits.

        Raises:
            RefusedError: `forbidden_role`, also if revoked; `confirmation_used` for who asked;
                `invalid_arguments` while nothing is stopped.
        """
        _require_right(principal, Right.RESUME)
        with self.store.write_transaction() as transaction:
            found = find_stop(transaction)
            refusal = find_refusal(transaction, (principal.key,)) or _resume_refusal(
                found, principal
            )
            if found is not None and refusal is None:
                event = "resumed" if found.resume else "resume_asked"
                _append(transaction, event, principal, stop=found.line)
            found = find_stop(transaction)
        if refusal is not None:
            raise refusal
        return found


def find_stop(transaction: Transaction) -> Stop | None:
    """Return the stop that the newest entries record, or None."""
    newest = next(iter(transaction.read(NEWEST)), None)
    if newest is None:
        return None
    entry = parse_payload(newest["body"])
    if entry["event"] == "resumed":
        return None
    if entry["event"] == "stopped":
        return _make_stop(newest, entry, None)
    row = transaction.fetch_one(_ONE, entry["stop"])
    asked = ResumeRequest(entry["who"], entry["person"], newest["at"])
    waits = transaction.is_within(asked.at, RESUME_SECONDS) and not is_revoked_since(
        transaction, asked.person, newest["n"]
    )
    return _make_stop(row, parse_payload(row["body"]), asked if waits else None)


def switch_refusal(transaction: Transaction) -> RefusedError | None:
    """Return the refusal of a write while the account's writes are stopped, or None."""
    found = find_stop(transaction)
    if found is None:
        return None
    since = format_utc(found.at)
    return RefusedError(
        "writes_stopped",
        f"{display_value(found.who)} stopped all writes of this account at {since}. "
        "Nothing was done.",
        "Two people with the role approver or admin can resume them on the page. Reads still run.",
        detail={"stopped_by": found.who, "since": since, "reason": found.reason},
    )


def _resume_refusal(stop: Stop | None, principal: Principal) -> RefusedError | None:
    if stop is None:
        return _not_stopped_error()
    asked = stop.resume
    return _same_person_error() if asked and asked.person == principal.key else None


def _make_stop(row: Any, entry: dict[str, Any], resume: ResumeRequest | None) -> Stop:
    return Stop(row["n"], row["at"], entry["who"], entry["person"], entry["reason"], resume)


def _append(transaction: Transaction, event: str, principal: Principal, **more: Any) -> None:
    who = {"who": make_name(principal), "person": principal.key}
    transaction.append("switch", {"event": event, **who, **more})


def _require_right(principal: Principal, right: Right) -> None:
    if right not in page_rights(principal):
        raise RefusedError(
            "forbidden_role",
            f"Your roles do not permit you to {right} writes. Nothing was changed.",
            "Ask an admin of this account.",
        )


def _off_error() -> RefusedError:
    return RefusedError(
        "writes_stopped",
        "KARTRA_MCP_WRITES is off: this server runs no write. Nothing was done.",
        "Reads still run. Whoever runs the server can set it to on and restart the server.",
    )


def _no_reason_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "A stop needs a reason for the ledger. Nothing was changed.",
        "Enter a reason, and stop the writes again.",
    )


def _not_stopped_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "Writes of this account are not stopped. Nothing was changed.",
        "There is nothing to resume.",
    )


def _same_person_error() -> RefusedError:
    return RefusedError(
        "confirmation_used",
        "You asked for this before; two different people have to resume writes.",
        "Ask another person with the role approver or admin to confirm it.",
    )
