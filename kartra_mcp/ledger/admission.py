"""Whether an intent may begin, end or be reconciled as the ledger stands, and what is recorded."""

from __future__ import annotations

from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger import approvals, confirmations, projection, rules
from kartra_mcp.ledger.database import Transaction
from kartra_mcp.ledger.records import Binding, Intent
from kartra_mcp.policy.limits import Limits


def refusal(
    transaction: Transaction, intent: Intent, limits: Limits, burns: Binding | None
) -> RefusedError | None:
    """Why this may not run now, the most telling reason first; nothing is changed."""
    return (
        confirmations.unfounded(transaction, intent, burns)
        or approvals.unapproved(transaction, intent, burns)
        or confirmations.blocked(transaction, rules.identity_key(intent))
        or _once_too_often(transaction, intent, limits)
        or rules.over_mail(intent, limits, mails(transaction) if intent.mail else 0)
    )


def foreseen(transaction: Transaction, intent: Intent, limits: Limits) -> RefusedError | None:
    """Why this would not run whoever agreed to it, so that nobody is asked in vain."""
    return confirmations.blocked(transaction, rules.identity_key(intent)) or _once_too_often(
        transaction, intent, limits
    )


def record(transaction: Transaction, intent: Intent) -> None:
    """The line, and the consent burnt."""
    id_ = intent.confirmation_id
    if id_ is None:
        transaction.append("intent", projection.body_of(intent, None))
    elif intent.consent == "approval":
        transaction.append("intent", projection.body_of(intent, f"approval {id_}"))
        approvals.burn(transaction, id_, intent.id)
    else:
        transaction.append("intent", projection.body_of(intent, confirmations.hashed(id_)))
        confirmations.burn(transaction, id_, intent.id)


def _once_too_often(
    transaction: Transaction, intent: Intent, limits: Limits
) -> RefusedError | None:
    if intent.risk is not Risk.IRREVERSIBLE:
        return None
    db, now = transaction.db, transaction.now
    past = projection.same_target(db, intent)
    every = limits.cap_day_amount is not None
    needed = -1 if every else limits.cap_day_count or 0
    day = projection.irreversible_since(db, now - rules.DAY, needed)
    return rules.repeats(intent, past, now, limits.repeat_window_days) or rules.over_cap(
        intent, limits, day, now
    )


def mails(transaction: Transaction) -> int:
    return projection.mails_since(transaction.db, transaction.now - rules.HOUR)


def lost(intent_id: str) -> dict[str, Any]:
    return {
        "intent": intent_id,
        "state": "unknown",
        "executed": str(Executed.UNKNOWN),
        "detail": {"settled": "its server and its program were gone"},
        "action_run_id": None,
        "undo": "",
    }


def must_be(transaction: Transaction, intent_id: str, state: str) -> None:
    found = projection.state_of(transaction.db, intent_id)
    if found != state:
        raise RefusedError(
            "internal_error",
            f"The intent {intent_id} is {found or 'not in the ledger'}, not {state}.",
            "Look at it with kartra_ledger; only kartra_reconcile changes an unknown outcome.",
        )


def unreconcilable(transaction: Transaction, intent_id: str) -> RefusedError | None:
    state = projection.state_of(transaction.db, intent_id)
    if state == "unknown":
        return None
    if state == "running":
        return still_running(intent_id)
    return RefusedError(
        "invalid_arguments",
        f"The intent {intent_id} is {state or 'not in the ledger'}: nothing is to be settled.",
        "Name an intent whose outcome is unknown; kartra_ledger lists them.",
    )


def still_running(intent_id: str) -> RefusedError:
    return RefusedError(
        "in_progress",
        f"The intent {intent_id} is still running, or its program is.",
        "Wait until it has ended, then reconcile.",
    )
