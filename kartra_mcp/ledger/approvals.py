"""Approvals given outside the client: requested, decided, used once, expired after a day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger import approval_rows
from kartra_mcp.ledger.approval_errors import (
    decision_refusal,
    need_login_error,
    stale_view_error,
    team_decision_refusal,
    team_withdrawal_refusal,
    too_many_requests_error,
    withdrawal_refusal,
)
from kartra_mcp.ledger.approval_records import DECLINE_HOLDS, Approval, ApprovalRequest
from kartra_mcp.ledger.people import ApproverLogin, TeamDecision, clean_line
from kartra_mcp.ledger.records import Binding
from kartra_mcp.ledger.revocations import find_refusal
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.ledger.transaction import Transaction

MAX_PENDING = 50
"""Requests of one person of a team that may wait at once: each is a card and a notice to others."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """The approvals of one ledger."""

    store: LedgerStore

    def request(self, asked: ApprovalRequest) -> int:
        """Return the number to approve; an equal request that is still pending keeps its number.

        Changed facts make a new number, so that the user never approves outdated facts.

        Raises:
            RefusedError: `cap_reached`; too many requests of a person of a team wait. Or
                `forbidden_role`: its access was revoked.
        """
        with self.store.write_transaction() as transaction:
            approval_rows.expire(transaction)
            for row in approval_rows.list_by_binding(transaction, asked.binding, "pending"):
                if _is_same(approval_rows.make_approval(row, transaction), asked):
                    return row["number"]
                approval_rows.end(transaction, row["number"], "superseded")
            if asked.requester is not None:
                refusal = find_refusal(transaction, asked.requester.keys)
                if refusal is not None:
                    raise refusal
                approval_rows.end_unused(transaction, asked.binding)
                if approval_rows.count_pending(transaction, asked.requester) >= MAX_PENDING:
                    raise too_many_requests_error(MAX_PENDING)
            return approval_rows.ask(transaction, asked)

    def get(self, number: int) -> Approval | None:
        """Return an approval in any state, or None for an unknown number."""
        with self.store.read_transaction() as transaction:
            return _find(transaction, number)

    def list_pending(self) -> list[Approval]:
        """List the requests that wait for a decision, oldest first."""
        sql = "SELECT * FROM approvals WHERE state = 'pending' ORDER BY number"
        with self.store.read_transaction() as transaction:
            found = [
                approval_rows.make_approval(row, transaction) for row in transaction.fetch_all(sql)
            ]
            return [one for one in found if one.state == "pending"]

    def pending_numbers(self) -> tuple[int, ...]:
        """List the numbers of pending requests, oldest first; cheap enough for polling."""
        sql = (
            "SELECT number, asked_at, expires_at FROM approvals WHERE state = 'pending'"
            " ORDER BY number"
        )
        with self.store.read_transaction() as transaction:
            rows = transaction.fetch_all(sql)
            return tuple(
                row["number"] for row in rows if not approval_rows.is_over(row, transaction)
            )

    def find_approved(self, binding: Binding) -> Approval | None:
        """Return the newest approval that exactly this call may use; compare its `facts_digest`."""
        with self.store.read_transaction() as transaction:
            rows = approval_rows.list_by_binding(transaction, binding, "approved")
            found = [
                approval_rows.make_approval(row, transaction)
                for row in rows
                if row["used_by"] is None
            ]
            return next((a for a in found if a.state == "approved"), None)

    def unused(self) -> list[Approval]:
        """List the approvals that no call has used yet, oldest first. Each can still run."""
        sql = "SELECT * FROM approvals WHERE state = 'approved' AND used_by IS NULL ORDER BY number"
        with self.store.read_transaction() as transaction:
            found = [
                approval_rows.make_approval(row, transaction) for row in transaction.fetch_all(sql)
            ]
            return [one for one in found if one.state == "approved"]

    def find_declined(self, binding: Binding, seconds: float = DECLINE_HOLDS) -> Approval | None:
        """Return the newest decline of exactly this call within the last `seconds`."""
        with self.store.read_transaction() as transaction:
            rows = approval_rows.list_by_binding(transaction, binding, "declined")
            found = approval_rows.make_approval(rows[0], transaction) if rows else None
            holds = found is not None and transaction.earliest - (found.decided_at or 0) < seconds
        return found if holds else None

    def decide(self, number: int, *, approve: bool, reason: str, who: str, seen: str) -> Approval:
        """Approve or decline as a single user; the caller has checked the PIN.

        Args:
            number: the number of the pending request.
            approve: True to approve, False to decline.
            reason: the user's reason, for the ledger.
            who: the user who decides.
            seen: `Approval.fingerprint` of the request that the user was shown.

        Raises:
            RefusedError: the number does not exist, belongs to a team, differs from `seen`, or it
                was decided before or expired.
        """

        def work(transaction: Transaction, asked: Approval) -> RefusedError | None:
            if asked.binding.requester:
                return need_login_error(number)
            if seen != asked.fingerprint:
                return stale_view_error(number)
            approval_rows.decide(transaction, number, approve=approve, reason=reason, who=who)
            return None

        return self._change_pending(number, work)

    def decide_as(self, number: int, login: ApproverLogin, decision: TeamDecision) -> Approval:
        """Count the decision of one person of a team; return the request after it.

        It is approved once enough different people approved, and declined by the first decline.

        Raises:
            RefusedError: `forbidden_role` for one who may not approve, was revoked, or asked;
                `confirmation_used` for one who approved before; `not_allowed` for a login that is
                too old; `facts_changed`; `invalid_arguments` for another amount or id than was
                shown, or a decline without a reason; as `decide` for a number that is not pending.
        """
        reason = clean_line(decision.reason)

        def work(transaction: Transaction, asked: Approval) -> RefusedError | None:
            refusal = find_refusal(transaction, (login.principal.key,)) or team_decision_refusal(
                asked, login, decision, transaction.now
            )
            if refusal is None:
                change = approval_rows.vote_as if decision.approve else approval_rows.decline_as
                change(transaction, asked, login, reason)
            return refusal

        return self._change_pending(number, work)

    def withdraw(self, number: int, who: str) -> Approval:
        """Withdraw an approval before a call used it; the caller has checked the PIN.

        Raises:
            RefusedError: it is not approved, is no longer valid, or was used by a call.
        """

        def work(transaction: Transaction, asked: Approval | None) -> RefusedError | None:
            if asked is not None and asked.binding.requester:
                return need_login_error(number)
            refusal = withdrawal_refusal(asked, number)
            if refusal is None:
                approval_rows.withdraw(transaction, number, who)
            return refusal

        return self._change(number, work)

    def withdraw_as(self, number: int, login: ApproverLogin) -> Approval:
        """Withdraw a request of a team before a call used it, as its requester or an approver.

        Raises:
            RefusedError: `forbidden_role` for another person, or it is over or was used.
        """

        def work(transaction: Transaction, asked: Approval | None) -> RefusedError | None:
            refusal = None if asked is None else team_withdrawal_refusal(asked, login)
            refusal = refusal or withdrawal_refusal(asked, number, pending=True)
            if refusal is None:
                approval_rows.withdraw(transaction, number, **login.as_payload())
            return refusal

        return self._change(number, work)

    def _change_pending(
        self, number: int, work: Callable[[Transaction, Approval], RefusedError | None]
    ) -> Approval:
        def require(transaction: Transaction, asked: Approval | None) -> RefusedError | None:
            refusal = decision_refusal(None if asked is None else asked.state, number)
            return refusal if refusal or asked is None else work(transaction, asked)

        return self._change(number, require)

    def _change(
        self, number: int, work: Callable[[Transaction, Approval | None], RefusedError | None]
    ) -> Approval:
        """Run a change in one commit and return the approval after it.

        A refusal is raised after the commit, so that an expiry which was noticed is kept.
        """
        changed: Approval | None = None
        with self.store.write_transaction() as transaction:
            approval_rows.expire(transaction)
            refusal = work(transaction, _find(transaction, number))
            if refusal is None:
                changed = _find(transaction, number)
        if refusal is not None:
            raise refusal
        assert changed is not None  # noqa: S101  refused otherwise
        return changed


def _find(transaction: Transaction, number: int) -> Approval | None:
    row = approval_rows.find_row(transaction, number)
    return None if row is None else approval_rows.make_approval(row, transaction)


def _is_same(found: Approval, asked: ApprovalRequest) -> bool:
    """Return whether a pending request shows and needs what is asked for."""
    needed = 1 if found.team is None else found.team.needed
    return found.facts_digest == asked.facts_digest and needed == asked.needed
