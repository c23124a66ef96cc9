"""Search answers: tools for an intent, what Kartra cannot do, and what a raw request does."""

from __future__ import annotations

import pytest
from consent_actors import sandbox as make_sandbox
from harness import StandIn, action, call, connect, healthy
from published import ACTIONS, ENTRIES

from benchmarks.intents import load_intents
from kartra_mcp.catalogue.builder import build_catalogue
from kartra_mcp.catalogue.ranking import Index
from kartra_mcp.catalogue.tasks import find_impossible, find_raw_task
from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.commands import COMMANDS, PUBLISHED_KEYS
from kartra_mcp.kartra.impossible import IMPOSSIBLE, RAW_TASKS

pytestmark = pytest.mark.anyio

SEARCH = "kartra_search_actions"
INTENTS = dict(load_intents())
NOT_POSSIBLE = {
    "search leads by name": "only by its exact e-mail",
    "look up a customer by last name": "only by its exact e-mail",
    "find a lead called Ada": "only by its exact e-mail",
    "find contacts by phone number": "only by its exact e-mail",
    "delete a lead": "deletes a lead",
    "erase a contact for good": "deletes a lead",
    "list all leads": "list, count or export leads",
    "how many leads do we have": "list, count or export leads",
    "export contacts": "list, count or export leads",
    "which customers have the tag VIP": "list, count or export leads",
    "everyone on the newsletter": "list, count or export leads",
    "list members of a course": "list, count or export leads",
    "undo a refund": "cannot be undone",
    "reverse the refund of yesterday": "cannot be undone",
    "reactivate a cancelled subscription": "cannot be reactivated",
    "list all transactions": "of the whole account",
    "revenue this month": "of the whole account",
    "which memberships are there": "list memberships",
    "show the steps of a sequence": "steps of a sequence",
    "create a tag": "deletes a tag",
    "rename a list": "deletes a list",
    "delete a custom field": "custom field",
    "edit a landing page": "a page",
    "send a broadcast": "broadcast",
    "send an email to a lead": "broadcast",
    "charge a customer": "charges a customer",
    "merge two leads": "merges leads",
    "import leads from a file": "no import",
    "create a coupon": "this area",
    "list calendars": "calendars",
}
RAW = {
    "pause a subscription": "modify_subscription_status",
    "put a plan on hold": "modify_subscription_status",
    "resume a paused subscription": "modify_subscription_status",
    "change the price of a subscription": "edit_subscription",
    "show subscriptions of a lead": "retrieve_subscriptions_from_lead",
    "give points": "give_points_to_lead",
    "take points away": "remove_points_from_lead",
    "book an appointment": "calendar_subscribe",
    "cancel a booking": "calendar_cancel",
    "create a custom field": "create_custom_field",
}


@pytest.mark.parametrize(("intent", "part"), NOT_POSSIBLE.items())
def test_what_kartra_cannot_do_is_recognized(intent, part):
    row = find_impossible(intent)

    assert row
    assert part in row.answer


@pytest.mark.parametrize(("intent", "command"), RAW.items())
def test_what_only_a_raw_request_does_is_recognized(intent, command):
    row = find_raw_task(intent)

    assert find_impossible(intent) is None
    assert row
    assert row.command == command


@pytest.mark.parametrize(("intent", "key"), load_intents())
def test_what_an_action_does_is_never_called_impossible(intent, key):
    assert find_impossible(intent) is None, key
    assert find_raw_task(intent) is None, key


def test_command_tools_push_no_action_back():
    """Bug: "add someone to the newsletter" found `kartra_onboard_lead` before the list."""
    index = Index.build(build_catalogue(ACTIONS, commands=True).entries.values())
    found = {intent: [tool.action.key for tool in index.search(intent, 3)] for intent in INTENTS}
    assert [intent for intent, key in INTENTS.items() if key not in found[intent]] == []
    second = [intent for intent, key in INTENTS.items() if found[intent][0] != key]
    assert second == ["look at one specific sale"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.tool)
def test_an_action_is_found_by_its_own_name_key_and_description(entry):
    for intent in (entry.action.name, entry.action.key, entry.action.description):
        assert find_impossible(intent) is None, intent
        assert find_raw_task(intent) is None, intent
        assert entry in Index.build(ENTRIES).search(intent, 3), intent


