"""Command tools: a tool for each Kartra command that no action of the connection covers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from command_examples import EXAMPLES, ONE_ACTION
from consent_actors import confirmed, twice
from harness import (
    Answer,
    Sandbox,
    StandIn,
    action,
    both_eras,
    call,
    connect,
    healthy,
    sandbox_served,
)
from list_changes import listening
from mcp_types import TextContent, TextResourceContents

from kartra_mcp.catalogue.command_tools import list_command_tools
from kartra_mcp.kartra.command_schemas import COMMAND_SCHEMAS
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.errors import ERROR_TYPES

pytestmark = pytest.mark.anyio

OPEN = {"GATE_DESTRUCTIVE": "allow", "GATE_IRREVERSIBLE": "allow"}
UNCOVERED = (
    *("search_lead", "give_points_to_lead", "remove_points_from_lead", "create_custom_field"),
    *("calendar_subscribe", "calendar_cancel", "search_transaction", "search_subscription"),
    *("get_subscription_details", "retrieve_subscriptions_from_lead"),
    *("modify_subscription_status", "edit_subscription", "onboard_lead"),
)
"""Commands that none of the 20 published actions covers."""


@pytest.fixture
def bare(tmp_path) -> Sandbox:
    """An account without actions, so that every command has a tool; no gate asks."""
    return without_actions(Sandbox(tmp_path / "state", dict(OPEN)))


def without_actions(place: Sandbox) -> Sandbox:
    """Serve one action that covers no command."""
    place.folder.mkdir(parents=True, exist_ok=True)
    file = place.folder / "one_action.json"
    file.write_text(json.dumps(ONE_ACTION))
    return place.arrange("actions", "use", str(file))


async def names(place, **client) -> set[str]:
    async with connect(place, "legacy", **client) as connected:
        return {tool.name for tool in (await connected.list_tools()).tools}


async def run(place, tool: str, **given: Any) -> Answer:
    async with connect(place, "legacy") as client:
        await client.list_tools()
        return await call(client, tool, **given)


def value(place: Sandbox, query: str) -> Any:
    return next((row[0] for row in place.rows(query)), None)


async def test_every_documented_command_has_an_example():
    assert EXAMPLES.keys() == COMMAND_SCHEMAS.keys()
    assert COMMANDS.keys() - COMMAND_SCHEMAS.keys() == {
        "grant_membership_access",
        "revoke_membership_access",
    }


@pytest.mark.parametrize("command", EXAMPLES)
async def test_the_documented_example_has_the_documented_effect(bare, command):
    example = EXAMPLES[command]
    before = value(bare, example.effect) if example.effect else None
    answer = await run(bare, f"kartra_{command}", **example.given)
    whole = json.dumps(answer.result, ensure_ascii=False)
    assert example.holds in whole
    if example.success:
        done = answer.result["actions"][0][command]
        assert str(done["type"]) == example.success
    if not example.effect:
        assert answer.structured is not None
        assert "receipt" not in answer.structured
        return
    assert before != example.after
    assert value(bare, example.effect) == example.after
    assert answer.structured is not None
    assert answer.structured["receipt"]["undo"]
    (entry,) = (await run(bare, "kartra_ledger", count=1)).result["lines"]
    assert (entry["tool"], entry["operation"]) == (f"kartra_{command}", command)


@pytest.mark.parametrize(
    ("command", "kind"),
    [(name, kind) for name, example in EXAMPLES.items() for kind in example.errors],
)
async def test_a_documented_error_is_answered_by_its_meaning(bare, command, kind):
    bare.arrange("fault", "set", command, str(kind))
    before = bare.dump()
    answer = await run(bare, f"kartra_{command}", **EXAMPLES[command].given)
    known = ERROR_TYPES[str(kind)]
    reads = not EXAMPLES[command].effect
    assert answer.code == known.code
    assert answer.executed == ("no" if reads else str(known.executed))
    assert [line for line in bare.dump() if "faults" not in line] == [
        line for line in before if "faults" not in line
    ]
    if reads or known.code == "kartra_error":
        assert str(kind) in json.dumps(answer.error["detail"])


async def test_only_commands_that_no_action_covers_are_tools(sandbox):
    listed = await names(sandbox)
    published = {f"kartra_{name}" for name in UNCOVERED}
    assert published <= listed
    others = {f"kartra_{name}" for name in (*COMMAND_SCHEMAS, "onboard_lead")} - published
    covered = {name for name in others if name in listed}
    async with connect(sandbox, "legacy") as client:
        for name in sorted(covered):
            described = await call(client, "kartra_describe_action", action=name)
            assert described.result["description"], name
        rows = json.loads(await resource(client, "kartra://catalogue"))["tools"]
    assert {row["tool"] for row in rows if row["tool"] in published and row["action"]} == set()
    assert all(row["action"] for row in rows if row["tool"] in covered)


async def resource(client, uri: str) -> str:
    (found,) = (await client.read_resource(uri)).contents
    assert isinstance(found, TextResourceContents)
    return found.text


@pytest.mark.parametrize("command", EXAMPLES)
async def test_a_command_tool_is_hidden_while_an_action_covers_it(tmp_path, command):
    key = "cancel-subscription" if command == "cancel_transaction" else command.replace("_", "-")
    place = StandIn(tmp_path, {"COMMANDS": "auto"}).plan(**healthy(action(key)))
    listed = await names(place)
    tool = f"kartra_{key.replace('-', '_')}"
    assert tool in listed
    assert (f"kartra_{command}" in listed) is (tool == f"kartra_{command}")
    assert len([name for name in listed if name.removeprefix("kartra_") in COMMAND_SCHEMAS]) == (
        len(COMMAND_SCHEMAS) - (tool != f"kartra_{command}")
    )


async def test_commands_off_serves_only_actions(sandbox):
    sandbox.settings["COMMANDS"] = "off"
    assert not {f"kartra_{name}" for name in UNCOVERED} & await names(sandbox)
    answer = await run(sandbox, "kartra_give_points_to_lead", lead_id=48129, points=1)
    assert answer.code == "unknown_tool"


async def test_a_bad_value_of_the_setting_serves_none(sandbox):
    sandbox.settings["COMMANDS"] = "some"
    assert not {f"kartra_{name}" for name in UNCOVERED} & await names(sandbox)


async def test_without_a_list_there_is_no_command_tool(tmp_path):
    place = StandIn(tmp_path, {"COMMANDS": "auto"}).plan(
        **{**healthy(), "action list": {"exit": 1, "err": "no"}}
    )
    assert not {name for name in await names(place) if name.removeprefix("kartra_") in EXAMPLES}


async def test_an_action_never_takes_the_name_of_a_command_tool(tmp_path):
    stranger = action("onboard-lead", name="Onboard Lead")
    place = StandIn(tmp_path, {"COMMANDS": "auto"}).plan(**healthy(stranger))
    listed = await names(place)
    assert "kartra_onboard_lead" in listed
    assert any(name.startswith("kartra_onboard_lead_") for name in listed)


@both_eras
async def test_a_change_of_the_command_tools_is_announced(tmp_path, protocol_version):
    covering = action("cancel-subscription")
    place = StandIn(tmp_path, {"COMMANDS": "auto"}).plan(**healthy(action("get-lead")))
    async with listening(connect, place, protocol_version) as (client, heard):
        assert "kartra_cancel_transaction" in await tools_of(client)
        place.plan(**healthy(action("get-lead"), covering))
        await call(client, "kartra_status")
        await heard.wait()
        assert "kartra_cancel_transaction" not in await tools_of(client)
        place.plan(**healthy(action("get-lead")))
        await call(client, "kartra_status")
        await heard.wait()
        assert "kartra_cancel_transaction" in await tools_of(client)


async def tools_of(client) -> set[str]:
    return {tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools}


# ── One identity for the action, the command tool and the raw request ──

WAYS = ("action", "command", "raw")
TWICE = {
    "give_points_to_lead": {"points": 10},
    "create_lead": {"email": "eve@example.org", "city": "Bergen"},
    "create_lead with fields": {
        "email": "eve@example.org",
        "custom_fields": [
            {"field_identifier": "goals", "field_value": "Paint"},
            {"field_identifier": "interests", "field_value": ["Portrait", 723]},
        ],
    },
    "subscribe_lead_to_sequence_at_step": {"sequence_name": "Win-back", "step": "2"},
}
ACTIONS = {"subscribe_lead_to_sequence_at_step": "kartra_subscribe_lead_to_sequence"}


def raw_form(command: str, given: dict[str, Any]) -> dict[str, Any]:
    names_lead = {"email": given["email"]} if "email" in given else {"id": given["lead_id"]}
    if command == "create_lead":
        return {"lead": given, "actions": [{"cmd": command}]}
    rest = {name: one for name, one in given.items() if name not in ("email", "lead_id")}
    return {"lead": names_lead, "actions": [{"cmd": command, **rest}]}


async def call_by(place: Sandbox, way: str, command: str, given: dict[str, Any]) -> Answer:
    """Call a command as an action, as its tool, or as a raw request."""
    if way == "raw":
        body = raw_form(command, given)
        return await run(place, "kartra_proxy_write", method="POST", path="/api", form=body)
    if way == "action":
        place.arrange("actions", "use", "published")
    else:
        without_actions(place)
    async with connect(place, "legacy") as client:
        await call(client, "kartra_status")
        tool = ACTIONS.get(command) if way == "action" else None
        return await call(client, tool or f"kartra_{command}", **given)


@pytest.mark.parametrize("case", TWICE)
@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
async def test_an_equal_call_by_another_way_is_the_same_call(bare, case, first, second):
    command = case.split()[0]
    given = {**({} if command == "create_lead" else {"lead_id": 48129}), **TWICE[case]}
    assert not (await call_by(bare, first, command, given)).failed
    again = await call_by(bare, second, command, given)
    assert (again.code, again.executed) == ("already_done", "no")


# ── Policy ──


async def test_the_risk_of_a_command_tool_is_that_of_the_table():
    """Its title is free text and decides nothing: "Cancel Booking" is no cancellation."""
    for tool in list_command_tools(()).values():
        if tool.command:
            row = COMMANDS[tool.command]
            assert (tool.risk, tool.min_risk) == (row.risk, row.lowest_risk), tool.tool


async def test_read_only_lists_only_reading_commands(bare):
    bare.settings["READ_ONLY"] = "on"
    listed = await names(bare)
    for command, example in EXAMPLES.items():
        assert (f"kartra_{command}" in listed) is not bool(example.effect), command
    answer = await run(bare, "kartra_give_points_to_lead", lead_id=48129, points=1)
    assert answer.code == "read_only"


@pytest.mark.parametrize("pattern", ["kartra_cancel_transaction", "kartra_cancel-subscription"])
async def test_deny_by_any_name_of_a_command_hides_its_tool(bare, pattern):
    bare.settings["DENY"] = pattern
    assert "kartra_cancel_transaction" not in await names(bare)
    answer = await run(bare, "kartra_cancel_transaction", transaction_internal_subscription_id=201)
    assert answer.code == "not_allowed"


async def test_allow_names_a_command_tool(bare):
    bare.settings["ALLOW"] = "kartra_give_points_to_lead"
    listed = {name for name in await names(bare) if name.removeprefix("kartra_") in EXAMPLES}
    assert listed == {"kartra_give_points_to_lead"}
    assert not (await run(bare, "kartra_give_points_to_lead", lead_id=48129, points=1)).failed


async def test_a_denied_action_is_not_served_as_a_command(sandbox):
    sandbox.settings["DENY"] = "kartra_cancel_subscription"
    assert not {"kartra_cancel_subscription", "kartra_cancel_transaction"} & await names(sandbox)


async def test_a_destructive_command_needs_its_flag(sandbox):
    given = {"lead_id": 48110, "points": 5}
    answer = await run(sandbox, "kartra_remove_points_from_lead", **given)
    assert answer.code == "confirmation_required"
    assert not (await run(sandbox, "kartra_remove_points_from_lead", **given, confirm=True)).failed


async def test_an_irreversible_command_is_previewed_with_its_facts(bare):
    bare.settings["GATE_IRREVERSIBLE"] = "preview"
    given = {"subscription_id": 201, "subscription_amount": 59}
    asked = await run(bare, "kartra_edit_subscription", **given)
    assert "59.00" in asked.error["confirmation"]["summary"]
    assert value(bare, "SELECT cents FROM subscriptions WHERE id = 201") == 4900
    async with connect(bare, "legacy") as client:
        assert not (await twice(client, "kartra_edit_subscription", **given)).failed
    assert value(bare, "SELECT cents FROM subscriptions WHERE id = 201") == 5900


async def test_a_refund_by_its_command_tool_is_previewed_like_the_action(bare):
    bare.settings["GATE_IRREVERSIBLE"] = "preview"
    given = {"transaction_id": 105, "refund_amount": 300}
    answer = await run(bare, "kartra_refund_transaction", **given)
    assert answer.code == "not_possible"
    asked = await run(bare, "kartra_refund_transaction", transaction_id=105)
    assert "200.00" in asked.error["confirmation"]["summary"]


# ── Arguments ──

WRONG = {
    "an undocumented argument": ("search_lead", {"lead_id": 48110, "name": "Ada"}),
    "points that are none": ("give_points_to_lead", {"lead_id": 48110, "points": 0}),
    "a status that is none": (
        "modify_subscription_status",
        {"subscription_id": 201, "subscription_status_modification": "stop"},
    ),
    "a type that is none": (
        "create_custom_field",
        {"custom_field_identifier": "x", "custom_field_type": "date"},
    ),
    "a price above the bound": (
        "edit_subscription",
        {"subscription_id": 201, "subscription_amount": 10_000},
    ),
    "a quantity above the bound": (
        "edit_subscription",
        {"subscription_id": 201, "subscription_product_quantity": 10_000},
    ),
    "a tax above the bound": (
        "edit_subscription",
        {"subscription_id": 201, "subscription_tax_percent": 101},
    ),
    "an unknown period": (
        "edit_subscription",
        {"subscription_id": 201, "subscription_recurrence": {"recurring_period_1": "daily"}},
    ),
    "no lead": ("give_points_to_lead", {"points": 5}),
    "nothing to change": ("edit_subscription", {"subscription_id": 201}),
    "a product without its price point": (
        "edit_subscription",
        {"subscription_id": 201, "subscription_product_id": 302},
    ),
    "a date in the past": (
        "edit_subscription",
        {"subscription_id": 201, "subscription_next_payment_date": "2020-01-31 09:00"},
    ),
    "a class in the past": (
        "calendar_subscribe",
        {
            "lead_id": 48110,
            "calendar_name": "Consultation",
            "class_name": "Intro call",
            "starting_date": "05 Mar 2020",
            "starting_hour": "14:30",
        },
    ),
    "a choice without options": (
        "create_custom_field",
        {"custom_field_identifier": "x", "custom_field_type": "checkbox"},
    ),
    "a missing name": ("calendar_cancel", {"lead_id": 48110, "calendar_name": "Consultation"}),
    "an undocumented field of a lead": ("edit_lead", {"lead_id": 48110, "score": 5}),
    "an unknown custom field": (
        "edit_lead",
        {
            "lead_id": 48110,
            "custom_fields": [{"field_identifier": "shoe", "field_value": "43"}],
        },
    ),
    "an id that is none": ("search_transaction", {"transaction_id": "101abc"}),
    "an address that is none": ("search_lead", {"email": "Ada <ada@example.com>"}),
}


@pytest.mark.parametrize("case", WRONG)
async def test_wrong_arguments_are_refused_before_anything_is_sent(bare, case):
    command, given = WRONG[case]
    answer = await run(bare, f"kartra_{command}", **given)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    sent = [words for words in bare.runs() if "retrieve_custom_fields" not in str(words)]
    assert sent == []


async def test_ids_and_amounts_may_be_numeric_text(bare):
    given = {"transaction_id": "101", "refund_amount": "20.50"}
    assert not (await run(bare, "kartra_refund_transaction", **given)).failed
    assert value(bare, "SELECT cents FROM transactions WHERE parent_id = 101") == 2050


async def test_a_choice_is_given_by_its_label(bare):
    chosen = [
        {"field_identifier": "favourite_medium", "field_value": "Ink"},
        {"field_identifier": "interests", "field_value": ["Portrait", "723"]},
    ]
    answer = await run(bare, "kartra_edit_lead", lead_id=48129, custom_fields=chosen)
    assert not answer.failed, answer.text
    kept = dict(bare.rows("SELECT field_id, value FROM lead_fields WHERE lead_id = 48129"))
    assert {number: json.loads(text) for number, text in kept.items()} == {
        601: [703],
        603: [722, 723],
    }


@pytest.mark.parametrize(("given", "kept"), [(6, 6), ("5", 5), ("until cancelled", None)])
async def test_installments_are_a_number_or_a_text(bare, given, kept):
    terms = {"subscription_id": 206, "subscription_installments_left": given}
    assert not (await run(bare, "kartra_edit_subscription", **terms)).failed
    assert value(bare, "SELECT installments_left FROM subscriptions WHERE id = 206") == kept


@pytest.mark.parametrize("command", [name for name, one in EXAMPLES.items() if one.effect])
async def test_the_effect_is_the_same_over_the_api(bare, command):
    example = EXAMPLES[command]
    with sandbox_served(bare) as place:
        assert not (await run(place, f"kartra_{command}", **example.given)).failed
    assert value(bare, example.effect) == example.after


async def test_a_command_tool_runs_for_many_leads(sandbox):
    """Each item of a bulk run is a call of the command tool."""
    items = [{"lead_id": 48129}, {"lead_id": 48130}]
    given = {"tool": "kartra_give_points_to_lead", "arguments": {"points": 7}, "items": items}
    async with connect(sandbox, "legacy") as client:
        await client.list_tools()
        asked = await client.call_tool("kartra_bulk_run", given)
        (block,) = asked.content
        assert isinstance(block, TextContent)
        agreed = confirmed(Answer(True, block.text, None))
        done = await client.call_tool("kartra_bulk_run", {**given, **agreed})
        assert not done.is_error, done.content
    points = "SELECT lead_id, points FROM points WHERE lead_id > 48128 ORDER BY lead_id"
    assert sandbox.rows(points) == [(48129, 7), (48130, 7)]


# ── Found by a model ──

INTENTS = {
    "give a customer 50 points": "kartra_give_points_to_lead",
    "take points away from a lead": "kartra_remove_points_from_lead",
    "pause a subscription": "kartra_modify_subscription_status",
    "resume the subscription": "kartra_modify_subscription_status",
    "change the price of a subscription": "kartra_edit_subscription",
    "show the subscriptions of a lead": "kartra_retrieve_subscriptions_from_lead",
    "show details of a subscription": "kartra_get_subscription_details",
    "book an appointment": "kartra_calendar_subscribe",
    "cancel a booking": "kartra_calendar_cancel",
    "create a custom field": "kartra_create_custom_field",
    "add a new lead with tags": "kartra_onboard_lead",
}


@pytest.mark.parametrize("expose", ["all", "search"])
async def test_command_tools_are_found_by_search(sandbox, expose):
    sandbox.settings["EXPOSE"] = expose
    async with connect(sandbox, "legacy") as client:
        missed = {}
        for intent, tool in INTENTS.items():
            found = (await call(client, "kartra_search_actions", intent=intent)).result
            hits = [hit["tool"] for hit in found["tools"][:3]]
            if tool not in hits or "raw_request" in found or "not_possible" in found:
                missed[intent] = (hits, found.keys())
    assert missed == {}


async def test_a_command_is_described_and_run_by_its_name(sandbox):
    sandbox.settings["EXPOSE"] = "search"
    async with connect(sandbox, "legacy") as client:
        asked = {"action": "kartra_give_points_to_lead"}
        described = (await call(client, "kartra_describe_action", **asked)).result
        assert described["risk"] == "write"
        assert described["undo"] == "remove the same number of points"
        assert described["run_with"] == "kartra_run_write"
        given = {"lead_id": 48129, "points": 10}
        assert not (await call(client, "kartra_run_write", **asked, arguments=given)).failed
    assert value(sandbox, "SELECT points FROM points WHERE lead_id = 48129") == 10


async def test_status_counts_only_actions(sandbox):
    assert (await run(sandbox, "kartra_status")).result["actions"]["number"] == 20


# ── Remedies ──


async def test_a_refused_raw_request_names_the_tool_of_the_command(bare):
    body = {"actions": [{"cmd": "cancel_transaction", "transaction_internal_subscription_id": 201}]}
    raw = {"method": "POST", "path": "/api", "json": body}
    answer = await run(bare, "kartra_proxy_write", **raw)
    assert answer.code == "forbidden_request"
    assert "Here kartra_cancel_subscription is kartra_cancel_transaction." in answer.error["remedy"]


async def test_a_write_by_the_read_tool_names_the_tool_of_the_command(sandbox):
    body = {"lead": {"id": 48110}, "actions": [{"cmd": "give_points_to_lead", "points": 5}]}
    raw = {"method": "POST", "path": "/api", "json": body}
    answer = await run(sandbox, "kartra_proxy_read", **raw)
    assert answer.error["remedy"] == "Use kartra_give_points_to_lead, else kartra_proxy_write."
    sandbox.settings["COMMANDS"] = "off"
    answer = await run(sandbox, "kartra_proxy_read", **raw)
    assert "Instead of kartra_give_points_to_lead, which is not offered" in answer.error["remedy"]
    assert "by kartra_proxy_write" in answer.error["remedy"]


async def test_the_guide_names_raw_requests_where_commands_are_off(sandbox):
    async with connect(sandbox, "legacy") as client:
        await client.list_tools()
        assert "`kartra_give_points_to_lead`" in await resource(client, "kartra://guide")
    sandbox.settings["COMMANDS"] = "off"
    async with connect(sandbox, "legacy") as client:
        await client.list_tools()
        assert "raw `give_points_to_lead`" in await resource(client, "kartra://guide")


async def test_switching_commands_on_is_recorded_as_a_loosening(sandbox):
    sandbox.settings["COMMANDS"] = "off"
    assert (await run(sandbox, "kartra_status")).result["ledger"]["loosened"] == []
    sandbox.settings["COMMANDS"] = "auto"
    loosened = (await run(sandbox, "kartra_status")).result["ledger"]["loosened"]
    assert loosened == ["commands without an action are tools"]
    sandbox.settings["COMMANDS"] = "off"
    assert (await run(sandbox, "kartra_status")).result["ledger"]["loosened"] == []
