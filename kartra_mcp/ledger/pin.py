"""The PIN of the user who approves: a slow hash, a limit on attempts, each attempt recorded."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.records import format_utc
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.ledger.transaction import Transaction

MIN_LENGTH = 6
MAX_ATTEMPTS, ATTEMPT_WINDOW_SECONDS = 5, 900.0
"""Number of wrong PINs within the window that lock the PIN."""

LOCK_SECONDS = 900.0
"""Seconds from the last wrong PIN until the lock ends."""

_NEWEST_ATTEMPTS = "SELECT at, correct FROM pin_attempts ORDER BY number DESC LIMIT ?"
_ADD_ATTEMPT = "INSERT INTO pin_attempts (at, correct) VALUES (?, ?)"
SCRYPT_PARAMS = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True, slots=True)
class Pins:
    """The one PIN of one ledger."""

    store: LedgerStore

    def is_set(self) -> bool:
        with self.store.read_transaction() as transaction:
            return transaction.meta("pin") is not None

    def set(self, pin: str, who: str) -> None:
        """Set the PIN; the caller has checked the old one.

        Raises:
            RefusedError: the PIN is shorter than `MIN_LENGTH` characters.
        """
        if len(pin) < MIN_LENGTH:
            raise RefusedError(
                "invalid_arguments",
                f"The PIN is shorter than {MIN_LENGTH} characters.",
                "Choose a longer one.",
            )
        salt = secrets.token_bytes(16)
        kept = {
            "salt": salt.hex(),
            **SCRYPT_PARAMS,
            "hash": _hash_slowly(pin, salt, SCRYPT_PARAMS).hex(),
        }
        with self.store.write_transaction() as transaction:
            transaction.set_meta("pin", json.dumps(kept))
            transaction.append("consent", {"event": "pin_set", "who": who})

    def attempts_left(self) -> int:
        """Return the number of wrong attempts that would lock the PIN; 0 while it is locked."""
        sql = _NEWEST_ATTEMPTS
        with self.store.read_transaction() as transaction:
            since = transaction.earliest - ATTEMPT_WINDOW_SECONDS
            newest = transaction.fetch_all(sql, MAX_ATTEMPTS)
        wrong = takewhile(lambda row: not row["correct"] and row["at"] >= since, newest)
        return MAX_ATTEMPTS - sum(1 for _ in wrong)

    def locked_until(self) -> float | None:
        """Return the end of the lock in seconds since the epoch, or None if not locked."""
        with self.store.read_transaction() as transaction:
            return _locked_until(transaction)

    def check(self, pin: str, who: str) -> bool:
        """Return True for the right PIN. The attempt is on disk before the result is returned.

        An attempt recorded only afterwards could be repeated without limit by ending the process.

        Raises:
            RefusedError: no PIN is set, or too many attempts were wrong.
        """
        with self.store.write_transaction() as transaction:
            kept = transaction.meta("pin")
            until = _locked_until(transaction)
            right = False
            if kept is not None:
                # Hashed under the write lock: concurrent attempts cannot exceed the limit.
                right = until is None and _is(pin, json.loads(kept))
                _record(transaction, who, right=right, locked=until is not None)
        if kept is None:
            raise _not_set_error()
        if until is not None:
            raise _locked_error(until)
        return right


def _record(transaction: Transaction, who: str, *, right: bool, locked: bool) -> None:
    event = "pin_locked" if locked else "pin_right" if right else "pin_wrong"
    transaction.append("consent", {"event": event, "who": who})
    if not locked:
        transaction.run(_ADD_ATTEMPT, transaction.now, int(right))


def _locked_until(transaction: Transaction) -> float | None:
    sql = _NEWEST_ATTEMPTS
    newest = transaction.fetch_all(sql, MAX_ATTEMPTS)
    if len(newest) < MAX_ATTEMPTS or any(row["correct"] for row in newest):
        return None
    last, first = newest[0]["at"], newest[-1]["at"]
    until = last + LOCK_SECONDS
    if transaction.earliest >= until:
        return None
    return until if _span(transaction, first, last) <= ATTEMPT_WINDOW_SECONDS else None


def _span(transaction: Transaction, first: float, last: float) -> float:
    """Return the shorter span of both clocks: a forward step must not end a row of attempts."""
    since_first = transaction.history.elapsed_since(first, transaction.steady)
    since_last = transaction.history.elapsed_since(last, transaction.steady)
    if since_first is None or since_last is None:
        return last - first
    return min(last - first, since_first - since_last)


def _is(pin: str, kept: dict[str, Any]) -> bool:
    found = _hash_slowly(pin, bytes.fromhex(kept["salt"]), kept)
    return hmac.compare_digest(found, bytes.fromhex(kept["hash"]))


def _hash_slowly(pin: str, salt: bytes, cost: dict[str, Any]) -> bytes:
    secret = pin.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=cost["n"], r=cost["r"], p=cost["p"], dklen=32)


def _not_set_error() -> RefusedError:
    return RefusedError(
        "approval_required",
        "No PIN is set.",
        "Run `kartra-mcp approve --set-pin` in a terminal.",
    )


def _locked_error(until: float) -> RefusedError:
    return RefusedError(
        "not_allowed",
        f"Too many attempts were wrong: the PIN is locked until {format_utc(until)}.",
        "Wait until then. The ledger records every attempt.",
    )
