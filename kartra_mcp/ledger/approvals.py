"""Approvals given outside the client: requested, decided, used once, expired after a day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.bulk_records import is_bulk_id
from kartra_mcp.ledger.confirmations import (
    already_used_error,
    binding_of_row,
    block,
    describe_differences,
    serialize_binding,
)
from kartra_mcp.ledger.hash_chain import dump_canonical
from kartra_mcp.ledger.records import Binding, Intent
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.ledger.transaction import Transaction

LIFETIME = 86_400.0
DECLINE_HOLDS = 600.0

ApprovalState = Literal["pending", "approved", "declined", "expired", "superseded", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval request and its state; times are seconds since the epoch.

    `facts` and `summary` are deleted as soon as the approval can no longer be used: they hold the
    user's data, and the chain already holds their digest.
    """

    number: int
    state: ApprovalState
    binding: Binding
    summary: str
    facts: Mapping[str, Any]
    facts_digest: str
    asked_at: float
    expires_at: float
    asked_by: str
    decided_at: float | None = None
    who: str = ""
    reason: str = ""
    used_by: str | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of exactly this request, in this ledger and no other.

        A decision must repeat it. A page that was loaded before the request changed, or that
        belongs to another ledger with the same number, would otherwise approve something unseen.
        """
        covered = [self.number, asdict(self.binding), self.facts_digest, self.asked_at]
        return hashlib.sha256(dump_canonical(covered).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A request for approval: shown to the user in full, bound to one call.

    Each line of `key` names an operation and its target: a decline blocks those, whatever the
    amount.
    """

    binding: Binding
    summary: str
    facts: Mapping[str, Any]
    facts_digest: str
    asked_by: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Approvals:
    """The approvals of one ledger."""

    store: LedgerStore

    def request(self, asked: ApprovalRequest) -> int:
        """Return the number to approve; an equal request that is still pending keeps its number.

        Changed facts make a new number, so that the user never approves outdated facts.
        """
        with self.store.write_transaction() as transaction:
            expire(transaction)
            for row in _rows_of_binding(transaction, asked.binding, "pending"):
                if row["facts_digest"] == asked.facts_digest:
                    return row["number"]
                _end(transaction, row["number"], "superseded")
            return _ask(transaction, asked)

    def get(self, number: int) -> Approval | None:
        """Return an approval in any state, or None for an unknown number."""
        with self.store.read_transaction() as transaction:
            row = transaction.fetch_one("SELECT * FROM approvals WHERE number = ?", number)
            return None if row is None else _make_approval(row, transaction)

    def list_pending(self) -> list[Approval]:
        """List the requests that wait for a decision, oldest first."""
        sql = "SELECT * FROM approvals WHERE state = 'pending' ORDER BY number"
        with self.store.read_transaction() as transaction:
            found = [_make_approval(row, transaction) for row in transaction.fetch_all(sql)]
            return [one for one in found if one.state == "pending"]

    def pending_numbers(self) -> tuple[int, ...]:
        """List the numbers of pending requests, oldest first; cheap enough for polling."""
        sql = (
            "SELECT number, asked_at, expires_at FROM approvals WHERE state = 'pending'"
            " ORDER BY number"
        )
        with self.store.read_transaction() as transaction:
            rows = transaction.fetch_all(sql)
            return tuple(row["number"] for row in rows if not _is_over(row, transaction))

    def find_approved(self, binding: Binding) -> Approval | None:
        """Return the newest approval that exactly this call may use; compare its `facts_digest`."""
        with self.store.read_transaction() as transaction:
            rows = _rows_of_binding(transaction, binding, "approved")
            found = [_make_approval(row, transaction) for row in rows if row["used_by"] is None]
            return next((a for a in found if a.state == "approved"), None)

    def unused(self) -> list[Approval]:
        """List the approvals that no call has used yet, oldest first. Each can still run."""
        sql = "SELECT * FROM approvals WHERE state = 'approved' AND used_by IS NULL ORDER BY number"
        with self.store.read_transaction() as transaction:
            found = [_make_approval(row, transaction) for row in transaction.fetch_all(sql)]
            return [one for one in found if one.state == "approved"]

    def find_declined(self, binding: Binding, seconds: float = DECLINE_HOLDS) -> Approval | None:
        """Return the newest decline of exactly this call within the last `seconds`."""
        with self.store.read_transaction() as transaction:
            rows = _rows_of_binding(transaction, binding, "declined")
            found = _make_approval(rows[0], transaction) if rows else None
            holds = found is not None and transaction.earliest - (found.decided_at or 0) < seconds
        return found if holds else None

    def decide(self, number: int, *, approve: bool, reason: str, who: str, seen: str) -> Approval:
        """Approve or decline; the caller has checked the PIN.

        Args:
            number: the number of the pending request.
            approve: True to approve, False to decline.
            reason: the user's reason, for the ledger.
            who: the user who decides.
            seen: `Approval.fingerprint` of the request that the user was shown.

        Raises:
            RefusedError: the number does not exist, the request differs from `seen`, or it was
                decided before or expired.
        """
        decided: Approval | None = None
        with self.store.write_transaction() as transaction:
            expire(transaction)
            row = transaction.fetch_one("SELECT * FROM approvals WHERE number = ?", number)
            refusal = _decision_refusal(None if row is None else row["state"], number)
            if refusal is None and seen != _make_approval(row, transaction).fingerprint:
                refusal = stale_view_error(number)
            if refusal is None:
                _decide(transaction, number, approve=approve, reason=reason, who=who)
                row = transaction.fetch_one("SELECT * FROM approvals WHERE number = ?", number)
                decided = _make_approval(row, transaction)
        if refusal is not None:
            raise refusal
        assert decided is not None  # noqa: S101  refused otherwise
        return decided

    def withdraw(self, number: int, who: str) -> Approval:
        """Withdraw an approval before a call used it; the caller has checked the PIN.

        Raises:
            RefusedError: it is not approved, is no longer valid, or was used by a call.
        """
        decided: Approval | None = None
        with self.store.write_transaction() as transaction:
            expire(transaction)
            row = transaction.fetch_one("SELECT * FROM approvals WHERE number = ?", number)
            refusal = _withdrawal_refusal(row, number)
            if refusal is None:
                _withdraw(transaction, number, who)
                row = transaction.fetch_one("SELECT * FROM approvals WHERE number = ?", number)
                decided = _make_approval(row, transaction)
        if refusal is not None:
            raise refusal
        assert decided is not None  # noqa: S101  refused otherwise
        return decided


