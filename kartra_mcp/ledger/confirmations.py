"""Confirmation ids and declines: issued, stored as hashes, bound to one call, consumed once."""

from __future__ import annotations

import hashlib
import json
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.database import Query
from kartra_mcp.ledger.hash_chain import dump_canonical
from kartra_mcp.ledger.records import Binding, Intent, IssuedConfirmation, StoredQuestion
from kartra_mcp.ledger.transaction import Transaction

Kind = Literal["two_step", "question"]

LIFETIME = 600.0
RETENTION = 30 * 86_400.0
KIND_OF: Mapping[str, Kind] = {"two_step": "two_step", "elicitation": "question"}
DECLINED = frozenset({"declined", "dismissed"})

_BLOCK = (
    "INSERT INTO blocks (key, why, until) VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET why = excluded.why, until = excluded.until"
)
_DIFFERENCES = {
    "tool": "another tool",
    "arguments": "other arguments",
    "connection": "another connection",
    "connection_created": "a connection that was created again",
    "action": "another action",
    "revision": "another revision of the action",
    "policy": "another policy",
    "repeat": "a call with another `repeat`",
    "requester": "another person",
}


def issue(
    transaction: Transaction,
    binding: Binding,
    summary: str,
    facts_digest: str,
    kind: Kind,
    ttl: float,
) -> IssuedConfirmation:
    """Issue a confirmation id; only its hash is stored, so that reading the file grants nothing.

    Args:
        transaction: the commit that the id becomes part of.
        binding: the only call that the id is valid for.
        summary: the text that the caller must repeat; compared by its normalized hash.
        facts_digest: SHA-256 of the facts that were shown, in hexadecimal.
        kind: `two_step` for a preview, `question` for a question to the user.
        ttl: seconds until the id expires.
    """
    id_ = secrets.token_urlsafe(18)
    now = transaction.now
    transaction.run("DELETE FROM confirmations WHERE expires_at < ?", now - RETENTION)
    transaction.run(
        "INSERT INTO confirmations (hash, kind, binding, summary, facts, made_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        hash_text(id_),
        kind,
        serialize_binding(binding),
        hash_text(normalize_summary(summary)),
        facts_digest,
        now,
        now + ttl,
    )
    return IssuedConfirmation(id_, now + ttl)


def issue_question(
    transaction: Transaction, binding: Binding, question: StoredQuestion, ttl: float
) -> IssuedConfirmation:
    """Issue the id of a question, stored with the values that judge its answer."""
    issued = issue(transaction, binding, "", question.facts_digest, "question", ttl)
    transaction.run(
        "UPDATE confirmations SET asked_at = ?, question_number = ?, typed_confirmation = ?"
        " WHERE hash = ?",
        question.asked_at,
        question.number,
        question.typed_confirmation,
        hash_text(issued.id),
    )
    return issued


def validate(
    transaction: Transaction, id_: str, binding: Binding, summary: str | None, kind: Kind
) -> str:
    """Return the digest of the facts shown with this id; None for a `summary` checked before.

    Raises:
        RefusedError: confirmation_used, confirmation_expired or confirmation_mismatch.
    """
    return _require_valid(transaction, id_, binding, summary, kind)["facts"]


def issued_query(id_: str) -> Query:
    """Return the read of what was issued under an id."""
    return Query("SELECT * FROM confirmations WHERE hash = ?", (hash_text(id_),))


def validate_question(transaction: Transaction, id_: str, binding: Binding) -> StoredQuestion:
    """Return the question of this id.

    Raises:
        RefusedError: as `validate`; expired where its values could not be read.
    """
    row = _require_valid(transaction, id_, binding, None, "question")
    values = (row["asked_at"], row["question_number"], row["typed_confirmation"])
    if None in values:
        raise _expired_error()
    return StoredQuestion(row["facts"], *values)


def _require_valid(
    transaction: Transaction, id_: str, binding: Binding, summary: str | None, kind: Kind
) -> Any:
    row = next(iter(transaction.read(issued_query(id_))), None)
    if row is None:
        raise _mismatch_error("This confirmation_id was never issued here")
    if row["used_by"] is not None:
        raise already_used_error()
    if not transaction.is_within(row["made_at"], row["expires_at"] - row["made_at"]):
        raise _expired_error()
    differs = describe_differences(_read(row["binding"]), binding)
    if row["kind"] != kind:
        differs = ["a question to the user" if row["kind"] == "question" else "a preview", *differs]
    if differs:
        raise _mismatch_error(f"This confirmation_id belongs to {' and '.join(differs)}")
    if summary is not None and row["summary"] != hash_text(normalize_summary(summary)):
        raise _mismatch_error("The confirmation_summary differs from the one that was shown")
    return row


