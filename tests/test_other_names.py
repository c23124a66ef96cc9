"""A list of actions with other names and shapes: nothing depends on the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness import Sandbox, call, connect
from jsonschema import Draft202012Validator

pytestmark = pytest.mark.anyio

LIST = Path(__file__).parent / "sandbox" / "other_actions.json"
ENTRIES = [entry for entry in json.loads(LIST.read_text()) if isinstance(entry, dict)]
REFUNDED = "SELECT type, cents FROM transactions WHERE parent_id = 101"
NESTED = {"transaction": {"id": "101"}}


@pytest.fixture
def sandbox(tmp_path) -> Sandbox:
    return Sandbox(tmp_path / "state", {"GATE_IRREVERSIBLE": "flag", "COMMANDS": "off"}).arrange(
        "actions", "use", str(LIST)
    )


async def tools_of(client):
    return {tool.name: tool for tool in (await client.list_tools()).tools}


async def test_nothing_is_lost_and_what_is_left_out_is_named(sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        tools = await tools_of(client)
        status = (await call(client, "kartra_status")).result
    runnable = [entry for entry in ENTRIES if entry["state"] == "READY"]
    titles = [entry["name"] for entry in runnable]
    assert sorted(t.title for t in tools.values() if t.title in titles) == sorted(titles)
    assert status["actions"]["number"] == len(runnable)
    left_out = " / ".join(status["actions"]["left_out"])
    assert "not an object" in left_out
    assert "'BUILDING'" in left_out
    assert status["healthy"] is True


async def test_every_schema_can_be_used_as_it_is_listed(sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        tools = await tools_of(client)
    for tool in tools.values():
        Draft202012Validator.check_schema(tool.input_schema)
        assert tool.input_schema["type"] == "object", tool.name


async def test_a_refund_by_another_name_is_irreversible_gated_and_made_once(
    sandbox, protocol_version
):
    async with connect(sandbox, protocol_version) as client:
        tool = (await tools_of(client))["kartra_process_refund"]
        assert (tool.annotations.destructive_hint, tool.annotations.read_only_hint) == (True, False)
        before, started = sandbox.dump(), sandbox.started()
        asked = await call(client, tool.name, **NESTED)
        assert (asked.code, asked.executed) == ("confirmation_required", "no")
        assert "101" in asked.error["message"]
        assert (sandbox.dump(), sandbox.started()) == (before, started)
        done = await call(client, tool.name, **NESTED, confirm=True)
        again = await call(client, tool.name, **NESTED, confirm=True)
    refund = done.result["data"]["refund"]["actions"][0]["refund_transaction"]
    assert refund["status"] == "Success"
    assert (again.code, again.executed) == ("already_done", "no")
    assert sandbox.rows(REFUNDED) == [("refund", 9700)]


@pytest.mark.parametrize(
    "amount", [0, 0.0, -1, None, "", "0", "1.005", True, 1.005, 1e-9, {}, {"value": 1}], ids=repr
)
async def test_a_nested_amount_is_judged_like_any_other(sandbox, amount):
    async with connect(sandbox, "legacy") as client:
        await client.list_tools()
        started = sandbox.started()
        answer = await call(
            client, "kartra_process_refund", **NESTED, amount={"value": amount}, confirm=True
        )
        assert (answer.code, answer.executed) == ("invalid_arguments", "no")
        assert sandbox.started() == started


@pytest.mark.parametrize(
    "odd",
    [
        {"amount": {"valeu": 5}},
        {"amount": {"value": 5, "currency": "EUR"}},
        {"transaction": {"id": 101, "amount": 5}},
        {"note": "x"},
    ],
    ids=json.dumps,
)
async def test_an_undeclared_name_is_refused_in_nested_objects_too(sandbox, odd):
    async with connect(sandbox, "legacy") as client:
        await client.list_tools()
        started = sandbox.started()
        answer = await call(client, "kartra_process_refund", **{**NESTED, **odd}, confirm=True)
        assert (answer.code, answer.executed) == ("invalid_arguments", "no")
        assert sandbox.started() == started


async def test_an_amount_that_lost_its_value_does_not_mean_a_full_refund(sandbox):
    async with connect(sandbox, "legacy") as client:
        await client.list_tools()
        started = sandbox.started()
        answer = await call(client, "kartra_process_refund", **NESTED, amount={}, confirm=True)
        assert (answer.code, answer.executed) == ("invalid_arguments", "no")
        assert sandbox.started() == started


@pytest.mark.parametrize("amount", [9.7, "9.70"], ids=["number", "text"])
async def test_a_nested_part_is_refunded(sandbox, amount):
    part = {**NESTED, "amount": {"value": amount}}
    async with connect(sandbox, "legacy") as client:
        asked = await call(client, "kartra_process_refund", **part)
        assert '"9.7"' in asked.error["message"].replace("'", '"')
        answer = await call(client, "kartra_process_refund", **part, confirm=True)
    assert not answer.failed, answer.text
    assert sandbox.rows(REFUNDED) == [("partial_refund", 970)]


@pytest.mark.parametrize(
    ("tool", "arguments", "sql", "after"),
    [
        ("kartra_refundtransaction", {"transactionId": "101"}, REFUNDED, [("refund", 9700)]),
        (
            "kartra_refundtransaction",
            {"transactionId": 101, "refundAmount": "5.50"},
            REFUNDED,
            [("partial_refund", 550)],
        ),
        (
            "kartra_cancelsubscription",
            {"subscription": {"id": "201"}},
            "SELECT status FROM subscriptions WHERE id = 201",
            [("Cancelled",)],
        ),
        (
            "kartra_pausesubscription",
            {"subscriptionId": "201", "statusChange": "pause"},
            "SELECT status FROM subscriptions WHERE id = 201",
            [("Paused",)],
        ),
        (
            "kartra_revokeaccess",
            {"lead": {"id": "48110"}, "membership": {"name": "Studio Circle"}},
            "SELECT active FROM lead_memberships WHERE lead_id = 48110 AND level_id = 802",
            [(0,)],
        ),
    ],
    ids=["refund", "part", "cancel", "pause", "revoke"],
)
async def test_the_dangerous_ones_ask_and_then_do_their_work(sandbox, tool, arguments, sql, after):
    async with connect(sandbox, "2026-07-28") as client:
        asked = await call(client, tool, **arguments)
        assert asked.code == "confirmation_required"
        assert sandbox.rows(sql) != after
        answer = await call(client, tool, **arguments, confirm=True)
        assert not answer.failed, answer.text
    assert sandbox.rows(sql) == after


async def test_what_cannot_be_judged_is_gated(sandbox):
    async with connect(sandbox, "legacy") as client:
        tools = await tools_of(client)
        answer = await call(client, "kartra_export_everything")
        assert answer.code == "confirmation_required"
        assert sandbox.runs() == []
    assert tools["kartra_export_everything"].annotations.destructive_hint is True


async def test_names_that_collide_are_both_there_and_each_runs_its_own(sandbox, protocol_version):
    twins = {entry["id"]: entry for entry in ENTRIES if entry.get("key") == "twice"}
    async with connect(sandbox, protocol_version) as client:
        tools = await tools_of(client)
        found = [tool for name, tool in tools.items() if name.startswith("kartra_twice")]
        assert len(found) == 2
        assert {tool.title for tool in found} == {e["name"] for e in twins.values()}
        # Two leads: both tools have one key, so that equal calls of them are one write.
        for tool, email in zip(found, ("ada@example.com", "new@example.net"), strict=True):
            await call(client, tool.name, email=email, confirm=True)
            ran = twins[sandbox.runs()[-1][2]]
            assert ran["name"] == tool.title


async def test_an_action_never_takes_a_name_of_the_servers_own(sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        tools = await tools_of(client)
        theirs = [t for t in tools.values() if t.title == "A key that the server uses itself"]
        answer = await call(client, "kartra_status")
    assert answer.result["account"] == "SANDBOX"
    assert len(theirs) == 1
    assert theirs[0].name.startswith("kartra_status_")


async def test_long_keys_missing_keys_and_dots_become_names(sandbox):
    async with connect(sandbox, "legacy") as client:
        tools = {tool.title: name for name, tool in (await tools_of(client)).items()}
    assert tools["No key at all"] == "kartra_no_key_at_all"
    assert tools["Key with a dot, no description"] == "kartra_flipando_get_task"
    assert len(tools["Long key"]) == 45


async def test_renamed_properties_reach_the_action_under_their_own_names(sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        tool = (await tools_of(client))["kartra_bracket_names"]
        shown = list(tool.input_schema["properties"])
        email = next(name for name in shown if "email" in name)
        assert all(name.replace("_", "").isalnum() for name in shown)
        answer = await call(client, tool.name, **{email: "ada@example.com"}, confirm=True)
    assert answer.result["lead_details"]["id"] == "48110"
    given = next(word for word in sandbox.runs()[-1] if word.startswith("--input="))
    assert json.loads(given.removeprefix("--input=")) == {"lead[email]": "ada@example.com"}


async def test_consent_arguments_and_fields_of_the_same_name_coexist(sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        tool = (await tools_of(client))["kartra_confirm_field"]
        assert {"confirm", "kartra_confirm"} <= set(tool.input_schema["properties"])
        theirs = {"confirm": "theirs", "email": "ada@example.com"}
        asked = await call(client, tool.name, **theirs)
        assert asked.code == "confirmation_required"
        answer = await call(client, tool.name, **theirs, kartra_confirm=True)
    assert not answer.failed, answer.text
    given = next(word for word in sandbox.runs()[-1] if word.startswith("--input="))
    assert json.loads(given.removeprefix("--input=")) == theirs


async def test_either_of_two_is_still_enforced_without_a_combinator(sandbox):
    async with connect(sandbox, "legacy") as client:
        tool = (await tools_of(client))["kartra_any_of_at_the_root"]
        assert not {"anyOf", "oneOf", "allOf"} & set(tool.input_schema)
        neither = await call(client, tool.name, confirm=True)
        assert neither.code == "invalid_arguments"
        assert sandbox.runs() == []
        answer = await call(client, tool.name, email="ada@example.com", confirm=True)
    assert answer.result["lead_details"]["id"] == "48110"


async def test_an_open_list_of_values_takes_others(sandbox):
    async with connect(sandbox, "legacy") as client:
        answer = await call(
            client,
            "kartra_open_enum",
            tag_name="Affiliate",
            email="new@example.net",
            confirm=True,
        )
    assert not answer.failed, answer.text


AWKWARD = [
    "boolean_property",
    "type_list_at_the_root",
    "formula_default",
    "private_name",
]


@pytest.mark.parametrize("name", AWKWARD)
async def test_an_action_with_an_awkward_schema_runs(sandbox, name):
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(client, f"kartra_{name}", email="ada@example.com", confirm=True)
    assert answer.result["lead_details"]["id"] == "48110"


@pytest.mark.parametrize("name", ["empty_schema", "recursive", "foreign_ref", "items_missing"])
async def test_an_action_whose_schema_says_little_runs(sandbox, name):
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(client, f"kartra_{name}", confirm=True)
    assert answer.result["status"] == "Success"


async def test_allow_and_deny_match_an_action_by_its_kartra_command(tmp_path):
    rules = {"DENY": "kartra_refund_transaction,kartra_twice"}
    sandbox = Sandbox(tmp_path / "state", rules).arrange("actions", "use", str(LIST))
    async with connect(sandbox, "legacy") as client:
        names = set(await tools_of(client))
        assert "kartra_refundtransaction" not in names
        assert not [name for name in names if name.startswith("kartra_twice")]
        answer = await call(client, "kartra_refundtransaction", transactionId=101, confirm=True)
        assert (answer.code, answer.executed) == ("not_allowed", "no")
    assert sandbox.runs() == []


@pytest.mark.parametrize("status", [{"value": "pause"}, ["pause"], "cancel"], ids=repr)
async def test_a_status_that_is_not_plainly_a_pause_never_passes_for_one(sandbox, status):
    async with connect(sandbox, "legacy") as client:
        answer = await call(
            client, "kartra_pausesubscription", subscriptionId=201, statusChange=status
        )
        assert answer.code in ("invalid_arguments", "confirmation_required")
        assert sandbox.runs() == []
