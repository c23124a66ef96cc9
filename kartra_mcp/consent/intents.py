"""Draft of the intent of a call: made once, completed with the facts as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from kartra_mcp.consent.call_effects import call_effect, find_email
from kartra_mcp.consent.facts import Facts
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.models import Call, Connection, Operation, Risk
from kartra_mcp.kartra.action_words import moves_money
from kartra_mcp.kartra.lead_state import HELD_BEFORE
from kartra_mcp.ledger.bulk_records import BulkItem, BulkRun, identify_item, identify_run
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import make_name, make_requester
from kartra_mcp.ledger.pseudonyms import mask_email, mask_lead
from kartra_mcp.ledger.records import Intent, IntentPart, make_intent_id

KEPT_FACTS = (
    "transaction_id",
    "subscription_id",
    "product",
    "product_id",
    "status",
    "amount",
    "refunded_so_far",
    "remaining",
    "this_refund",
    "full_or_partial",
)
"""Facts that the ledger stores, with the named objects of the call: never notes or old values."""


def draft_intent(
    call: Call, connection: Connection, client: ClientContext, actor: str, ledger: Ledger
) -> Intent:
    """Return the intent of a call as far as it is known without facts."""
    operation, effect = call.operation, call_effect(call, mask=True)
    draft = Intent(
        id=make_intent_id(),
        tool=call.tool,
        operation=operation.name,
        risk=call.risk,
        connection=ledger.identify(connection.id),
        target_kind=operation.target.kind if operation.target else "",
        target=mask_target(operation.target.id, ledger) if operation.target else None,
        amount=operation.amount,
        known_amount=operation.amount,
        arguments_digest=operation.digest,
        repeat=call.consent.repeat,
        mail=operation.email_count,
        moves_money=operation.moves_money,
        equality=operation.parts[0].digest if len(operation.parts) == 1 else "",
        additive=any(part.additive for part in operation.parts),
        parts=_chain_parts(operation, ledger),
        actor=describe_actor(client, actor),
        client=client.name,
        facts=effect.parts,
        undo=effect.undo_if_changed,
        requester=make_requester(client.principal),
    )
    return _with_lead(draft, find_email(call), ledger)


def describe_actor(client: ClientContext, actor: str) -> str:
    """Return the name of the principal of a team; of a single user, `actor`."""
    return actor if client.principal is None else make_name(client.principal)


def draft_bulk_intent(
    run: BulkRun, items: Sequence[BulkItem], actor: str, client: ClientContext
) -> Intent:
    """Return the intent of a whole run, which admission judges like a chain of its items.

    Only irreversible items count against caps; each item has an intent of its own later.
    """
    amounts = [Decimal(item.amount) for item in items if item.amount]
    whole = identify_run(run)
    return Intent(
        id=make_intent_id(),
        tool=run.tool,
        operation=whole.operation,
        target_kind=whole.target_kind,
        target=whole.target,
        risk=run.risk,
        connection=run.connection,
        known_amount=sum(amounts, Decimal(0)) if amounts else None,
        arguments_digest=run.digest,
        repeat=run.repeat,
        mail=sum(item.mail for item in items),
        moves_money=bool(amounts),
        actor=describe_actor(client, actor),
        client=client.name,
        requester=make_requester(client.principal),
        parts=tuple(
            IntentPart(
                operation=named.operation,
                risk=item.risk,
                target_kind=named.target_kind,
                target=named.target,
                known_amount=Decimal(item.amount) if item.amount else None,
                equality=item.digest,
                moves_money=bool(item.amount) or moves_money(run.operation),
            )
            for item in items
            if item.risk is Risk.IRREVERSIBLE
            for named in [identify_item(run, item.number)]
        ),
    )


def _chain_parts(operation: Operation, ledger: Ledger) -> tuple[IntentPart, ...]:
    """Return the commands of a chain as the ledger judges them; of a single write, none."""
    if len(operation.parts) <= 1:
        return ()
    return tuple(
        IntentPart(
            operation=part.name,
            risk=part.risk,
            target_kind=part.target.kind if part.target else "",
            target=mask_target(part.target.id, ledger) if part.target else None,
            known_amount=part.amount,
            equality=part.digest,
            moves_money=part.moves_money,
            additive=part.additive,
        )
        for part in operation.parts
    )


def add_facts(draft: Intent, facts: Facts, ledger: Ledger) -> Intent:
    """Return the draft completed with the facts; its id stays the same."""
    found = replace(
        draft,
        target_kind=facts.target.kind if facts.target else draft.target_kind,
        target=mask_target(facts.target.id, ledger) if facts.target else draft.target,
        remainder=facts.remaining,
        known_amount=draft.known_amount if facts.amount_moved is None else facts.amount_moved,
        fresh=True,
        facts={**draft.facts, **_stored_facts(facts)},
    )
    return _with_lead(found, facts.lead, ledger)


def mask_target(target: str, ledger: Ledger) -> str:
    """Return a target as the ledger stores it: an address as its mask and keyed hash."""
    if "@" not in target:
        return target
    return mask_lead(target, ledger.leads.hash(target))


def _with_lead(draft: Intent, email: str, ledger: Ledger) -> Intent:
    if not email:
        return draft
    return replace(draft, lead=mask_email(email), lead_hash=ledger.leads.hash(email))


def _stored_facts(facts: Facts) -> dict[str, Any]:
    kept = {name: facts.shown[name] for name in KEPT_FACTS if name in facts.shown}
    # Rows of a list that was read in part would look new later, and prove a write wrongly.
    if facts.missing:
        return kept
    held = {HELD_BEFORE: facts.held.as_dict()} if facts.held else {}
    return {**kept, **held, "seen": list(facts.evidence)}