def consume(transaction: Transaction, id_: str, intent_id: str) -> None:
    """Mark the id as used by this intent."""
    sql = "UPDATE confirmations SET used_by = ? WHERE hash = ?"
    transaction.run(sql, intent_id, hash_text(id_))


def revoke(transaction: Transaction, id_: str) -> None:
    """Invalidate a confirmation id that no write has used."""
    sql = "UPDATE confirmations SET used_by = 'void' WHERE hash = ? AND used_by IS NULL"
    transaction.run(sql, hash_text(id_))


def revoke_all(transaction: Transaction, connection: str) -> None:
    """Invalidate every unused confirmation id that was issued for this connection."""
    sql = (
        "UPDATE confirmations SET used_by = 'void' WHERE used_by IS NULL"
        " AND json_extract(binding, '$.connection') = ?"
    )
    transaction.run(sql, connection)


def block(transaction: Transaction, key: str, seconds: float, why: str) -> float:
    """Refuse everything with this identity key for `seconds`; return the end of the block."""
    assert why in DECLINED, why  # noqa: S101  a programming error
    until = transaction.now + seconds
    transaction.run(_BLOCK, hash_text(key), why, until)
    return until


def block_query(key: str) -> Query:
    """Return the read of the block of an identity key."""
    return Query("SELECT why, until FROM blocks WHERE key = ?", (hash_text(key),))


def block_refusal(transaction: Transaction, key: str) -> RefusedError | None:
    """Return the refusal of an identity key that is blocked now, or None."""
    row = next(iter(transaction.read(block_query(key))), None)
    if row is None or transaction.earliest >= row["until"]:
        return None
    minutes = int((row["until"] - transaction.earliest) // 60) + 1
    decision = "declined this" if row["why"] == "declined" else "dismissed the question about this"
    return RefusedError(
        row["why"],
        f"The user {decision}. Nothing was done. Equal calls are refused for {minutes} min.",
        "Do not retry on your own: inform the user and wait for instructions.",
    )


def invalid_reason(
    transaction: Transaction, intent: Intent, burns: Binding | None
) -> RefusedError | None:
    """Return the reason why the confirmation of an intent does not count, or None if it does."""
    kind = KIND_OF.get(intent.consent)
    if kind is None:
        return None
    if intent.confirmation_id is None:
        return None if kind == "question" else _mismatch_error("A confirmation_id is missing")
    if burns is None:
        return _mismatch_error("This confirmation_id belongs to another kind of call")
    try:
        validate(transaction, intent.confirmation_id, burns, None, kind)
    except RefusedError as refusal:
        return refusal
    return None


def describe_differences(one: Binding, other: Binding) -> list[str]:
    """List the differences in words: `one` is the stored binding, `other` is that of the call."""
    return [
        words for name, words in _DIFFERENCES.items() if getattr(one, name) != getattr(other, name)
    ]


def normalize_summary(summary: str) -> str:
    """Return the summary as it is compared: NFC, with each run of white space as one space.

    Models change line breaks and composed characters when they repeat a text.
    """
    return " ".join(unicodedata.normalize("NFC", summary).split())


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal. Lone surrogates from a client are accepted."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def serialize_binding(binding: Binding) -> str:
    """Return the stored text of a binding; without `repeat` and requester it is that of 0.1.0."""
    payload = asdict(binding)
    for name in ("repeat", "requester"):
        if not payload[name]:
            del payload[name]
    return dump_canonical(payload)


def already_used_error() -> RefusedError:
    return RefusedError(
        "confirmation_used",
        "This confirmation was already used; each is valid once. Nothing was done.",
        "Check the outcome of the first call (kartra_ledger) before you request a new preview.",
    )


def _read(binding: str) -> Binding:
    payload: dict[str, Any] = json.loads(binding)
    return Binding(**payload)


def _expired_error() -> RefusedError:
    return RefusedError(
        "confirmation_expired",
        "This confirmation_id has expired: it is valid for minutes only. Nothing was done.",
        "Call again without it for a new preview, and show that preview to the user.",
    )


def _mismatch_error(what: str) -> RefusedError:
    return RefusedError(
        "confirmation_mismatch",
        f"{what}. Nothing was done.",
        "Call without confirmation_id for a preview of exactly this call, and confirm that.",
    )


def binding_of_row(row: Any) -> Binding:
    return _read(row["binding"])
