"""Confirmation ids and declines: minted, checked, burnt once, only as hashes, bound to one call."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.database import Transaction
from kartra_mcp.ledger.hash_chain import canonical
from kartra_mcp.ledger.records import Binding, Intent, Minted

Kind = Literal["two_step", "question"]

LIFETIME = 600.0
KEPT = 30 * 86_400.0
KIND_OF: Mapping[str, Kind] = {"two_step": "two_step", "elicitation": "question"}
DECLINED = frozenset({"declined", "dismissed"})

_DIFFERENCES = {
    "tool": "another tool",
    "arguments": "other arguments",
    "connection": "another connection",
    "connection_created": "a connection that was made anew",
    "action": "another action",
    "revision": "another revision of the action",
    "policy": "another policy",
}


def mint(
    transaction: Transaction,
    binding: Binding,
    summary: str,
    facts_digest: str,
    kind: Kind,
    ttl: float,
) -> Minted:
    """A new id, of which only the hash is kept."""
    id_ = secrets.token_urlsafe(18)
    now = transaction.now
    transaction.run("DELETE FROM confirmations WHERE expires_at < ?", now - KEPT)
    transaction.run(
        "INSERT INTO confirmations VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
        hashed(id_),
        kind,
        written(binding),
        hashed(folded(summary)),
        facts_digest,
        now,
        now + ttl,
    )
    return Minted(id_, now + ttl)


def check(
    transaction: Transaction, id_: str, binding: Binding, summary: str | None, kind: Kind
) -> str:
    """The digest of the facts that were shown with this id; `summary` None was checked before.

    Raises:
        Refused: confirmation_used, confirmation_expired or confirmation_mismatch.
    """
    row = transaction.one("SELECT * FROM confirmations WHERE hash = ?", hashed(id_))
    if row is None:
        raise _mismatch("This confirmation_id was never given out here")
    if row["used_by"] is not None:
        raise used()
    # An id from the future means that the clock went back: how old it is, nobody knows.
    if not row["made_at"] <= transaction.now < row["expires_at"]:
        raise _expired()
    differs = differences(_read(row["binding"]), binding)
    if row["kind"] != kind:
        differs = ["a question to a person" if row["kind"] == "question" else "a preview", *differs]
    if differs:
        raise _mismatch(f"This confirmation_id belongs to {' and '.join(differs)}")
    if summary is not None and row["summary"] != hashed(folded(summary)):
        raise _mismatch("The confirmation_summary is not the one that was shown")
    return row["facts"]


def burn(transaction: Transaction, id_: str, intent_id: str) -> None:
    sql = "UPDATE confirmations SET used_by = ? WHERE hash = ?"
    transaction.run(sql, intent_id, hashed(id_))


def void(transaction: Transaction, id_: str) -> None:
    """Used up, by no intent."""
    sql = "UPDATE confirmations SET used_by = 'void' WHERE hash = ? AND used_by IS NULL"
    transaction.run(sql, hashed(id_))


def void_all(transaction: Transaction, connection: str) -> None:
    """Used up, all that are for this connection."""
    sql = (
        "UPDATE confirmations SET used_by = 'void' WHERE used_by IS NULL"
        " AND json_extract(binding, '$.connection') = ?"
    )
    transaction.run(sql, connection)


def block(transaction: Transaction, key: str, seconds: float, why: str) -> float:
    """Nothing with this identity runs until then."""
    assert why in DECLINED, why  # noqa: S101  a slip of ours
    until = transaction.now + seconds
    transaction.run("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", hashed(key), why, until)
    return until


def blocked(transaction: Transaction, key: str) -> RefusedError | None:
    row = transaction.one("SELECT why, until FROM blocks WHERE key = ?", hashed(key))
    if row is None or transaction.now >= row["until"]:
        return None
    minutes = int((row["until"] - transaction.now) // 60) + 1
    said = "declined this" if row["why"] == "declined" else "dismissed the question about this"
    return RefusedError(
        row["why"],
        f"A person {said}. Nothing was done, and nothing like it runs for {minutes} min.",
        "Do not ask again on your own: tell the person, and wait for what they say.",
    )


def unfounded(
    transaction: Transaction, intent: Intent, burns: Binding | None
) -> RefusedError | None:
    """Why the confirmation that an intent rests on does not count; None if it does."""
    kind = KIND_OF.get(intent.consent)
    if kind is None:
        return None
    if intent.confirmation_id is None:
        return None if kind == "question" else _mismatch("A confirmation_id is missing")
    if burns is None:
        return _mismatch("This confirmation_id belongs to nothing")
    try:
        check(transaction, intent.confirmation_id, burns, None, kind)
    except RefusedError as refusal:
        return refusal
    return None


def differences(one: Binding, other: Binding) -> list[str]:
    """In words, what differs; of what was the binding made for, seen from the call."""
    ours, theirs = asdict(one), asdict(other)
    return [words for name, words in _DIFFERENCES.items() if ours[name] != theirs[name]]


def folded(summary: str) -> str:
    """A summary as it is compared: NFC, white space as single spaces."""
    return " ".join(unicodedata.normalize("NFC", summary).split())


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def written(binding: Binding) -> str:
    return canonical(asdict(binding))


def used() -> RefusedError:
    return RefusedError(
        "confirmation_used",
        "This confirmation was already used; each counts once. Nothing was done.",
        "Look at what the first call did (kartra_ledger) before asking for a new preview.",
    )


def _read(binding: str) -> Binding:
    told: dict[str, Any] = json.loads(binding)
    return Binding(**told)


def _expired() -> RefusedError:
    return RefusedError(
        "confirmation_expired",
        "This confirmation_id is no longer valid: it lasts only minutes. Nothing was done.",
        "Call again without it for a new preview, and show that to the person.",
    )


def _mismatch(what: str) -> RefusedError:
    return RefusedError(
        "confirmation_mismatch",
        f"{what}. Nothing was done.",
        "Call without confirmation_id for a preview of exactly this call, and confirm that.",
    )


def of_row(row: sqlite3.Row) -> Binding:
    return _read(row["binding"])
