"""Collection of the facts of a call, by reads only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kartra_mcp.consent.changes import format_arguments
from kartra_mcp.consent.fact_reader import FactReader, without_empty
from kartra_mcp.consent.facts import Facts, Read
from kartra_mcp.consent.lead_facts import lead_object_facts, membership_facts, other_facts
from kartra_mcp.consent.mail_check import add_suppressions
from kartra_mcp.consent.refund_facts import refund_facts
from kartra_mcp.consent.subscription_facts import subscription_facts
from kartra_mcp.core.models import Call, OperationKind, Target
from kartra_mcp.kartra.commands import acts_on_account
from kartra_mcp.kartra.lead_state import find_object


async def read_facts(call: Call, read: Read) -> Facts:
    """Return everything that the user needs for the decision on this call."""
    reader = FactReader(read)
    return await add_suppressions(call, await _read_operation_facts(call, reader), reader)


async def _read_operation_facts(call: Call, reader: FactReader) -> Facts:
    act, target = call.operation.kind, call.operation.target
    if target is None:
        unnamed = "what it acts on: not named in the arguments"
        unread = () if acts_on_account(call.commands) else (unnamed,)
        return Facts(act, None, _given_facts(call), missing=unread)
    match act:
        case OperationKind.REFUND:
            return await refund_facts(target, call.operation.amount, reader)
        case OperationKind.CANCELLATION | OperationKind.CHANGE:
            return await subscription_facts(act, target, call, reader)
        case OperationKind.REVOCATION:
            return await membership_facts(target, call, reader)
        case OperationKind.OTHER:
            return await other_facts(target, call, reader)


async def facts_for_entry(
    operation: str, entry: Mapping[str, Any], read: Read, lead_id: str = ""
) -> Facts:
    """Return the facts of an earlier write, from what the ledger kept.

    `lead_id` is the id of its lead, or "" if the ledger has only the mask of an address.
    """
    reader = FactReader(read)
    target = Target(str(entry.get("target_kind") or ""), str(entry.get("target") or ""))
    if operation == "refund_transaction":
        return await refund_facts(target, None, reader)
    if operation == "cancel_transaction":
        return await subscription_facts(OperationKind.CANCELLATION, target, None, reader)
    if find_object(operation) is not None and lead_id:
        return await lead_object_facts(Target("lead", lead_id), operation, entry, reader)
    return Facts(OperationKind.OTHER, target, missing=("its effect: only the user can check it",))


def _given_facts(call: Call) -> dict[str, Any]:
    commands = [command.name for command in call.commands if command.name]
    given = format_arguments(call.operation.arguments)
    return without_empty({"does": commands, "arguments": given})
