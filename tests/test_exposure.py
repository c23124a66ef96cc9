"""Listed tools; an action run by name passes every check of its own tool."""

from __future__ import annotations

import pytest
from consent_actors import REFUND, confirmed, lines, sandbox, story
from harness import StandIn, action, both_eras, call, connect, healthy
from mcp_types import ToolListChangedNotification
from polling import until

from kartra_mcp.account import account
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS

pytestmark = pytest.mark.anyio

BY_NAME = ("kartra_describe_action", "kartra_run_read", "kartra_run_write")
READ, WRITE, DESCRIBE = "kartra_run_read", "kartra_run_write", "kartra_describe_action"
GET_LEAD, UNTAG, TAG = "kartra_get_lead", "kartra_unassign_tag", "kartra_assign_tag"
LEAD = {"email": "vera.example@example.com"}
REFUNDS = "SELECT cents FROM transactions WHERE parent_id = 101"
VIP = "SELECT 1 FROM lead_tags JOIN tags ON id = tag_id WHERE lead_id = 48110 AND name = 'VIP'"
OF_VIP = {"lead_id": 48110, "tag_name": "VIP"}


@pytest.fixture
def searched(tmp_path):
    return sandbox(tmp_path / "state", EXPOSE="search")


async def names_of(client):
    return [tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools]


def by_name(name, arguments=None, **beside):
    return {"action": name, "arguments": arguments or {}, **beside}


LISTED = {
    "all": ({"EXPOSE": "all"}, False),
    "search": ({"EXPOSE": "search"}, True),
    "auto, a short list": ({}, False),
    "auto, a low limit": ({"EXPOSE_TOKENS": "3000"}, True),
    "auto, and few of them allowed": (
        {"EXPOSE_TOKENS": "3000", "ALLOW": "kartra_get_lead,kartra_ledger"},
        False,
    ),
    "all, above the limit": ({"EXPOSE": "all", "EXPOSE_TOKENS": "1"}, False),
}


@pytest.mark.parametrize("row", LISTED)
async def test_what_is_listed(tmp_path, protocol_version, row):
    settings, searches = LISTED[row]
    async with connect(sandbox(tmp_path / "state", **settings), protocol_version) as client:
        names = await names_of(client)
    assert (set(BY_NAME) <= set(names)) is searches
    assert (GET_LEAD not in names) is searches
    if searches:
        assert names == list(BUILTIN_TOOLS)


SEARCH_RULES = {
    "read only": (
        {"READ_ONLY": "on"},
        {"kartra_run_write", "kartra_proxy_write", "kartra_connect"},
    ),
    "denied by name": ({"DENY": "kartra_run_*"}, {READ, WRITE}),
    "allowed actions": (
        {"ALLOW": "kartra_get_lead"},
        set(BUILTIN_TOOLS)
        - {"kartra_status", "kartra_read_more", "kartra_search_actions", *BY_NAME},
    ),
}


@pytest.mark.parametrize("row", SEARCH_RULES)
async def test_rules_hide_the_ways_to_an_action_too(tmp_path, protocol_version, row):
    settings, hidden = SEARCH_RULES[row]
    place = sandbox(tmp_path / "state", EXPOSE="search", **settings)
    async with connect(place, protocol_version) as client:
        assert set(await names_of(client)) == set(BUILTIN_TOOLS) - hidden


@both_eras
async def test_find_describe_run(searched, protocol_version):
    async with connect(searched, protocol_version) as client:
        found = (await call(client, "kartra_search_actions", intent="look up a lead")).result
        assert GET_LEAD in [line["tool"] for line in found["tools"]]
        told = (await call(client, DESCRIBE, action=GET_LEAD)).result
        assert (told["tool"], told["risk"], told["run_with"]) == (GET_LEAD, "read", READ)
        assert "beside_arguments" not in told
        field = next(iter(told["arguments"]["properties"]))
        assert field
        lead = await call(client, READ, **by_name(GET_LEAD, {"lead_id": 48110}))
        same = await call(client, GET_LEAD, lead_id=48110)
    assert lead.result == same.result
    assert lead.structured
    assert "receipt" not in lead.structured


