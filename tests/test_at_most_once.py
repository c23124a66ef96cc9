"""At most once, for every write: while it runs, after a lost answer, and just after a success."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from consent_actors import Person, changed, confirmed, lines, sandbox
from harness import Answer, Sandbox, call, connect

pytestmark = pytest.mark.anyio

RAW, LEAD, ADDRESS = "kartra_proxy_write", 48129, "new@example.net"


def raw(*commands: Mapping[str, Any], **lead: Any) -> dict[str, Any]:
    body = {"lead": lead or {"id": LEAD}, "actions": list(commands)}
    return {"method": "POST", "path": "/api", "json": body}


POINTS = {"cmd": "give_points_to_lead", "points": 10}
TAKEN = {"cmd": "remove_points_from_lead", "points": 10}
TAGGED = {"cmd": "assign_tag", "tag_name": "VIP"}
BOOKED = {
    "cmd": "calendar_subscribe",
    "calendar_name": "Consultation",
    "class_name": "Intro call",
    "starting_date": "01 Dec 2026",
    "starting_hour": "10:00",
}
FIELD = {
    "cmd": "create_custom_field",
    "custom_field_identifier": "shoe_size",
    "custom_field_type": "input_field",
}
ENTRY = {"sequence_name": "Win-back", "step": "1", "lead_id": LEAD}

ADDITIVE: dict[str, tuple[str, dict[str, Any], str]] = {
    "points given": (RAW, raw(POINTS), "give_points_to_lead"),
    "points taken": (RAW, raw(TAKEN), "remove_points_from_lead"),
    "a booking": (RAW, raw(BOOKED), "calendar_subscribe"),
    "a sequence entry": (
        "kartra_subscribe_lead_to_sequence",
        ENTRY,
        "subscribe_lead_to_sequence_at_step",
    ),
    "a creation": ("kartra_create_lead", {"email": "eve@example.org"}, "create_lead"),
    "a field": (RAW, raw(FIELD), "create_custom_field"),
}
STATES = {
    "a tag": ("kartra_assign_tag", {"lead_id": LEAD, "tag_name": "VIP"}, "assign_tag"),
    "a list": (
        "kartra_subscribe_lead_to_list",
        {"lead_id": LEAD, "list_name": "Newsletter"},
        "subscribe_lead_to_list",
    ),
    "a removed tag": (
        "kartra_unassign_tag",
        {"lead_id": LEAD, "tag_name": "Newsletter"},
        "unassign_tag",
    ),
    "an edit": ("kartra_edit_lead", {"lead_id": LEAD, "company": "Aasen AS"}, "edit_lead"),
    "a raw tag": (RAW, raw(TAGGED), "assign_tag"),
}
EVERY = {**ADDITIVE, **STATES}


@pytest.fixture
def place(tmp_path) -> Sandbox:
    return sandbox(tmp_path, GATE_DESTRUCTIVE="allow")


@pytest.fixture
def each_store(make_sandbox) -> Sandbox:
    return make_sandbox(GATE_DESTRUCTIVE="allow")


async def again(client: Any, tool: str, given: Mapping[str, Any]) -> Answer:
    """The call with `repeat`, after its own preview."""
    preview = await call(client, tool, **given, repeat=True)
    assert preview.code == "confirmation_required", preview.text
    return await call(client, tool, **given, repeat=True, **confirmed(preview))


@pytest.mark.parametrize("name", EVERY)
async def test_a_write_whose_answer_was_lost_is_not_repeated(each_store: Sandbox, name: str):
    """Bug: ten points were given twice after a lost answer."""
    tool, given, command = EVERY[name]
    each_store.arrange("fault", "set", command, "garbage", "--effect")
    async with connect(each_store, "legacy") as client:
        lost = await call(client, tool, **given)
        assert lost.executed == "unknown"
        before = each_store.dump()
        second = await call(client, tool, **given)
        assert (second.code, second.executed) == ("outcome_unknown", "no")
        assert "kartra_reconcile" in second.error["remedy"]
        assert "repeat: true" in second.error["remedy"]
        unagreed = await call(client, tool, **given, repeat=True)
        gone = name == "a removed tag"  # which the preview of a second call shows
        assert unagreed.code == ("not_possible" if gone else "confirmation_required")
        assert each_store.dump() == before
        assert len(lines(each_store, "intent")) == 1
        if gone:
            return
        last = await again(client, tool, given)
        assert not last.failed or last.code == "kartra_error", last.text
    assert len(lines(each_store, "intent")) == 2


@pytest.mark.parametrize("name", ADDITIVE)
async def test_an_equal_additive_write_is_already_done_for_a_minute(each_store: Sandbox, name: str):
    """Bug: sequence entries, bookings and points were added twice by an equal second call."""
    tool, given, _ = ADDITIVE[name]
    async with connect(each_store, "legacy") as client:
        first = await call(client, tool, **given)
        assert not first.failed, first.text
        before = each_store.dump()
        second = await call(client, tool, **given)
        assert (second.code, second.executed) == ("already_done", "no")
        assert second.error["first"]["intent"] == lines(each_store, "intent")[0]["intent"]
        assert "repeat: true" in second.error["remedy"]
        assert each_store.dump() == before
        last = await again(client, tool, given)
        assert not last.failed or last.code == "kartra_error", last.text
    assert len(lines(each_store, "intent")) == 2


@pytest.mark.parametrize("name", STATES)
async def test_a_write_that_adds_nothing_twice_runs_again_at_once(place: Sandbox, name: str):
    tool, given, _ = STATES[name]
    async with connect(place, "legacy") as client:
        for _ in range(2):
            answer = await call(client, tool, **given)
            assert not answer.failed or answer.code == "kartra_error", answer.text
    assert len(lines(place, "intent")) == 2


@pytest.mark.parametrize("name", ["points given", "a sequence entry", "a tag"])
async def test_equal_calls_at_once_have_one_effect(each_store: Sandbox, name: str):
    """Bug: four equal calls within a millisecond had four effects."""
    tool, given, command = EVERY[name]
    each_store.arrange("fault", "set", command, "slow", "--message=0.3")
    codes: list[str] = []

    async def one() -> None:
        answer = await call(client, tool, **given)
        codes.append(answer.code if answer.failed else "done")

    async with connect(each_store, "legacy") as client:
        await client.list_tools()
        async with anyio.create_task_group() as calls:
            for _ in range(4):
                calls.start_soon(one)
    assert sorted(codes) == ["done", "in_progress", "in_progress", "in_progress"]
    assert len(lines(each_store, "intent")) == 1


OTHERS = {
    "other points": raw({**POINTS, "points": 11}),
    "another lead": raw(POINTS, id=48124),
    "another command": raw(TAKEN),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_a_different_write_is_not_the_same(place: Sandbox, name: str):
    async with connect(place, "legacy") as client:
        assert not (await call(client, RAW, **raw(POINTS))).failed
        other = await call(client, RAW, **OTHERS[name])
        assert not other.failed, other.text


SPELLINGS = {
    "a number as text": raw({**POINTS, "points": "10"}),
    "an id as text": raw(POINTS, id="48129"),
    "a form": {
        "method": "POST",
        "path": "/api",
        "form": {
            "lead": {"id": "48129"},
            "actions": [{"cmd": "give_points_to_lead", "points": "10"}],
        },
    },
    "a read in the chain": raw({"cmd": "search_lead"}, POINTS),
    "another write in the chain": raw(POINTS, TAGGED),
    "a chain whose second it is": raw(TAGGED, POINTS),
}


@pytest.mark.parametrize("name", SPELLINGS)
async def test_an_equal_write_is_known_in_every_spelling(place: Sandbox, name: str):
    async with connect(place, "legacy") as client:
        assert not (await call(client, RAW, **raw(POINTS))).failed
        second = await call(client, RAW, **SPELLINGS[name])
        assert (second.code, second.executed) == ("already_done", "no"), second.text
    assert len(lines(place, "intent")) == 1


async def test_an_action_and_its_raw_command_are_the_same_write(place: Sandbox):
    command = {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Win-back", "step": 1}
    async with connect(place, "legacy") as client:
        assert not (await call(client, "kartra_subscribe_lead_to_sequence", **ENTRY)).failed
        assert (await call(client, RAW, **raw(command))).code == "already_done"


@pytest.mark.parametrize("gate", ["allow", "flag"])
async def test_repeat_is_shown_under_every_gate(tmp_path, gate: str):
    """A tool that takes `repeat` takes the confirmation too, or the preview has no way back."""
    place = sandbox(tmp_path, GATE_DESTRUCTIVE=gate)
    async with connect(place, "legacy") as client:
        tools = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
        writes = [name for name, schema in tools.items() if "repeat" in schema["properties"]]
        assert "kartra_assign_tag" in writes
        assert "kartra_get_lead" not in writes
        for name in writes:
            own = {"confirm", "confirmation_id", "confirmation_summary"}
            assert own <= tools[name]["properties"].keys()
    async with connect(place, "legacy", elicitation_callback=Person()) as client:
        for _ in range(2):
            assert not (await call(client, RAW, **raw(POINTS), repeat=True)).failed
    assert [line["repeat"] for line in lines(place, "intent")] == [True, True]


# A chain is judged command by command.

EDITED = {"cmd": "edit_subscription", "subscription_id": 201, "subscription_amount": "29.00"}
LOOKED = {"cmd": "get_subscription_details", "subscription_id": 201}


async def test_a_declined_command_is_refused_in_every_chain(place: Sandbox):
    """Bug: a chain had one joined identity, so a declined edit ran next to a read."""
    no, before = Person("decline"), place.dump()
    async with connect(place, "legacy", elicitation_callback=no) as client:
        assert (await call(client, RAW, **raw(EDITED))).code == "declined"
        for chain in (raw(EDITED, LOOKED), raw(LOOKED, EDITED), raw(TAGGED, EDITED)):
            answer = await call(client, RAW, **chain)
            assert (answer.code, answer.executed) == ("declined", "no")
    assert len(no.asked) == 1
    assert place.dump() == before
    assert lines(place, "intent") == []


async def test_a_declined_chain_declines_each_of_its_commands(place: Sandbox):
    async with connect(place, "legacy", elicitation_callback=Person("decline")) as client:
        assert (await call(client, RAW, **raw(TAGGED, EDITED))).code == "declined"
        assert (await call(client, RAW, **raw(EDITED))).code == "declined"
        assert (await call(client, "kartra_assign_tag", **STATES["a tag"][1])).code == "declined"


async def test_an_unknown_command_is_refused_in_every_chain(place: Sandbox):
    place.settings["GATE_IRREVERSIBLE"] = "allow"
    place.arrange("fault", "set", "edit_subscription", "garbage", "--effect")
    async with connect(place, "legacy") as client:
        assert (await call(client, RAW, **raw(EDITED))).executed == "unknown"
        for chain in (raw(EDITED, LOOKED), raw(TAGGED, EDITED)):
            assert (await call(client, RAW, **chain)).code == "outcome_unknown"
    assert len(place.writes()) == 1


async def test_a_chain_counts_every_irreversible_command(place: Sandbox):
    """Bug: a chain of fifty counted once for the daily number."""
    place.settings |= {"GATE_IRREVERSIBLE": "allow", "CAP_DAY_COUNT": "4"}
    command = {"cmd": "edit_subscription", "subscription_id": 201}
    edits = [{**command, "subscription_product_quantity": n + 2} for n in range(5)]
    async with connect(place, "legacy") as client:
        five = await call(client, RAW, **raw(*edits))
        assert (five.code, five.error["detail"]["left"]) == ("cap_reached", "4")
        assert not (await call(client, RAW, **raw(*edits[:3]))).failed
        two = await call(client, RAW, **raw(*edits[3:]))
        assert (two.code, two.error["detail"]["left"]) == ("cap_reached", "1")
        assert not (await call(client, RAW, **raw(edits[3]))).failed


# A lead is one lead by id and by address, once it was read.


async def test_a_lead_by_id_and_by_address_is_one_once_it_was_read(place: Sandbox):
    """Bug: a lead named by id was another one than by its address."""
    async with connect(place, "legacy") as client:
        assert not (await call(client, "kartra_get_lead", lead_id=LEAD)).failed
        assert not (await call(client, RAW, **raw(POINTS))).failed
    async with connect(place, "legacy") as client:
        for address in (ADDRESS, ADDRESS.upper()):
            assert (await call(client, RAW, **raw(POINTS, email=address))).code == "already_done"
        tagged = {"tag_name": "VIP"}
        place.arrange("fault", "set", "assign_tag", "garbage", "--effect")
        assert (await call(client, "kartra_assign_tag", email=ADDRESS, **tagged)).failed
        byid = await call(client, "kartra_assign_tag", lead_id=LEAD, **tagged)
        assert byid.code == "outcome_unknown"


@pytest.mark.parametrize("name", ["points given", "points taken", "a booking", "a sequence entry"])
@pytest.mark.parametrize("by_address_first", [True, False])
async def test_an_additive_write_by_address_and_by_id_has_one_effect(
    place: Sandbox, name: str, *, by_address_first: bool
):
    """Bug: points by address and then by id had two effects, because the lead was never read."""
    tool, given, _ = ADDITIVE[name]
    other = (
        {**given, "json": {**dict(given["json"]), "lead": {"email": ADDRESS}}}
        if tool == RAW
        else {**{key: value for key, value in given.items() if key != "lead_id"}, "email": ADDRESS}
    )
    first, second = (other, given) if by_address_first else (given, other)
    async with connect(place, "legacy") as client:
        done = await call(client, tool, **first)
        assert not done.failed, done.text
    before = place.dump()
    async with connect(place, "legacy") as client:
        again = await call(client, tool, **second)
        assert (again.code, again.executed) == ("already_done", "no"), again.text
    assert place.dump() == before


async def test_a_lead_that_cannot_be_read_is_written_as_it_is_named(place: Sandbox):
    place.arrange("fault", "set", "get_lead", "internal", "--times=9")
    async with connect(place, "legacy") as client:
        assert not (await call(client, RAW, **raw(POINTS, email=ADDRESS))).failed
        assert (await call(client, RAW, **raw(POINTS, email=ADDRESS))).code == "already_done"


async def test_a_lead_whose_names_are_known_is_not_read_again(place: Sandbox):
    async with connect(place, "legacy") as client:
        assert not (await call(client, RAW, **raw(POINTS))).failed
        runs = len(place.runs())
        assert not (await call(client, RAW, **raw({**POINTS, "points": 11}))).failed
        assert len(place.runs()) == runs + 1


async def test_a_decline_holds_for_every_name_of_a_lead(place: Sandbox):
    place.settings["GATE_DESTRUCTIVE"] = "preview"
    tool, given = "kartra_unsubscribe_lead_from_list", {"list_name": "Weekly Letter"}
    before = place.dump()
    async with connect(place, "legacy", elicitation_callback=Person("decline")) as client:
        await call(client, "kartra_get_lead", email=ADDRESS)
        assert (await call(client, tool, email=ADDRESS, **given)).code == "declined"
        assert (await call(client, tool, lead_id=LEAD, **given)).code == "declined"
    assert (place.dump(), lines(place, "intent")) == (before, [])


async def test_the_ledger_keeps_no_address_of_a_lead_that_was_read(place: Sandbox):
    async with connect(place, "legacy") as client:
        await call(client, "kartra_get_lead", lead_id=LEAD)
    found = changed(place, "SELECT target, lead_id FROM leads")
    assert len(found) == 1
    assert found[0][1] == str(LEAD)
    assert "new@" not in found[0][0]
    assert "example" not in found[0][0]
