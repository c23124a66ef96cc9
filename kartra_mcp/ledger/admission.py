"""Whether an intent may begin, end or be reconciled as the ledger stands, and what is recorded."""

from __future__ import annotations

from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger import approvals, confirmations, projection, rules
from kartra_mcp.ledger.database import Transaction
from kartra_mcp.ledger.records import Binding, Intent
from kartra_mcp.policy.limits import Limits


def admission_refusal(
    transaction: Transaction, intent: Intent, limits: Limits, burns: Binding | None
) -> RefusedError | None:
    """Why this may not run now, the most telling reason first; nothing is changed."""
    return (
        confirmations.invalid_reason(transaction, intent, burns)
        or approvals.approval_refusal(transaction, intent, burns)
        or confirmations.block_refusal(transaction, rules.make_identity_key(intent))
        or _duplicate_or_capped(transaction, intent, limits)
        or rules.email_cap_refusal(
            intent, limits, count_recent_emails(transaction) if intent.mail else 0
        )
    )


def preflight_refusal(
    transaction: Transaction, intent: Intent, limits: Limits
) -> RefusedError | None:
    """Why this would not run whoever agreed to it, so that nobody is asked in vain."""
    return confirmations.block_refusal(
        transaction, rules.make_identity_key(intent)
    ) or _duplicate_or_capped(transaction, intent, limits)


def record(transaction: Transaction, intent: Intent) -> None:
    """The line, and the consent burnt."""
    id_ = intent.confirmation_id
    confirmation = None if id_ is None else confirmations.hash_text(id_)
    transaction.append("intent", projection.intent_payload(intent, confirmation))
    if intent.consent == "approval" and intent.approval is not None:
        approvals.consume(transaction, intent.approval, intent.id)
    elif id_ is not None:
        confirmations.consume(transaction, id_, intent.id)


def _duplicate_or_capped(
    transaction: Transaction, intent: Intent, limits: Limits
) -> RefusedError | None:
    if intent.risk is not Risk.IRREVERSIBLE:
        return None
    db, now = transaction.db, transaction.now
    past = projection.list_same_target(db, intent)
    every = limits.cap_day_amount is not None
    needed = -1 if every else limits.cap_day_count or 0
    day = projection.list_irreversible_since(db, now - rules.DAY, needed)
    return rules.duplicate_refusal(
        intent, past, now, limits.repeat_window_days
    ) or rules.cap_refusal(intent, limits, day, now)


def count_recent_emails(transaction: Transaction) -> int:
    return projection.count_emails_since(transaction.db, transaction.now - rules.HOUR)


def lost_outcome(intent_id: str) -> dict[str, Any]:
    return {
        "intent": intent_id,
        "state": "unknown",
        "executed": str(Executed.UNKNOWN),
        "detail": {"settled": "its server and its program were gone"},
        "action_run_id": None,
        "undo": "",
    }


def require_state(transaction: Transaction, intent_id: str, state: str) -> None:
    found = projection.get_state(transaction.db, intent_id)
    if found != state:
        raise RefusedError(
            "internal_error",
            f"The intent {intent_id} is {found or 'not in the ledger'}, not {state}.",
            "Look at it with kartra_ledger; only kartra_reconcile changes an unknown outcome.",
        )


def reconcile_refusal(transaction: Transaction, intent_id: str) -> RefusedError | None:
    state = projection.get_state(transaction.db, intent_id)
    if state == "unknown":
        return None
    if state == "running":
        return still_running_error(intent_id)
    return RefusedError(
        "invalid_arguments",
        f"The intent {intent_id} is {state or 'not in the ledger'}: nothing is to be settled.",
        "Name an intent whose outcome is unknown; kartra_ledger lists them.",
    )


def still_running_error(intent_id: str) -> RefusedError:
    return RefusedError(
        "in_progress",
        f"The intent {intent_id} is still running, or its program is.",
        "Wait until it has ended, then reconcile.",
    )