def test_the_tables_name_what_exists():
    assert {row.command for row in RAW_TASKS} <= COMMANDS.keys()
    assert {key for row in IMPOSSIBLE for key in row.keys} <= set(PUBLISHED_KEYS)


async def test_money_back_is_a_refund_and_a_pause_is_no_cancellation(sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        refund = (await call(client, SEARCH, intent="give money back to customer")).result
        pause = (await call(client, SEARCH, intent="pause a subscription")).result

    assert refund["tools"][0]["tool"] == "kartra_refund_transaction"
    assert "kartra_cancel_subscription" not in [line["tool"] for line in pause["tools"]]
    assert pause["tools"][0]["tool"] == "kartra_modify_subscription_status"
    assert "raw_request" not in pause


async def test_without_command_tools_the_raw_request_is_named(sandbox, protocol_version):
    sandbox.settings["COMMANDS"] = "off"
    async with connect(sandbox, protocol_version) as client:
        pause = (await call(client, SEARCH, intent="pause a subscription")).result
    assert pause["raw_request"]["tool"] == "kartra_proxy_write"
    assert pause["raw_request"]["command"] == "modify_subscription_status"


async def test_what_is_possible_instead_is_named_with_its_tools(sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        found = (await call(client, SEARCH, intent="search leads by name")).result

    assert "exact e-mail" in found["not_possible"]
    assert "kartra_get_lead" in found["instead"]
    assert [line["tool"] for line in found["tools"]] == ["kartra_get_lead"]


MANY = {
    "tag 40 people": True,
    "put these customers on a list": True,
    "undo a bulk run": True,
    "read many leads": True,
    "tag a customer": False,
    "refund transaction 101": False,
    "list all tags": False,
}


async def test_a_task_for_many_leads_names_the_bulk_run_if_it_is_offered(sandbox):
    async with connect(sandbox, "legacy") as client:
        for intent, many in MANY.items():
            found = (await call(client, SEARCH, intent=intent)).result
            assert ("kartra_bulk_run" in str(found)) is many, (intent, found)
    sandbox.settings["DENY"] = "kartra_bulk_run"
    async with connect(sandbox, "legacy") as client:
        found = (await call(client, SEARCH, intent="tag 40 people")).result
    assert "kartra_bulk_run" not in str(found)


async def test_a_search_that_finds_nothing_names_what_to_do(sandbox):
    async with connect(sandbox, "legacy") as client:
        found = (await call(client, SEARCH, intent="zymurgy")).result
    assert found["tools"] == []
    assert "Name the action" in found["hint"]


async def test_an_own_action_for_it_is_still_found(tmp_path, protocol_version):
    own = action("delete-lead", name="Delete Lead", type="delete-data-record")
    place = StandIn(tmp_path / "stand-in").plan(**healthy(action("get-lead"), own))
    async with connect(place, protocol_version) as client:
        found = (await call(client, SEARCH, intent="delete a lead")).result

    assert found["tools"][0]["tool"] == "kartra_delete_lead"
    assert "not_possible" in found


async def test_membranes_search_is_used_where_words_find_nothing(tmp_path, protocol_version):
    one = action("frobnicate", name="Frobnicate", description="")
    place = StandIn(tmp_path / "stand-in").plan(**healthy(one))
    async with connect(place, protocol_version) as client:
        found = (await call(client, SEARCH, intent="zymurgy")).result

    assert [line["tool"] for line in found["tools"]] == ["kartra_frobnicate"]


HIDDEN = {
    "read only": {"READ_ONLY": "on"},
    "the raw tool denied": {"DENY": "kartra_proxy_write"},
    "the command denied": {"DENY": "kartra_modify_subscription_status"},
}


@pytest.mark.parametrize("row", HIDDEN)
async def test_a_raw_request_that_the_policy_hides_is_not_named(tmp_path, protocol_version, row):
    place = make_sandbox(tmp_path / "state", **HIDDEN[row])
    async with connect(place, protocol_version) as client:
        found = (await call(client, SEARCH, intent="pause a subscription")).result

    assert "raw_request" not in found


def test_a_raw_task_is_named_with_a_tool_of_its_risk():
    reads = {row.command for row in RAW_TASKS if COMMANDS[row.command].risk is Risk.READ}

    assert reads == {"retrieve_subscriptions_from_lead"}
