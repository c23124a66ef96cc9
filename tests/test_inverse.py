"""Inverse of each command: the same undo as in words, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from truth_account import write
from truth_undo import parse_undo

from kartra_mcp.core.models import Command, Risk
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.effects import describe_effect
from kartra_mcp.kartra.inverse import Inverse, find_inverse
from kartra_mcp.kartra.lead_state import HeldState

ADA = {"lead_id": 48110}
ACCOUNT = {("email", 48110): "ada@example.com"}
NOT_HELD, HELD = HeldState(False), HeldState(True)
TAG, LIST = {"tag_name": "VIP"}, {"list_name": "Alumni"}
WINBACK, CIRCLE = {"sequence_name": "Win-back"}, {"membership_name": "Studio Circle"}
GOLD = {**CIRCLE, "level_name": "Gold"}
CLASS = {"calendar_name": "Live critique", "class_name": "Tuesday evening"}
ENTER = "subscribe_lead_to_sequence_at_step"
STATUS = "modify_subscription_status"

UNDONE: Mapping[
    str, tuple[str, dict[str, Any], HeldState | None, str, Sequence[dict[str, Any]]]
] = {
    "assign a tag": ("assign_tag", TAG, NOT_HELD, "unassign_tag", [TAG]),
    "unassign a tag": ("unassign_tag", TAG, HELD, "assign_tag", [TAG]),
    "subscribe to a list": (
        *("subscribe_lead_to_list", LIST, NOT_HELD),
        *("unsubscribe_lead_from_list", [LIST]),
    ),
    "unsubscribe from a list": (
        *("unsubscribe_lead_from_list", LIST, HELD),
        *("subscribe_lead_to_list", [LIST]),
    ),
    "enter a sequence": (
        *(ENTER, {**WINBACK, "step": "2"}, NOT_HELD),
        *("unsubscribe_lead_from_sequence", [WINBACK]),
    ),
    "move in a sequence": (
        *(ENTER, {**WINBACK, "step": "2"}, HeldState(True, "3")),
        *(ENTER, [{**WINBACK, "step": "3"}]),
    ),
    "leave a sequence": (
        *("unsubscribe_lead_from_sequence", WINBACK, HeldState(True, "3")),
        *(ENTER, [{**WINBACK, "step": "3"}]),
    ),
    "give points": (
        *("give_points_to_lead", {"points": 10, "expiration": 30}, None),
        *("remove_points_from_lead", [{"points": 10}]),
    ),
    "remove points": (
        *("remove_points_from_lead", {"points": 10}, None),
        *("give_points_to_lead", [{"points": 10}]),
    ),
    "grant a level": (
        *("grant_membership_access", GOLD, NOT_HELD),
        *("revoke_membership_access", [GOLD]),
    ),
    "revoke a level": (
        *("revoke_membership_access", GOLD, HeldState(True, levels=("Gold",))),
        *("grant_membership_access", [GOLD]),
    ),
    "revoke all levels": (
        *("revoke_membership_access", CIRCLE, HeldState(True, levels=("Gold", "Basic"))),
        *("grant_membership_access", [GOLD, {**CIRCLE, "level_name": "Basic"}]),
    ),
    "pause": (
        *(STATUS, {"subscription_id": 201, "subscription_status_modification": "pause"}, None),
        *(STATUS, [{"subscription_id": 201, "subscription_status_modification": "unpause"}]),
    ),
    "resume": (
        *(STATUS, {"subscription_id": 201, "subscription_status_modification": "unpause"}, None),
        *(STATUS, [{"subscription_id": 201, "subscription_status_modification": "pause"}]),
    ),
}

CANCEL = {"subscription_id": 201, "subscription_status_modification": "cancel"}
NOT_UNDONE: Mapping[str, tuple[str, dict[str, Any], HeldState | None, bool | None, str]] = {
    "a lead": ("create_lead", {"email": "eve@example.org"}, None, None, "deletes a lead"),
    "a field": ("create_custom_field", {}, None, None, "deletes a custom field"),
    "an edit": ("edit_lead", {**ADA, "city": "Bergen"}, None, True, "old values"),
    "terms": ("edit_subscription", {"subscription_id": 201}, None, True, "old terms"),
    "a refund": ("refund_transaction", {"transaction_id": 101}, None, None, "taken back"),
    "an end": ("cancel_transaction", {"subscription_id": 201}, None, None, "buy again"),
    "an end by status": (STATUS, CANCEL, None, None, "buy again"),
    "an ended booking": ("calendar_cancel", {**ADA, **CLASS}, None, None, "when the booking was"),
    "a booking that may be old": ("calendar_subscribe", {**ADA, **CLASS}, None, None, "not known"),
    "a tag that may be old": ("assign_tag", {**ADA, **TAG}, None, None, "not known"),
    "an entry at the same step": (
        *(ENTER, {**ADA, **WINBACK, "step": "2"}, HeldState(True, "2"), None),
        "not known",
    ),
    "a place that was not read": (
        *("unsubscribe_lead_from_sequence", {**ADA, **WINBACK}, HELD, True),
        "step",
    ),
    "levels that were not read": ("revoke_membership_access", {**ADA, **CIRCLE}, HELD, True, "lev"),
    "a level whose name was cut": (
        *("revoke_membership_access", {**ADA, **CIRCLE}, HeldState(True, levels=("Go…",)), True),
        "levels",
    ),
    "nobody": ("give_points_to_lead", {"points": 5}, None, None, "its lead"),
    "no tag": ("assign_tag", ADA, None, True, "its tag"),
}
BOOKED = ("calendar_subscribe", {**ADA, **CLASS}, "calendar_cancel")


def invert(
    command: str, given: Mapping[str, Any], held: HeldState | None = None, **more: Any
) -> Inverse:
    return find_inverse([Command(command, given)], held=held, changes=more.get("changes"))


@pytest.mark.parametrize("name", UNDONE)
def test_an_inverse_is_the_undo_that_the_receipt_names(name: str):
    command, given, held, inverse, calls = UNDONE[name]
    named = {} if command == STATUS else ADA
    found = invert(command, {**named, **given}, held)
    assert (found.command, list(found.calls)) == (inverse, [{**named, **call} for call in calls])
    effect = describe_effect(
        [Command(command, {**named, **given})], "", who="", what="subscription 201", held=held
    )
    told = parse_undo(effect.undo_if_changed, (write(command, **named, **given),), ACCOUNT, {})
    assert {(one.command, frozenset(one.fields)) for one in told} == {
        (inverse, frozenset({**named, **call}.items())) for call in calls
    }


@pytest.mark.parametrize("name", NOT_UNDONE)
def test_a_write_without_an_inverse_has_a_reason(name: str):
    command, given, held, changes, word = NOT_UNDONE[name]
    found = invert(command, given, held, changes=changes)
    assert (found.calls, found.changed) == ((), True)
    assert word in found.why


def test_a_new_booking_is_cancelled():
    command, given, inverse = BOOKED
    found = invert(command, given, changes=True)
    assert (found.command, found.calls) == (inverse, (given,))


@pytest.mark.parametrize("held", [HELD, None])
def test_a_write_that_changed_nothing_has_nothing_to_undo(held: HeldState | None):
    found = invert("assign_tag", {**ADA, **TAG}, held, changes=False)
    assert (found.calls, found.why, found.changed) == ((), "", False)


def test_chains_and_unknown_commands_are_not_undone():
    two = [Command("assign_tag", {**ADA, **TAG}), Command("give_points_to_lead", ADA)]
    assert "several" in find_inverse(two, held=None, changes=None).why
    assert "not known" in find_inverse([], held=None, changes=True).why
    assert "not known" in invert("reticulate", ADA, changes=True).why


def test_every_write_has_an_inverse_or_a_reason():
    writes = {name for name, row in COMMANDS.items() if row.risk > Risk.READ}
    undone = {command for command, *_ in UNDONE.values()} | {BOOKED[0]}
    told = {command for command, *_ in NOT_UNDONE.values()}
    assert undone | told == writes


@pytest.mark.parametrize("lead", [{"email": "ada@example.com"}, {"id": 48110}])
def test_the_lead_of_a_raw_request_is_named_as_it_was(lead: dict[str, Any]):
    found = find_inverse([Command("assign_tag", TAG, lead)], held=NOT_HELD, changes=None)
    named = {"lead_id": lead["id"]} if "id" in lead else lead
    assert found.calls == ({**named, **TAG},)
