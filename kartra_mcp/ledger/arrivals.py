"""Answers and statements that arrive for an intent: its standing, and the entries they add."""

from __future__ import annotations

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import UNFENCED, Executed
from kartra_mcp.ledger import admission, projection
from kartra_mcp.ledger.database import Query
from kartra_mcp.ledger.records import Answer
from kartra_mcp.ledger.settlement import (
    Arrival,
    SettledState,
    Standing,
    Statement,
    agreed_state,
    classify_answer,
    conflict_error,
    statement_refusal,
)
from kartra_mcp.ledger.transaction import Transaction

OPEN_CONFLICTS = Query(
    "SELECT c.n, i.id, i.connection FROM lines c"
    " JOIN intents i ON i.id = json_extract(c.body, '$.intent')"
    " WHERE c.kind = 'conflict' AND (i.reconcile_line IS NULL OR i.reconcile_line < c.n)"
    " ORDER BY c.n"
)
_STANDING = (
    "SELECT i.state, i.outcome_line, i.reconcile_line, l.body"
    " FROM intents i JOIN lines l ON l.n = i.line WHERE i.id = ?"
)
_STATEMENTS = (
    "SELECT body FROM lines WHERE kind = 'statement' AND n > ?"
    " AND json_extract(body, '$.intent') = ? ORDER BY n"
)


def conflict_refusal(transaction: Transaction, connection: str) -> RefusedError | None:
    """Return the refusal of a write while an answer contradicts a settlement, or None."""
    found = [row[1] for row in transaction.read(OPEN_CONFLICTS) if row[2] == connection]
    return conflict_error(found[0]) if found else None


def list_conflicts(transaction: Transaction) -> list[tuple[str, str]]:
    """List intent and connection of each open conflict, oldest first."""
    return [(row[1], row[2]) for row in transaction.read(OPEN_CONFLICTS)]


def standing_query(intent_id: str) -> Query:
    """Return the read of what `get_standing` returns."""
    return Query(_STANDING, (intent_id,))


def get_standing(transaction: Transaction, intent_id: str) -> Standing:
    """Return the present record of an intent."""
    row = next(iter(transaction.read(standing_query(intent_id))), None)
    if row is None:
        return Standing(None)
    settled_at = row["reconcile_line"]
    return Standing(
        row["state"],
        projection.parse_payload(row["body"]).get("attempt", ""),
        outcome_line=row["outcome_line"],
        settled_line=settled_at,
        conflict=settled_at is not None and _find_conflict(transaction, intent_id) is not None,
    )


def record_answer(transaction: Transaction, intent_id: str, answer: Answer) -> Arrival:
    """Record the answer to an attempt, as far as the record of its intent allows.

    Raises:
        RefusedError: `internal_error`; it belongs to another attempt, or there is an outcome.
    """
    standing = get_standing(transaction, intent_id)
    attempt = answer.attempt or ""
    arrival = classify_answer(standing, attempt, answer.executed)
    if arrival == "refused":
        raise admission.wrong_state_error(intent_id, standing.state)
    body = {
        "intent": intent_id,
        "state": answer.state,
        "executed": str(answer.executed),
        "detail": dict(answer.detail),
        "action_run_id": answer.action_run_id,
        "undo": answer.undo,
        **({"attempt": attempt} if attempt else {}),
    }
    if arrival == "outcome":
        transaction.append("outcome", body)
    elif arrival == "late_outcome":
        replaced = {"late": True, "replaces": standing.outcome_line}
        transaction.append("outcome", {**body, **replaced})
    elif arrival == "conflict":
        replaced = {"settled": standing.state, "replaces": standing.settled_line}
        transaction.append("conflict", {**body, **replaced})
    return arrival


def find_statement_refusal(
    transaction: Transaction, intent_id: str, to: SettledState
) -> RefusedError | None:
    """Return the reason why a user cannot state this outcome now, or None."""
    entry = projection.get_entry(transaction.db, intent_id)
    if entry is None:
        return admission.reconcile_refusal(transaction, intent_id)
    looks = projection.list_looks(transaction.db, intent_id)
    if looks and looks[0][1].get("token_ended") is False:
        entry = {**entry, "fence": UNFENCED}  # Membrane accepted a token that had ended
    return statement_refusal(get_standing(transaction, intent_id), entry, to, len(looks))


def record_statement(
    transaction: Transaction, intent_id: str, statement: Statement, persons: int
) -> SettledState | None:
    """Record the outcome that a user states; return the outcome once enough users agree.

    Args:
        transaction: a write, in which `find_statement_refusal` found no reason.
        intent_id: id of the intent.
        statement: the outcome, who states it, and why.
        persons: number of different users that must agree.
    """
    since = _find_conflict(transaction, intent_id) or 0
    body = {"intent": intent_id, "state": statement.state, "person": statement.person}
    transaction.append("statement", {**body, "reason": statement.reason})
    rows = transaction.fetch_all(_STATEMENTS, since, intent_id)
    stated = [projection.parse_payload(row["body"]) for row in rows]
    made = [Statement(one["person"], one["state"], one["reason"]) for one in stated]
    agreed = agreed_state(made, persons)
    if agreed is not None:
        named = sorted({one.person for one in made})
        _settle(transaction, intent_id, agreed, named, statement.reason)
    return agreed


def _settle(
    transaction: Transaction, intent_id: str, to: SettledState, persons: list[str], reason: str
) -> None:
    earlier = get_standing(transaction, intent_id).settled_line
    evidence = {"why": reason, "source": "statement", "persons": persons}
    executed = Executed.YES if to == "succeeded" else Executed.NO
    body = {"intent": intent_id, "state": to, "executed": str(executed), "evidence": evidence}
    transaction.append("reconcile", body if earlier is None else {**body, "replaces": earlier})


def _find_conflict(transaction: Transaction, intent_id: str) -> int | None:
    """Return the number of the entry of this intent's open conflict, or None."""
    return next((row[0] for row in transaction.read(OPEN_CONFLICTS) if row[1] == intent_id), None)
