"""Decides whether an intent may begin, end or be reconciled, and records it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger import (
    approval_rows,
    bulk_rows,
    confirmations,
    projection,
    revocations,
    rules,
)
from kartra_mcp.ledger.bulk_records import identify_item, identify_run
from kartra_mcp.ledger.database import NO_LIMIT
from kartra_mcp.ledger.hash_chain import LedgerEntry
from kartra_mcp.ledger.people import Group
from kartra_mcp.ledger.records import Binding, Intent
from kartra_mcp.ledger.transaction import Transaction
from kartra_mcp.policy.limits import GroupCaps, Limits


def admission_refusal(
    transaction: Transaction, intent: Intent, limits: Limits, burns: Binding | None
) -> RefusedError | None:
    """Return the reason why this intent may not run now, or None. Nothing is changed.

    The order is from the most to the least specific: a used-up confirmation explains more to the
    caller than a cap that would also have refused the call.
    """
    return (
        _access_refusal(transaction, intent)
        or _requester_refusal(intent, burns)
        or _consent_refusal(transaction, intent, burns)
        or _block_refusal(transaction, intent)
        or _declined_run_refusal(transaction, intent)
        or _duplicate_or_capped(transaction, intent, limits)
        or _email_refusal(transaction, intent, limits)
    )


def _access_refusal(transaction: Transaction, intent: Intent) -> RefusedError | None:
    """Return the refusal of a requester of a team whose access was revoked, or None."""
    asker = intent.requester
    return None if asker is None else revocations.find_refusal(transaction, asker.keys)


def _requester_refusal(intent: Intent, burns: Binding | None) -> RefusedError | None:
    """Return the refusal of a consent that another person asked for, or None."""
    own = "" if intent.requester is None else intent.requester.key
    if burns is None or burns.requester == own:
        return None
    return RefusedError(
        "confirmation_mismatch",
        "This consent was asked for by another person. Nothing was done.",
        "Call without confirmation_id for a preview or a number of your own.",
    )


def _consent_refusal(
    transaction: Transaction, intent: Intent, burns: Binding | None
) -> RefusedError | None:
    """Return the reason why the consent does not count; an item of a bulk run has the run's."""
    if intent.bulk:
        return bulk_rows.item_refusal(transaction, intent, burns)
    return confirmations.invalid_reason(
        transaction, intent, burns
    ) or approval_rows.approval_refusal(transaction, intent, burns)


def preflight_refusal(
    transaction: Transaction, intent: Intent, limits: Limits
) -> RefusedError | None:
    """Return the refusal that no consent could lift, so that the user is not asked in vain."""
    return (
        _access_refusal(transaction, intent)
        or _block_refusal(transaction, intent)
        or _duplicate_or_capped(transaction, intent, limits)
    )


def repeat_refusal(transaction: Transaction, intent: Intent, limits: Limits) -> RefusedError | None:
    """Return the refusal of a declined or repeated call, whatever the caps are, or None."""
    return _block_refusal(transaction, intent) or _duplicate_refusal(transaction, intent, limits)


def record(transaction: Transaction, intent: Intent) -> LedgerEntry:
    """Append and return the entry of the intent; consume the consent that it was admitted on."""
    id_ = intent.confirmation_id
    confirmation = None if id_ is None else confirmations.hash_text(id_)
    line = transaction.append("intent", projection.intent_payload(intent, confirmation))
    if intent.bulk:
        return line  # its consent was consumed when the run was agreed to
    if intent.consent == "approval" and intent.approval is not None:
        approval_rows.consume(transaction, intent.approval, intent.id)
    elif id_ is not None:
        confirmations.consume(transaction, id_, intent.id)
    return line


def _block_refusal(transaction: Transaction, intent: Intent) -> RefusedError | None:
    """Return the refusal of a declined command, under any name of its target, or None."""
    for part in rules.split_intent(intent):
        for key in list_identity_keys(part, projection.list_names_of(transaction.db, part)):
            refusal = confirmations.block_refusal(transaction, key)
            if refusal is not None:
                return refusal
    return None


def list_identity_keys(part: Intent, names: Sequence[str]) -> list[str]:
    """List the identity keys of a command, one for each name of its target."""
    return [rules.make_identity_key(part, name) for name in names or ("",)]


def _declined_run_refusal(transaction: Transaction, intent: Intent) -> RefusedError | None:
    """Return the refusal of a call that is an item of a declined bulk run, or None.

    Without it, a run that the user declined would run unasked, one item at a time.
    """
    if intent.bulk or intent.consent in rules.BY_A_PERSON:
        return None
    since = transaction.earliest - rules.DAY
    runs = bulk_rows.find_runs_with(transaction, intent.connection, intent.arguments_digest, since)
    for run, number in runs:
        for names in (identify_run(run), identify_item(run, number)):
            key = rules.make_identity_key(replace(intent, **names._asdict()))
            refusal = confirmations.block_refusal(transaction, key)
            if refusal is not None:
                return refusal
    return None