async def test_what_a_write_needs_is_described(searched, protocol_version):
    async with connect(searched, protocol_version) as client:
        told = (await call(client, DESCRIBE, action=REFUND)).result
        plain = (await call(client, DESCRIBE, action=TAG)).result
    assert (told["risk"], told["gate"], told["run_with"]) == ("irreversible", "preview", WRITE)
    assert told["undo"]
    assert set(told["beside_arguments"]) == {
        *("confirm", "confirmation_id", "confirmation_summary", "repeat")
    }
    assert "confirm" not in told["arguments"]["properties"]
    assert (plain["risk"], plain["run_with"]) == ("write", WRITE)
    assert plain["beside_arguments"].keys() == told["beside_arguments"].keys()


async def test_the_read_tool_runs_no_write(searched, protocol_version):
    async with connect(searched, protocol_version) as client:
        for name in (REFUND, UNTAG, TAG):
            answer = await call(client, READ, **by_name(name, {"lead_id": 48110}, confirm=True))
            assert (answer.code, answer.executed) == ("forbidden_request", "no"), name
            assert WRITE in answer.error["remedy"]
    assert searched.runs() == []
    assert lines(searched, "intent") == []


async def test_a_refund_by_name_is_previewed_and_runs_once(searched, protocol_version):
    asked = by_name(REFUND, {"transaction_id": 101})
    async with connect(searched, protocol_version) as client:
        preview = await call(client, WRITE, **asked)
        assert (preview.code, preview.executed) == ("confirmation_required", "no")
        assert searched.rows(REFUNDS) == []
        flagged = await call(client, WRITE, **asked, confirm=True)
        assert flagged.code == "confirmation_required"
        assert searched.rows(REFUNDS) == []
        done = await call(client, WRITE, **asked, **confirmed(flagged))
        assert done.structured
        assert done.structured["receipt"]["intent"]
        again = await call(client, WRITE, **asked, **confirmed(flagged))
        assert (again.failed, again.executed) == (True, "no")
    assert searched.rows(REFUNDS) == [(9700,)]
    assert story(searched) == {REFUND: ("two_step", "succeeded")}


@pytest.mark.parametrize(("first", "second"), [(WRITE, REFUND), (REFUND, WRITE)])
async def test_a_confirmation_holds_for_the_call_in_either_form(
    searched, protocol_version, first, second
):
    forms = {WRITE: by_name(REFUND, {"transaction_id": 101}), REFUND: {"transaction_id": 101}}
    async with connect(searched, protocol_version) as client:
        preview = await call(client, first, **forms[first])
        other = by_name(REFUND, {"transaction_id": 102})
        swapped = await call(client, WRITE, **other, **confirmed(preview))
        assert (swapped.failed, swapped.executed) == (True, "no")
        done = await call(client, second, **forms[second], **confirmed(preview))
        assert not done.failed, done.text
    assert searched.rows(REFUNDS) == [(9700,)]
    assert story(searched) == {REFUND: ("two_step", "succeeded")}


async def test_a_flag_counts_beside_the_arguments_and_among_them(searched, protocol_version):
    async with connect(searched, protocol_version) as client:
        asked = by_name(UNTAG, OF_VIP)
        assert (await call(client, WRITE, **asked)).code == "confirmation_required"
        text = await call(client, WRITE, **asked, confirm="true")
        assert text.code == "confirmation_required"
        both = by_name(UNTAG, {**OF_VIP, "confirm": False}, confirm=True)
        assert (await call(client, WRITE, **both)).code == "invalid_arguments"
        assert searched.rows(VIP) == [(1,)]
        done = await call(client, WRITE, **by_name(UNTAG, {**OF_VIP, "confirm": True}))
        assert not done.failed, done.text
    assert searched.rows(VIP) == []
    assert story(searched) == {UNTAG: ("flag", "succeeded")}


async def test_a_field_called_confirm_stays_the_actions_own(stand_in, protocol_version):
    schema = {"type": "object", "properties": {"confirm": {"type": "string"}}}
    stand_in.settings = {"EXPOSE": "search"}
    stand_in.plan(action_list={"out": {"items": [action("delete-it", inputSchema=schema)]}})
    async with connect(stand_in, protocol_version) as client:
        asked = by_name("kartra_delete_it", {"confirm": "the second"})
        first = await call(client, WRITE, **asked)
        assert first.code == "confirmation_required"
        assert "kartra_confirm" not in first.error["remedy"]
        assert stand_in.runs() == []
        assert not (await call(client, WRITE, **asked, confirm=True)).failed
    (words,) = stand_in.runs()
    assert '--input={"confirm":"the second"}' in words