def expire(transaction: Transaction) -> None:
    """Record the expiry of everything older than `LIFETIME`."""
    open_ = transaction.fetch_all(
        "SELECT number, asked_at, expires_at FROM approvals WHERE state IN ('pending', 'approved')"
        " AND used_by IS NULL"
    )
    for row in open_:
        if _is_over(row, transaction):
            _end(transaction, row["number"], "expired")


def approval_refusal(
    transaction: Transaction, intent: Intent, burns: Binding | None
) -> RefusedError | None:
    """Return the reason why the approval of an intent does not count, or None if it does."""
    if intent.consent != "approval":
        return None
    row = None
    if burns is not None and intent.approval is not None:
        row = transaction.fetch_one("SELECT * FROM approvals WHERE number = ?", intent.approval)
    if row is None or burns is None:
        return _approval_required_error("This approval does not exist")
    if row["used_by"] is not None:
        return already_used_error()
    if _make_approval(row, transaction).state != "approved":
        return _approval_required_error("The approval is not given, or has expired")
    differs = describe_differences(binding_of_row(row), burns)
    return (
        _approval_required_error(f"The approval is for {' and '.join(differs)}")
        if differs
        else None
    )


def consume(transaction: Transaction, number: int, intent_id: str) -> None:
    """Mark the approval as used by this intent and delete its facts."""
    transaction.run(
        "UPDATE approvals SET used_by = ?, facts = NULL, summary = '' WHERE number = ?",
        intent_id,
        number,
    )


def end_unused(transaction: Transaction, binding: Binding | None) -> None:
    """End the pending and unused approvals of a call that will not run."""
    if binding is None:
        return
    states: tuple[ApprovalState, ...] = ("pending", "approved")
    for state in states:
        for row in _rows_of_binding(transaction, binding, state):
            if row["used_by"] is None:
                _end(transaction, row["number"], "superseded")


def _ask(transaction: Transaction, asked: ApprovalRequest) -> int:
    newest = transaction.fetch_one("SELECT COALESCE(MAX(number), 0) AS number FROM approvals")
    number = 1 + (newest["number"] if newest else 0)
    transaction.run(
        "INSERT INTO approvals (number, binding, summary, facts, facts_digest, asked_at,"
        " expires_at, asked_by, key, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')",
        number,
        serialize_binding(asked.binding),
        asked.summary,
        dump_canonical(dict(asked.facts)),
        asked.facts_digest,
        transaction.now,
        transaction.now + LIFETIME,
        asked.asked_by,
        asked.key,
    )
    _tell(transaction, number, "asked", tool=asked.binding.tool, by=asked.asked_by)
    return number


