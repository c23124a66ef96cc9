"""`kartra_onboard_lead`: a lead with tags, lists and a sequence in one request, whole or not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from consent_actors import twice
from harness import Answer, Sandbox, call, connect
from mcp_types import TextContent

pytestmark = pytest.mark.anyio

TOOL = "kartra_onboard_lead"
EVE = "eve@example.org"
WHOLE: dict[str, Any] = {
    "email": EVE,
    "fields": {
        "first_name": "Eve",
        "custom_fields": [{"field_identifier": "favourite_medium", "field_value": "Ink"}],
    },
    "tags": ["VIP", "Watercolour", "VIP"],
    "lists": ["Alumni"],
    "sequence": "Win-back",
    "step": "2",
}


async def run(place: Sandbox, **given: Any) -> Answer:
    async with connect(place, "legacy") as client:
        return await call(client, TOOL, **given)


def sent(place: Sandbox) -> list[list[str]]:
    return [words for words in place.runs() if "create_lead" in " ".join(words)]


def held(place: Sandbox) -> dict[str, Any]:
    one = f"lead_id = (SELECT id FROM leads WHERE email = '{EVE}')"
    return {
        "names": place.rows(f"SELECT first_name FROM leads WHERE email = '{EVE}'"),
        "tags": place.rows(f"SELECT tag_id FROM lead_tags WHERE {one} ORDER BY tag_id"),
        "lists": place.rows(f"SELECT list_id, active FROM lead_lists WHERE {one}"),
        "sequences": place.rows(f"SELECT sequence_id, step FROM lead_sequences WHERE {one}"),
        "fields": place.rows(f"SELECT field_id, value FROM lead_fields WHERE {one}"),
    }


async def test_one_request_makes_the_lead_and_everything_around_it(sandbox):
    answer = await run(sandbox, **WHOLE)
    assert held(sandbox) == {
        "names": [("Eve",)],
        "tags": [(502,), (503,)],
        "lists": [(404, 1)],
        "sequences": [(453, "2")],
        "fields": [(601, "[703]")],
    }
    assert len(sent(sandbox)) == 1
    assert [next(iter(part)) for part in answer.result["actions"]] == [
        "create_lead",
        "assign_tag",
        "assign_tag",
        "subscribe_lead_to_list",
        "subscribe_lead_to_sequence_at_step",
    ]


async def test_the_receipt_tells_each_part_and_its_undo(sandbox):
    answer = await run(sandbox, **WHOLE)
    assert answer.structured is not None
    receipt = answer.structured["receipt"]
    for name in ('"VIP"', '"Watercolour"', '"Alumni"', '"Win-back" at step 2'):
        assert name in receipt["done"], receipt["done"]
    assert EVE in receipt["done"]
    assert '"VIP"' in receipt["undo"]
    assert receipt["changed"] is True
    assert "if " not in receipt["undo"], "a new lead had nothing before"


async def test_only_an_address_is_needed(sandbox):
    assert not (await run(sandbox, email=EVE)).failed
    assert held(sandbox)["tags"] == []


UNKNOWN = {
    "a tag": ({"tags": ["VIP", "Vip "]}, {"tag": "Vip ", "nearest": ["VIP"]}),
    "a list": ({"lists": ["Alumnis"]}, {"list": "Alumnis", "nearest": ["Alumni"]}),
    "a sequence": (
        {"sequence": "Winback", "step": "1"},
        {"sequence": "Winback", "nearest": ["Win-back"]},
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
async def test_a_name_that_the_account_does_not_have_is_refused_before_anything_is_sent(
    sandbox, case
):
    given, fault = UNKNOWN[case]
    answer = await run(sandbox, email=EVE, **given)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert answer.error["detail"] == {"names": [fault]}
    assert sent(sandbox) == []


async def test_all_wrong_names_are_told_at_once(sandbox):
    answer = await run(sandbox, email=EVE, tags=["Nope"], lists=["Nowhere"])
    assert [set(fault) - {"nearest"} for fault in answer.error["detail"]["names"]] == [
        {"tag"},
        {"list"},
    ]


async def test_names_that_cannot_be_read_are_not_believed(sandbox):
    sandbox.arrange("fault", "set", "retrieve_account_lists", "262", "--times=9")
    answer = await run(sandbox, email=EVE, lists=["Alumni"])
    assert (answer.code, answer.executed) == ("kartra_error", "no")
    assert sent(sandbox) == []


async def test_a_lead_that_exists_is_not_changed(sandbox):
    """Kartra may run the rest of a chain after a failed creation."""
    before = sandbox.arrange("reset").dump()
    answer = await run(sandbox, email="ada@example.com", tags=["Newsletter"])
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert answer.error["detail"] == {"lead_id": "48110"}
    assert sandbox.dump() == before


async def test_a_part_that_kartra_refuses_is_told_by_its_name(sandbox):
    answer = await run(sandbox, email=EVE, tags=["VIP"], sequence="Win-back", step="99")
    assert (answer.code, answer.executed) == ("kartra_error", "yes")
    detail = answer.error["detail"]
    assert detail["done"] == ["create_lead", "assign_tag"]
    (missed,) = detail["not_done"]
    assert (missed["type"], missed["sequence"], missed["index"]) == ("230", "Win-back", 2)


WRONG = {
    "a sequence without a step": {"sequence": "Win-back"},
    "a step without a sequence": {"step": "2"},
    "an unknown field": {"fields": {"score": 5}},
    "an address among the fields": {"fields": {"email": EVE}},
    "an undocumented argument": {"tag": "VIP"},
    "a custom field that does not exist": {
        "fields": {"custom_fields": [{"field_identifier": "shoe", "field_value": "43"}]}
    },
}


@pytest.mark.parametrize("case", WRONG)
async def test_wrong_arguments_are_refused(sandbox, case):
    answer = await run(sandbox, email=EVE, **WRONG[case])
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert sent(sandbox) == []


async def test_it_is_served_unless_commands_are_off(sandbox):
    sandbox.settings["COMMANDS"] = "off"
    assert (await run(sandbox, email=EVE)).code == "unknown_tool"


async def test_the_gate_of_a_command_inside_applies(sandbox):
    policy = sandbox.folder.with_name("policy.toml")
    policy.write_text('[tools."kartra_assign_tag"]\ngate = "preview"\n')
    sandbox.settings["POLICY"] = str(policy)
    given = {"email": EVE, "tags": ["VIP"]}
    assert (await run(sandbox, **given)).code == "confirmation_required"
    assert sent(sandbox) == []
    async with connect(sandbox, "legacy") as client:
        assert not (await twice(client, TOOL, **given)).failed


async def test_a_denied_command_inside_is_refused(sandbox):
    sandbox.settings["DENY"] = "kartra_assign_tag"
    assert (await run(sandbox, email=EVE, tags=["VIP"])).code == "not_allowed"
    assert not (await run(sandbox, email=EVE)).failed


async def test_an_equal_second_call_is_already_done(sandbox):
    assert not (await run(sandbox, **WHOLE)).failed
    again = await run(sandbox, **WHOLE)
    assert (again.code, again.executed) == ("already_done", "no")
    assert len(sent(sandbox)) == 1


async def test_a_raw_chain_that_creates_a_lead_is_checked_alike(sandbox):
    body = {
        "lead": {"email": EVE},
        "actions": [{"cmd": "create_lead"}, {"cmd": "assign_tag", "tag_name": "Nope"}],
    }
    async with connect(sandbox, "legacy") as client:
        answer = await call(client, "kartra_proxy_write", method="POST", path="/api", json=body)
    assert answer.code == "invalid_arguments"
    assert sent(sandbox) == []


async def test_the_ledger_has_one_write_of_the_tool(sandbox):
    await run(sandbox, **WHOLE)
    async with connect(sandbox, "legacy") as client:
        (line,) = (await call(client, "kartra_ledger", count=1)).result["lines"]
    assert line["tool"] == TOOL
    assert "create_lead" in line["operation"]
    assert EVE not in json.dumps(line)


async def test_a_lead_that_exists_is_an_invalid_item_of_a_bulk_run(sandbox):
    items = [{"email": EVE}, {"email": "ada@example.com"}]
    given = {"tool": TOOL, "arguments": {"tags": ["VIP"]}, "items": items}
    async with connect(sandbox, "legacy") as client:
        await client.list_tools()
        asked = await client.call_tool("kartra_bulk_run", given)
    (block,) = asked.content
    assert isinstance(block, TextContent)
    error = json.loads(block.text)["error"]
    assert error["code"] == "invalid_arguments"
    assert "exists already" in block.text
    assert sent(sandbox) == []