NOT_RUN = {
    "an action that is not there": (by_name("kartra_refund_transactoin"), "unknown_tool", REFUND),
    "a tool of the server's own": (by_name("kartra_ledger"), "invalid_arguments", "kartra_ledger"),
    "no action": ({"arguments": {}}, "invalid_arguments", "action"),
    "arguments that are none": (
        {"action": REFUND, "arguments": "transaction_id=101"},
        "invalid_arguments",
        "arguments",
    ),
    "an argument of another name": (
        by_name(REFUND, {"transaction_id": 101, "amount_due": 5}),
        "invalid_arguments",
        "amount_due",
    ),
    "an argument in the wrong place": (
        {"action": REFUND, "transaction_id": 101},
        "invalid_arguments",
        "transaction_id",
    ),
    "an amount that is none": (
        by_name(REFUND, {"transaction_id": 101, "refund_amount": "97,00"}),
        "invalid_arguments",
        "refund_amount",
    ),
}


@pytest.mark.parametrize("row", NOT_RUN)
@both_eras
async def test_what_is_not_run(searched, protocol_version, row):
    given, code, named = NOT_RUN[row]
    async with connect(searched, protocol_version) as client:
        answer = await call(client, WRITE, **given)
    assert (answer.code, answer.executed) == (code, "no")
    assert named in answer.text
    assert searched.runs() == []


@pytest.mark.parametrize("name", [GET_LEAD, "kartra_ledger"])
async def test_describe_of_what_is_not_there(searched, protocol_version, name):
    async with connect(searched, protocol_version) as client:
        answer = await call(client, DESCRIBE, action=f"{name}s" if name == GET_LEAD else name)
    assert answer.code == ("unknown_tool" if name == GET_LEAD else "invalid_arguments")
    assert name in answer.text


RULES = {
    "denied": ({"DENY": "kartra_assign_tag"}, "not_allowed"),
    "not among the allowed": ({"ALLOW": "kartra_get_lead"}, "not_allowed"),
    "read only": ({"READ_ONLY": "on"}, "read_only"),
}


@pytest.mark.parametrize("row", RULES)
async def test_rules_hold_in_every_form(tmp_path, protocol_version, row):
    settings, code = RULES[row]
    place = sandbox(tmp_path / "state", EXPOSE="search", **settings)
    async with connect(place, protocol_version) as client:
        given = {"lead_id": 48110, "tag_name": "Affiliate"}
        assert (await call(client, TAG, **given)).code == code
        assert (await call(client, WRITE, **by_name(TAG, given))).code == code
        assert (await call(client, DESCRIBE, action=TAG)).code == code
        read = await call(client, READ, **by_name(GET_LEAD, {"lead_id": 48110}))
        assert not read.failed, read.text
    assert len(place.runs()) == 1
    assert lines(place, "intent") == []


GATES = {
    "of the action": ('[tools."kartra_assign_tag"]\ngate = "flag"', "confirmation_required"),
    "of the run tool": ('[tools."kartra_run_write"]\ngate = "flag"', "confirmation_required"),
    "a looser one of the run tool": ('[tools."kartra_run_write"]\ngate = "allow"', ""),
    "deny of the run tool": ('[tools."kartra_run_write"]\ngate = "deny"', "not_allowed"),
}


@pytest.mark.parametrize("row", GATES)
async def test_gates_of_tools_hold(tmp_path, protocol_version, row):
    policy, code = GATES[row]
    file = tmp_path / "policy.toml"
    file.write_text(policy)
    place = sandbox(tmp_path / "state", EXPOSE="search", POLICY=str(file))
    tag, refund = {"lead_id": 48110, "tag_name": "Affiliate"}, {"transaction_id": 101}
    async with connect(place, protocol_version) as client:
        answer = await call(client, WRITE, **by_name(TAG, tag))
        assert (answer.code if answer.failed else "") == code
        irreversible = await call(client, WRITE, **by_name(REFUND, refund, confirm=True))
        assert irreversible.code == (
            "not_allowed" if code == "not_allowed" else "confirmation_required"
        )
    assert place.rows(REFUNDS) == []
    assert set(story(place)) == ({TAG} if not code else set())


async def test_a_gate_of_the_run_tool_does_not_widen_the_allow_list(tmp_path, protocol_version):
    file = tmp_path / "policy.toml"
    file.write_text('[tools."kartra_run_write"]\ngate = "flag"')
    place = sandbox(tmp_path / "state", EXPOSE="search", POLICY=str(file), ALLOW=WRITE)
    async with connect(place, protocol_version) as client:
        tag = by_name(TAG, {"lead_id": 48110, "tag_name": "Affiliate"})
        assert (await call(client, WRITE, **tag, confirm=True)).code == "not_allowed"
    assert place.runs() == []


