"""Approval requests in the ledger's tables, and the entries of what happens to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger import projection
from kartra_mcp.ledger.approval_errors import approval_required_error
from kartra_mcp.ledger.approval_records import (
    DECLINE_HOLDS,
    LIFETIME,
    Approval,
    ApprovalRequest,
    ApprovalState,
)
from kartra_mcp.ledger.confirmations import (
    already_used_error,
    binding_of_row,
    block,
    describe_differences,
    serialize_binding,
)
from kartra_mcp.ledger.database import Query
from kartra_mcp.ledger.hash_chain import dump_canonical
from kartra_mcp.ledger.people import ApproverLogin, Requester, TeamRequest, Vote, parse_requester
from kartra_mcp.ledger.records import Binding, Intent
from kartra_mcp.ledger.transaction import Transaction

_OWN_LINES = (
    "SELECT n, at, body FROM lines WHERE kind = 'consent'"
    " AND CAST(json_extract(body, '$.number') AS INTEGER) = ? ORDER BY n"
)
"""The entries of one number; PostgreSQL has an index on exactly this expression."""
_VOTES = frozenset({"approval_agreed", "approval_approved"})


def expire(transaction: Transaction) -> None:
    """Record the expiry of everything older than `LIFETIME`."""
    found = transaction.fetch_all(
        "SELECT number, asked_at, expires_at FROM approvals WHERE state IN ('pending', 'approved')"
        " AND used_by IS NULL"
    )
    for row in found:
        if is_over(row, transaction):
            end(transaction, row["number"], "expired")


def approval_refusal(
    transaction: Transaction, intent: Intent, burns: Binding | None
) -> RefusedError | None:
    """Return the reason why the approval of an intent does not count, or None if it does."""
    if intent.consent != "approval":
        return None
    row, in_team = None, intent.requester is not None
    if burns is not None and intent.approval is not None:
        row = find_row(transaction, intent.approval)
    if row is None or burns is None:
        return approval_required_error("This approval does not exist", team=in_team)
    if row["used_by"] is not None:
        return already_used_error()
    found = make_approval(row, transaction)
    if found.state != "approved":
        return approval_required_error("The approval is not given, or has expired", team=in_team)
    differs = describe_differences(found.binding, burns)
    if differs:
        return approval_required_error(f"The approval is for {' and '.join(differs)}", team=in_team)
    return _quorum_refusal(found, intent)


def _quorum_refusal(found: Approval, intent: Intent) -> RefusedError | None:
    """Return the reason why the people of an approval do not suffice, by the chain; or None.

    The row alone would be enough for whoever may change the tables, but not the entries.
    """
    if intent.requester is None:
        return None
    if found.team is None or found.team.requester.key != intent.requester.key:
        return approval_required_error("The approval was requested by another person", team=True)
    if not found.team.has_quorum:
        return approval_required_error("Not enough people approved it", team=True)
    return None


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
        for row in list_by_binding(transaction, binding, state):
            if row["used_by"] is None:
                end(transaction, row["number"], "superseded")


def find_row(transaction: Transaction, number: int) -> Any:
    """Return the row of a number, or None."""
    return transaction.fetch_one("SELECT * FROM approvals WHERE number = ?", number)


def count_pending(transaction: Transaction, requester: Requester) -> int:
    """Count the requests of a principal that wait for a decision."""
    sql = (
        "SELECT COUNT(*) AS number FROM approvals"
        " WHERE state = 'pending' AND json_extract(binding, '$.requester') = ?"
    )
    return transaction.fetch_one(sql, requester.key)["number"]


def ask(transaction: Transaction, asked: ApprovalRequest) -> int:
    """Add a request; return its number."""
    newest = transaction.fetch_one("SELECT COALESCE(MAX(number), 0) AS number FROM approvals")
    number = 1 + (newest["number"] if newest else 0)
    transaction.run(
        "INSERT INTO approvals (number, binding, summary, facts, facts_digest, asked_at,"
        " expires_at, asked_by, key, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')",
        number,
        serialize_binding(asked.binding),
        asked.summary,
        dump_canonical(_pack_facts(asked)),
        asked.facts_digest,
        transaction.now,
        transaction.now + LIFETIME,
        asked.asked_by,
        asked.key,
    )
    team: dict[str, Any] = {}
    if asked.requester is not None:
        amount = {"amount": asked.amount} if asked.amount else {}
        team = {"requester": asked.requester.as_payload(), "needed": asked.needed, **amount}
    _add_entry(transaction, number, "asked", tool=asked.binding.tool, by=asked.asked_by, **team)
    return number


def decide(transaction: Transaction, number: int, *, approve: bool, reason: str, who: str) -> None:
    """Decide a request as a single user; the caller has checked the PIN."""
    _set_decision(transaction, number, approve=approve, reason=reason, who=who)
    state = "approved" if approve else "declined"
    _add_entry(transaction, number, state, who=who, reason=reason)


def decline_as(
    transaction: Transaction, asked: Approval, login: ApproverLogin, reason: str
) -> None:
    """End a request of a team: one decline is enough."""
    person = login.as_payload()
    _set_decision(transaction, asked.number, approve=False, reason=reason, who=person["who"])
    seen = asked.fingerprint
    _add_entry(transaction, asked.number, "declined", reason=reason, seen=seen, **person)


def vote_as(transaction: Transaction, asked: Approval, login: ApproverLogin, reason: str) -> None:
    """Add the approval of one person; the last one that is needed approves the request."""
    assert asked.team is not None  # noqa: S101  refused otherwise
    person = login.as_payload()
    given = len(asked.team.voters) + 1
    is_last = given >= asked.team.needed
    if is_last:
        names = ", ".join([*(vote.name for vote in asked.team.votes), person["who"]])
        _set_decision(transaction, asked.number, approve=True, reason=reason, who=names)
    _add_entry(
        transaction,
        asked.number,
        "approved" if is_last else "agreed",
        **({"reason": reason} if reason else {}),
        seen=asked.fingerprint,
        given=given,
        needed=asked.team.needed,
        **person,
    )


def _set_decision(
    transaction: Transaction, number: int, *, approve: bool, reason: str, who: str
) -> None:
    transaction.run(
        "UPDATE approvals SET state = ?, decided_at = ?, who = ?, reason = ? WHERE number = ?",
        "approved" if approve else "declined",
        transaction.now,
        who,
        reason,
        number,
    )
    if approve:
        return
    row = transaction.fetch_one("SELECT key FROM approvals WHERE number = ?", number)
    if row is not None and row["key"]:
        for key in row["key"].split("\n"):
            block(transaction, key, DECLINE_HOLDS, "declined")
    sql = "UPDATE approvals SET facts = NULL, summary = '' WHERE number = ?"
    transaction.run(sql, number)


def withdraw(transaction: Transaction, number: int, who: str, **more: Any) -> None:
    """Withdraw a request or an unused approval; `more` is added to its entry."""
    transaction.run(
        "UPDATE approvals SET state = 'withdrawn', decided_at = ?, who = ?, facts = NULL,"
        " summary = '' WHERE number = ?",
        transaction.now,
        who,
        number,
    )
    _add_entry(transaction, number, "withdrawn", who=who, **more)


def withdraw_all_of(transaction: Transaction, key: str, who: str) -> None:
    """Withdraw what was not used and has a person or token as its requester, or as a vote."""
    sql = "SELECT * FROM approvals WHERE state IN ('pending', 'approved') AND used_by IS NULL"
    rows = transaction.fetch_all(sql)
    if transaction.prefetch is not None:
        transaction.prefetch([Query(_OWN_LINES, (row["number"],)) for row in rows])
    teams = {row["number"]: make_approval(row, transaction).team for row in rows}
    for number, team in teams.items():
        if team is not None and key in {*team.requester.keys, *(vote.key for vote in team.votes)}:
            withdraw(transaction, number, who, reason="access revoked")


def end(transaction: Transaction, number: int, state: ApprovalState) -> None:
    """End a request that nobody decided, or an approval that was not used."""
    transaction.run(
        "UPDATE approvals SET state = ?, facts = NULL, summary = '' WHERE number = ?", state, number
    )
    _add_entry(transaction, number, state)


def _add_entry(transaction: Transaction, number: int, state: str, **more: Any) -> None:
    row = transaction.fetch_one("SELECT facts_digest FROM approvals WHERE number = ?", number)
    facts = row["facts_digest"] if row else ""
    body = {"event": f"approval_{state}", "number": number, "facts_digest": facts, **more}
    transaction.append("consent", body)


def list_by_binding(transaction: Transaction, binding: Binding, state: ApprovalState) -> list[Any]:
    """List the rows of exactly this call in a state, newest first."""
    sql = "SELECT * FROM approvals WHERE binding = ? AND state = ? ORDER BY number DESC"
    return transaction.fetch_all(sql, serialize_binding(binding), state)


def is_over(row: Any, transaction: Transaction) -> bool:
    lifetime = row["expires_at"] - row["asked_at"]
    return not transaction.is_within(row["asked_at"], lifetime)


def make_approval(row: Any, transaction: Transaction) -> Approval:
    """Return the request of a row; that of a team with its people, as the chain has them."""
    binding = binding_of_row(row)
    packed: dict[str, Any] = json.loads(row["facts"]) if row["facts"] else {}
    typed = ""
    if binding.requester:
        packed, typed = packed.get("shown", {}), packed.get("typed", "")
    open_ = row["state"] in {"pending", "approved"} and row["used_by"] is None
    return Approval(
        number=row["number"],
        state="expired" if open_ and is_over(row, transaction) else row["state"],
        binding=binding,
        summary=row["summary"],
        facts=packed,
        facts_digest=row["facts_digest"],
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
        asked_by=row["asked_by"],
        decided_at=row["decided_at"],
        who=row["who"] or "",
        reason=row["reason"] or "",
        used_by=row["used_by"],
        typed=typed,
        team=_read_team(transaction, row["number"]) if binding.requester else None,
    )


def _read_team(transaction: Transaction, number: int) -> TeamRequest | None:
    """Return the people of a request by the chain; None if it has no request of a team."""
    asked: Mapping[str, Any] | None = None
    votes: list[Vote] = []
    for row in transaction.fetch_all(_OWN_LINES, number):
        entry = projection.parse_payload(row["body"])
        if entry["event"] == "approval_asked":
            asked, votes = entry, []
        elif entry["event"] in _VOTES and "person" in entry:
            person = (entry["person"], entry["who"], row["at"], entry["auth_time"], entry["acr"])
            votes.append(Vote(*person))
    if asked is None or "requester" not in asked:
        return None
    requester = parse_requester(asked["requester"])
    return TeamRequest(requester, asked["needed"], asked.get("amount", ""), tuple(votes))


def _pack_facts(asked: ApprovalRequest) -> dict[str, Any]:
    """Return the facts as stored; those of a team with the text to type, deleted together."""
    shown = dict(asked.facts)
    return shown if asked.requester is None else {"shown": shown, "typed": asked.typed}