def _duplicate_or_capped(
    transaction: Transaction, intent: Intent, limits: Limits
) -> RefusedError | None:
    """Return the refusal of the first command that was done before, or of a cap, or None."""
    return (
        _duplicate_refusal(transaction, intent, limits)
        or _cap_refusal(transaction, intent, limits)
        or next(
            (
                refusal
                for where, group, caps in _list_groups(intent, limits)
                if (refusal := _cap_refusal(transaction, intent, caps, group, where))
            ),
            None,
        )
    )


def _list_groups(intent: Intent, limits: Limits) -> list[tuple[str, Group, GroupCaps]]:
    """List the caps of the principal that asked: its own, and those of its roles."""
    asker = intent.requester
    if asker is None:
        return []
    return [
        (where, Group(asker.key, role), caps)
        for where, role, caps in limits.list_group_caps(asker.roles)
    ]


def _cap_refusal(
    transaction: Transaction,
    intent: Intent,
    caps: Limits | GroupCaps,
    group: Group | None = None,
    where: str = "",
) -> RefusedError | None:
    """Return the refusal of the first cap that an irreversible intent exceeds, or None.

    `group` are the people whose writes count together; `where` is the table of their caps.
    """
    if intent.risk is not Risk.IRREVERSIBLE:
        return None
    every = caps.cap_day_amount is not None
    now = transaction.earliest
    if not every and caps.cap_day_count is None:
        return rules.cap_refusal(intent, caps, (), now, where)
    needed = NO_LIMIT if every else caps.cap_day_count or 0
    day = projection.list_irreversible_since(transaction.db, now - rules.DAY, needed, group)
    return rules.cap_refusal(intent, caps, day, now, where)


def _email_refusal(transaction: Transaction, intent: Intent, limits: Limits) -> RefusedError | None:
    """Return the refusal above an hourly limit of mail: of the account, a role or a person."""
    if not intent.mail:
        return None
    refusal = rules.email_cap_refusal(intent, limits, count_recent_emails(transaction))
    since = transaction.earliest - rules.HOUR
    for where, group, caps in _list_groups(intent, limits):
        if refusal is None and caps.mail_per_hour is not None:
            sent = projection.count_emails_since(transaction.db, since, group)
            refusal = _group_email_refusal(intent, caps.mail_per_hour, sent, where)
    return refusal


def _group_email_refusal(intent: Intent, cap: int, sent: int, where: str) -> RefusedError | None:
    """Return the refusal above the hourly limit of mail of a person or role, or None.

    Only an approval of other people lifts it: the person may have answered a form alone.
    """
    if intent.consent == "approval" or sent + intent.mail <= cap:
        return None
    name = f"{where} mail_per_hour"
    return RefusedError(
        "cap_reached",
        f"{sent} writes of the last hour could start mail; {name} is {cap}. Nothing was done.",
        "Wait, or ask an admin of the team to change the policy.",
        detail={"cap": name, "limit": cap, "left": max(cap - sent, 0)},
    )


def _duplicate_refusal(
    transaction: Transaction, intent: Intent, limits: Limits
) -> RefusedError | None:
    """Return the refusal of the first command that was done before, or None."""
    db, now = transaction.db, transaction.earliest
    run = bulk_rows.find_run(transaction, intent.bulk) if intent.bulk else None
    planned_at = None if run is None else run.made_at
    for part in rules.split_intent(intent):
        past = projection.list_same_target(db, part) if part.risk is Risk.IRREVERSIBLE else []
        refusal = rules.duplicate_refusal(
            part, past, now, limits.repeat_window_days
        ) or rules.equal_call_refusal(part, projection.list_equal(db, part), now, planned_at)
        if refusal is not None:
            return refusal
    return None


def count_recent_emails(transaction: Transaction) -> int:
    """Count the writes of the last hour that could start mail."""
    return projection.count_emails_since(transaction.db, transaction.earliest - rules.HOUR)


def lost_outcome(intent_id: str) -> dict[str, Any]:
    """Return the outcome of an intent whose server and program have both ended."""
    return {
        "intent": intent_id,
        "state": "unknown",
        "executed": str(Executed.UNKNOWN),
        "detail": {"settled": "its server and its program have ended"},
        "action_run_id": None,
        "undo": "",
    }


def wrong_state_error(intent_id: str, found: str | None) -> RefusedError:
    """Return the refusal of an answer to an intent that has an outcome, or to another attempt."""
    return RefusedError(
        "internal_error",
        f"The intent {intent_id} is {found or 'not in the ledger'}; this answer was not recorded.",
        "Look at it with kartra_ledger; only kartra_reconcile changes an unknown outcome.",
    )


def reconcile_refusal(transaction: Transaction, intent_id: str) -> RefusedError | None:
    """Return the reason why this intent cannot be settled, or None if its outcome is unknown."""
    state = projection.get_state(transaction.db, intent_id)
    if state == "unknown":
        return None
    if state == "running":
        return still_running_error(intent_id)
    return RefusedError(
        "invalid_arguments",
        f"The intent {intent_id} is {state or 'not in the ledger'}. There is nothing to settle.",
        "Name an intent whose outcome is unknown; kartra_ledger lists them.",
    )


def still_running_error(intent_id: str) -> RefusedError:
    return RefusedError(
        "in_progress",
        f"The intent {intent_id} or its program is still running.",
        "Wait until it has ended, then call kartra_reconcile again.",
    )