async def test_a_gated_read_by_name_asks(tmp_path, protocol_version):
    file = tmp_path / "policy.toml"
    file.write_text('[tools."kartra_get_lead"]\ngate = "flag"')
    place = sandbox(tmp_path / "state", EXPOSE="search", POLICY=str(file))
    async with connect(place, protocol_version) as client:
        (tool,) = [t for t in (await client.list_tools()).tools if t.name == READ]
        assert "confirm" in tool.input_schema["properties"]
        asked = by_name(GET_LEAD, {"lead_id": 48110})
        assert (await call(client, READ, **asked)).code == "confirmation_required"
        assert place.runs() == []
        assert not (await call(client, READ, **asked, confirm=True)).failed


async def test_a_remembered_name_still_works_and_run_tools_work_when_all_are_listed(
    tmp_path, protocol_version
):
    for wanted in ("all", "search"):
        place = sandbox(tmp_path / wanted, EXPOSE=wanted)
        async with connect(place, protocol_version) as client:
            one = await call(client, GET_LEAD, lead_id=48110)
            other = await call(client, READ, **by_name(GET_LEAD, {"lead_id": 48110}))
            assert one.result == other.result


def many(number):
    schema = {"type": "object", "properties": {"lead_id": {"type": "integer"}}}
    return [
        action(f"get-thing-{n}", type="list-data-records", inputSchema=schema)
        for n in range(number)
    ]


@pytest.fixture
def stand_in(tmp_path):
    return StandIn(tmp_path / "stand-in").plan(**healthy())


async def test_a_list_that_grows_changes_over_once_and_stays(stand_in, monkeypatch):
    monkeypatch.setattr(account, "MAX_AGE", 0.0)
    told = []

    async def note(message):
        if isinstance(message, ToolListChangedNotification):
            told.append(message)

    stand_in.settings = {"RATE": "0"}
    stand_in.plan(action_list={"out": {"items": many(5)}})
    async with connect(stand_in, "legacy", message_handler=note) as client:
        assert "kartra_get_thing_1" in await names_of(client)
        before = len(told)
        stand_in.plan(action_list={"out": {"items": many(2_000)}})
        assert await names_of(client)
        await until(lambda: len(told) > before)
        assert await names_of(client) == list(BUILTIN_TOOLS)
        stand_in.plan(action_list={"out": {"items": many(4)}})
        status = (await call(client, "kartra_status")).result
        while status["actions"]["number"] != 4:
            status = (await call(client, "kartra_status")).result
        assert await names_of(client) == list(BUILTIN_TOOLS)
        assert len(told) == before + 1


async def test_two_thousand_actions_stay_usable(stand_in, protocol_version):
    stand_in.plan(action_list={"out": {"items": many(2_000)}})
    async with connect(stand_in, protocol_version) as client:
        assert await names_of(client) == list(BUILTIN_TOOLS)
        found = await call(client, "kartra_search_actions", intent="thing 1234")
        assert len(found.result["tools"]) == 10
        told = await call(client, DESCRIBE, action="kartra_get_thing_1234")
        assert told.result["arguments"]["properties"]["lead_id"]
        done = await call(client, READ, **by_name("kartra_get_thing_1234", {"lead_id": "5"}))
        assert not done.failed, done.text
        near = await call(client, READ, action="kartra_get_thing_12345")
        assert "kartra_get_thing_1234" in near.text
    (words,) = stand_in.runs()
    assert "id-get-thing-1234" in words


FLOODS = {
    "at the top": {f"a{n}": n for n in range(1_001)},
    "inside": {"a": [{f"b{n}": n} for n in range(1_001)]},
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("tool", [REFUND, GET_LEAD, WRITE, READ, DESCRIBE, "kartra_ledger"])
async def test_a_flood_of_arguments_is_refused(searched, protocol_version, tool, flood):
    given = by_name(GET_LEAD, FLOODS[flood]) if tool in (READ, WRITE) else FLOODS[flood]
    async with connect(searched, protocol_version) as client:
        answer = await call(client, tool, **given)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert "1,000 names" in answer.text
    assert len(answer.text) < 500
    assert searched.runs() == []