def _decide(transaction: Transaction, number: int, *, approve: bool, reason: str, who: str) -> None:
    state = "approved" if approve else "declined"
    transaction.run(
        "UPDATE approvals SET state = ?, decided_at = ?, who = ?, reason = ? WHERE number = ?",
        state,
        transaction.now,
        who,
        reason,
        number,
    )
    if not approve:
        row = transaction.fetch_one("SELECT key FROM approvals WHERE number = ?", number)
        if row is not None and row["key"]:
            for key in row["key"].split("\n"):
                block(transaction, key, DECLINE_HOLDS, "declined")
        sql = "UPDATE approvals SET facts = NULL, summary = '' WHERE number = ?"
        transaction.run(sql, number)
    _tell(transaction, number, state, who=who, reason=reason)


def _withdraw(transaction: Transaction, number: int, who: str) -> None:
    transaction.run(
        "UPDATE approvals SET state = 'withdrawn', decided_at = ?, who = ?, facts = NULL,"
        " summary = '' WHERE number = ?",
        transaction.now,
        who,
        number,
    )
    _tell(transaction, number, "withdrawn", who=who)


def _end(transaction: Transaction, number: int, state: ApprovalState) -> None:
    transaction.run(
        "UPDATE approvals SET state = ?, facts = NULL, summary = '' WHERE number = ?", state, number
    )
    _tell(transaction, number, state)


def _tell(transaction: Transaction, number: int, state: str, **more: str) -> None:
    row = transaction.fetch_one("SELECT facts_digest FROM approvals WHERE number = ?", number)
    facts = row["facts_digest"] if row else ""
    body = {"event": f"approval_{state}", "number": number, "facts_digest": facts, **more}
    transaction.append("consent", body)


def _rows_of_binding(transaction: Transaction, binding: Binding, state: ApprovalState) -> list[Any]:
    sql = "SELECT * FROM approvals WHERE binding = ? AND state = ? ORDER BY number DESC"
    return transaction.fetch_all(sql, serialize_binding(binding), state)


def _is_over(row: Any, transaction: Transaction) -> bool:
    lifetime = row["expires_at"] - row["asked_at"]
    return not transaction.is_within(row["asked_at"], lifetime)


def _make_approval(row: Any, transaction: Transaction) -> Approval:
    open_ = row["state"] in {"pending", "approved"} and row["used_by"] is None
    return Approval(
        number=row["number"],
        state="expired" if open_ and _is_over(row, transaction) else row["state"],
        binding=binding_of_row(row),
        summary=row["summary"],
        facts=json.loads(row["facts"]) if row["facts"] else {},
        facts_digest=row["facts_digest"],
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
        asked_by=row["asked_by"],
        decided_at=row["decided_at"],
        who=row["who"] or "",
        reason=row["reason"] or "",
        used_by=row["used_by"],
    )


def _decision_refusal(state: str | None, number: int) -> RefusedError | None:
    if state == "pending":
        return None
    if state is None:
        return RefusedError(
            "invalid_arguments",
            f"Number {number} does not exist. Nothing was decided.",
            "Run `kartra-mcp approve` to list the pending numbers.",
        )
    code = "confirmation_expired" if state in {"expired", "superseded"} else "confirmation_used"
    return RefusedError(
        code,
        f"Number {number} is not pending: it is {state}. Nothing was decided.",
        "Repeat the call to request a new approval.",
    )


def stale_view_error(number: int) -> RefusedError:
    return RefusedError(
        "facts_changed",
        f"Number {number} differs from the request that was shown. Nothing was decided.",
        "Review its current facts, then decide.",
    )


def _withdrawal_refusal(row: Any, number: int) -> RefusedError | None:
    """Return the reason why there is nothing to withdraw, or None if there is."""
    if row is not None and row["used_by"] is not None:
        return RefusedError(
            "confirmation_used",
            f"Number {number} cannot be revoked: its call has already run.",
            f"See its outcome: {_show_command(row['used_by'])}.",
        )
    if row is not None and row["state"] == "approved":
        return None
    known = "it does not exist" if row is None else f"it is {row['state']}"
    return RefusedError(
        "invalid_arguments",
        f"Number {number} is not an approval that can still be used: {known}.",
        "There is nothing to revoke.",
    )


def _show_command(used_by: str) -> str:
    """Return the command that shows the write, or the bulk run, that used an approval."""
    if is_bulk_id(used_by):
        return f"`kartra-mcp bulk show {used_by}`"
    return f"`kartra-mcp ledger show {used_by}`"


def _approval_required_error(what: str) -> RefusedError:
    return RefusedError(
        "approval_required",
        f"{what}. Nothing was done.",
        "Repeat the call for a number. The user then runs `kartra-mcp approve NUMBER`.",
    )
