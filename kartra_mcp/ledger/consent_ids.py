"""Confirmation ids, questions and declines of one ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kartra_mcp.ledger import confirmations
from kartra_mcp.ledger.records import Binding, IssuedConfirmation, StoredQuestion
from kartra_mcp.ledger.store import LedgerStore


@dataclass(frozen=True, slots=True)
class ConsentIds:
    """The ids that a caller repeats to consent, and the calls that the user declined."""

    store: LedgerStore

    def issue(
        self,
        binding: Binding,
        summary: str,
        facts_digest: str,
        kind: confirmations.Kind = "two_step",
        ttl: float = confirmations.LIFETIME,
    ) -> IssuedConfirmation:
        """Issue a confirmation id for exactly this call and summary, shown in full, valid once."""
        with self.store.write_transaction() as transaction:
            return confirmations.issue(transaction, binding, summary, facts_digest, kind, ttl)

    def validate(
        self, id_: str, binding: Binding, summary: str, kind: confirmations.Kind = "two_step"
    ) -> str:
        """Return the digest of the facts shown with this id. `begin` consumes the id."""
        with self.store.read_transaction() as transaction:
            return confirmations.validate(transaction, id_, binding, summary, kind)

    def issue_question(
        self, binding: Binding, question: StoredQuestion, ttl: float
    ) -> IssuedConfirmation:
        """Issue the id of a question to the user, for exactly this call, usable once."""
        with self.store.write_transaction() as transaction:
            return confirmations.issue_question(transaction, binding, question, ttl)

    def validate_question(self, id_: str, binding: Binding) -> StoredQuestion:
        """Return the question of this id. It is not consumed: `begin` does that."""
        with self.store.read_transaction() as transaction:
            return confirmations.validate_question(transaction, id_, binding)

    def revoke(self, id_: str) -> None:
        """Invalidate this id: its question was answered, and nothing ran on it."""
        with self.store.write_transaction() as transaction:
            confirmations.revoke(transaction, id_)

    def revoke_all(self, connection: str) -> None:
        """Invalidate every id issued on this connection."""
        with self.store.write_transaction() as transaction:
            confirmations.revoke_all(transaction, connection)

    def block(
        self,
        keys: str | Sequence[str],
        why: Literal["declined", "dismissed"],
        seconds: float = 600.0,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Record a decline: nothing with one of these identity keys runs for `seconds`.

        `about` is added to the entry of the decline: tool, target, actor, client.
        """
        every = [keys] if isinstance(keys, str) else keys
        with self.store.write_transaction() as transaction:
            for key in every:
                until = confirmations.block(transaction, key, seconds, why)
                body = {
                    **(about or {}),
                    "event": why,
                    "key": confirmations.hash_text(key),
                    "until": until,
                }
                transaction.append("consent", body)
