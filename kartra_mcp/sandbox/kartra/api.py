"""Kartra's one endpoint on an account: a decoded body in, Kartra's envelope out.

Where the documentation is silent, the sandbox chooses the behavior that exposes a careless client:
a chain continues after a rejected command, and the envelope around it reports Success.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kartra_mcp.sandbox.kartra import (
    account_info,
    fault_injection,
    lead_attributes,
    leads,
    payments,
    subscriptions,
)
from kartra_mcp.sandbox.kartra.errors import KartraError, require
from kartra_mcp.sandbox.store import php_values
from kartra_mcp.sandbox.store.database import Account

Map = dict[str, Any]
Command = Callable[[Account, Map, Map], Map]

OF_THE_ACCOUNT: dict[str, Callable[[Account], Map]] = {
    "retrieve_account_tags": account_info.retrieve_account_tags,
    "retrieve_account_lists": account_info.retrieve_account_lists,
    "retrieve_account_sequences": account_info.retrieve_account_sequences,
    "retrieve_account_pages": account_info.retrieve_account_pages,
    "retrieve_custom_fields": account_info.retrieve_custom_fields,
}
OF_A_LEAD: dict[str, Command] = {
    "search_lead": leads.search_lead,
    "create_lead": leads.create_lead,
    "edit_lead": leads.edit_lead,
    "assign_tag": lead_attributes.assign_tag,
    "unassign_tag": lead_attributes.unassign_tag,
    "subscribe_lead_to_list": lead_attributes.subscribe_lead_to_list,
    "unsubscribe_lead_from_list": lead_attributes.unsubscribe_lead_from_list,
    "subscribe_lead_to_sequence_at_step": lead_attributes.subscribe_lead_to_sequence_at_step,
    "unsubscribe_lead_from_sequence": lead_attributes.unsubscribe_lead_from_sequence,
    "give_points_to_lead": lead_attributes.give_points_to_lead,
    "remove_points_from_lead": lead_attributes.remove_points_from_lead,
    "calendar_subscribe": lead_attributes.calendar_subscribe,
    "calendar_cancel": lead_attributes.calendar_cancel,
    "retrieve_transactions_from_lead": payments.retrieve_transactions_from_lead,
    "retrieve_subscriptions_from_lead": subscriptions.retrieve_subscriptions_from_lead,
}
WITHOUT_A_LEAD: dict[str, Command] = {
    "create_custom_field": account_info.create_custom_field,
    "search_transaction": payments.search_transaction,
    "get_transaction_details": payments.get_transaction_details,
    "refund_transaction": payments.refund_transaction,
    "search_subscription": subscriptions.search_subscription,
    "get_subscription_details": subscriptions.get_subscription_details,
    "cancel_transaction": subscriptions.cancel_transaction,
    "modify_subscription_status": subscriptions.modify_subscription_status,
    "edit_subscription": subscriptions.edit_subscription,
}
COMMANDS = {**OF_A_LEAD, **WITHOUT_A_LEAD}
READS = ("get_", "retrieve_", "search_")
"""First words of the commands that change nothing."""
FIRST_ONLY = {"search_lead", "create_lead", "edit_lead"}


def answer(account: Account, body: object) -> Map:
    """Handle one request. Only the rate limit raises, since it has no envelope."""
    request = php_values.fields(body)
    try:
        if "get_lead" in request:
            return _get_lead(account, request["get_lead"])
        return _act(account, request)
    except KartraError as error:
        return _format_refusal(error)


def _format_refusal(error: KartraError) -> Map:
    return {"status": "Error", "message": error.message, "type": error.kind}


def _get_lead(account: Account, wanted: object) -> Map:
    fault_injection.refuse_whole(account, "get_lead")
    if (fault := _take_fault(account, "get_lead")) is not None:
        raise fault[0]
    require(php_values.is_array(wanted), "236")
    lead = php_values.fields(wanted)
    require(leads.is_named(lead), "206")
    return {"status": "Success", "lead_details": leads.get_lead(account, lead)}


def _act(account: Account, request: Map) -> Map:
    actions = _list_actions(request.get("actions"))
    for action in actions:
        fault_injection.refuse_whole(account, php_values.text(action["cmd"]))
    lead = request.get("lead")
    require(lead is None or php_values.is_array(lead), "223")
    named = php_values.fields(lead)
    needs = any(action["cmd"] in OF_A_LEAD for action in actions)
    require(not needs or leads.is_named(named), "206")
    return _make_envelope([_run_one(account, named, action) for action in actions])


def _list_actions(given: object) -> list[Map]:
    """Return the commands in order; a command that must be first is valid only there."""
    require(php_values.is_array(given) and php_values.values(given), "224")
    actions = [php_values.fields(one) for one in php_values.values(given)]
    require(all(not php_values.is_blank(action.get("cmd")) for action in actions), "254")
    actions = [{**action, "cmd": php_values.text(action["cmd"])} for action in actions]
    require(not any(action["cmd"] in FIRST_ONLY for action in actions[1:]), "224")
    return actions


def _run_one(account: Account, lead: Map, action: Map) -> tuple[str, Map, bool]:
    """Run one command.

    Return its name, its result, and whether the result belongs at the top level of the response.
    """
    cmd: str = action["cmd"]
    try:
        fault = _take_fault(account, cmd)
        if cmd in OF_THE_ACCOUNT and fault is None:
            return cmd, OF_THE_ACCOUNT[cmd](account), True
        return cmd, _run(account, lead, action, fault), False
    except KartraError as error:
        return cmd, _as_typed(cmd, _format_refusal(error)), False


def _take_fault(account: Account, cmd: str) -> tuple[KartraError, bool] | None:
    row = fault_injection.take_fault(account, cmd, fault_injection.list_inner_faults())
    if row is None:
        return None
    return KartraError(row["type"], row["message"]), bool(row["effect"])


def _run(account: Account, lead: Map, action: Map, fault: tuple[KartraError, bool] | None) -> Map:
    command = COMMANDS.get(action["cmd"])
    if fault is not None and not (fault[1] and command):
        raise fault[0]
    if command is None:
        raise KartraError("262")
    with account.attempt():
        done = {"status": "Success", **command(account, lead, action)}
    if not action["cmd"].startswith(READS):
        rest = {name: value for name, value in action.items() if name != "cmd"}
        account.effects.append({"cmd": action["cmd"], "lead": lead, "arguments": rest})
    if fault is not None:
        raise fault[0]
    return done


def _as_typed(cmd: str, refusal: Map) -> Map:
    """Return the error type; one documented refusal carries it as a bare number."""
    if cmd == "modify_subscription_status" and refusal["type"] == "274":
        return {**refusal, "type": 274}
    return refusal


def _make_envelope(answers: list[tuple[str, Map, bool]]) -> Map:
    envelope: Map = {"status": "Success"}
    actions = [{cmd: given} for cmd, given, top in answers if not top]
    if actions:
        envelope["actions"] = actions
    for _cmd, given, top in answers:
        if top:
            envelope.update(given)
    return envelope
