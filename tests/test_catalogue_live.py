"""The list of actions while it lives: from disk, refreshed behind, announced, in any paging."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial

import anyio
import pytest
from harness import (
    CONNECTION,
    SHORT,
    StandIn,
    action,
    both_eras,
    call,
    connect,
    connect_stdio,
    healthy,
)
from list_changes import listening
from polling import until

from kartra_mcp.account.refresher import REFRESH_TIMEOUT
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.core.timings import CallTimings

pytestmark = pytest.mark.anyio

DEAD = {"err": "the network is down", "exit": 1}
IMPATIENT = replace(SHORT, first_list=0.2)


async def names_of(client):
    """The names of the actions' tools, on the one page that there is, as they are listed."""
    page = await client.list_tools(cache_mode="bypass")
    assert page.next_cursor is None
    return [tool.name for tool in page.tools if tool.name not in BUILTIN_TOOLS]


def keys(*names):
    return [action(name) for name in names]


def listed(*names, **more):
    return {"action_list": {"out": {"items": keys(*names), **more}}}


@pytest.fixture
def place(fake_membrane: StandIn) -> StandIn:
    return fake_membrane.plan(**healthy(*keys("get-lead", "assign-tag")))


async def save(place, era="legacy"):
    async with connect(place, era) as client:
        return await names_of(client)


BOTH = {"in memory": connect, "over stdio": connect_stdio}


@pytest.mark.parametrize("opened", BOTH.values(), ids=BOTH)
@both_eras
async def test_served_from_disk_refreshed_behind_and_announced(place, protocol_version, opened):
    saved = await save(place)
    place.plan(**listed("get-lead", "assign-tag", "create-lead"))
    async with listening(opened, place, protocol_version) as (client, heard):
        assert await names_of(client) == saved
        await heard.wait()
        assert await names_of(client) == ["kartra_assign_tag", "kartra_create_lead", *saved[1:]]
    assert heard.count == 1


@both_eras
async def test_an_unchanged_list_is_not_announced(place, protocol_version):
    await save(place)
    async with listening(connect, place, protocol_version) as (client, heard):
        saved = len(place.started())
        await names_of(client)
        await until(lambda: len(place.started()) == saved + 3)
        await call(client, "kartra_status")
        assert heard.count == 0


@both_eras
async def test_a_first_list_is_not_followed_by_an_announcement_of_itself(place, protocol_version):
    """A client on mcp 1.30 that closes right after its first list died of it."""
    async with listening(connect, place, protocol_version) as (client, heard):
        assert await names_of(client) == ["kartra_assign_tag", "kartra_get_lead"]
        await call(client, "kartra_status")
        assert heard.count == 0
        place.plan(**listed("get-lead", "assign-tag", "create-lead"))
        await call(client, "kartra_status")
        await heard.wait()
    assert heard.count == 1


async def test_a_list_that_cannot_be_refreshed_stays_and_is_marked_stale(place, protocol_version):
    saved = await save(place)
    place.plan(connection_list=DEAD, action_list=DEAD)
    async with connect(place, protocol_version) as client:
        assert await names_of(client) == saved
        status = (await call(client, "kartra_status")).result
        assert status["actions"]["stale"] is True
        assert status["actions"]["number"] == 2
        assert status["problems"][0]["remedy"]
        assert await names_of(client) == saved
        assert not (await call(client, "kartra_get_lead")).failed
        write = await call(client, "kartra_assign_tag")
        assert (write.failed, write.executed) == (True, "no")
        place.plan(**healthy(*keys("get-lead", "assign-tag")))
        status = (await call(client, "kartra_status")).result
        assert (status["actions"]["stale"], status["healthy"]) == (False, True)
    assert [words[2] for words in place.runs()] == ["id-get-lead"]


async def test_a_list_that_comes_back_empty_for_an_account_that_is_lost_keeps_the_saved(place):
    saved = await save(place)
    place.plan(connection_list={"out": {"items": []}})
    async with connect(place, "legacy") as client:
        await call(client, "kartra_status")
        assert await names_of(client) == saved


async def test_the_first_list_waits_for_a_slow_program(place, protocol_version):
    place.plan(action_list={"gate": "open", **listed("get-lead")["action_list"]})
    got = []

    async def list_tools(client):
        got.extend(await names_of(client))

    async with connect(place, protocol_version) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(list_tools, client)
        await until(lambda: any(words[:2] == ["action", "list"] for words in place.started()))
        assert got == []
        (place.folder / "open").touch()
    assert got == ["kartra_get_lead"]


async def test_two_first_lists_ask_once(place, protocol_version):
    async with connect(place, protocol_version) as client, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(names_of, client)
    assert sorted(words[0] for words in place.started()) == ["--version", "action", "connection"]


async def test_a_cancelled_first_list_does_not_cost_the_next(place, protocol_version):
    place.plan(action_list={"gate": "open", **listed("get-lead")["action_list"]})
    async with connect(place, protocol_version) as client:
        with anyio.move_on_after(0.5):
            await names_of(client)
        (place.folder / "open").touch()
        assert await names_of(client) == ["kartra_get_lead"]


async def test_the_order_does_not_depend_on_the_list_nor_on_the_start(place, protocol_version):
    place.plan(**listed("b", "a", "c", "twice"))
    first = await save(place, protocol_version)
    place.plan(**listed("c", "twice", "a", "b"))
    async with connect(place, protocol_version) as client:
        await call(client, "kartra_status")
        assert await names_of(client) == first == sorted(first)


async def test_colliding_names_keep_their_suffixes_in_any_order(place):
    twins = [{**action("twice"), "id": "one"}, {**action("twice"), "id": "two"}]
    seen = []
    for items in (twins, twins[::-1]):
        place.plan(action_list={"out": {"items": items}})
        async with connect(place, "legacy") as client:
            await call(client, "kartra_status")
            seen.append(await names_of(client))
    assert seen[0] == seen[1]
    assert all(re.fullmatch(r"kartra_twice_[0-9a-f]{6}", name) for name in seen[0])


async def test_a_write_waits_for_the_refresh_and_a_read_does_not(place):
    await save(place)
    place.plan(connection_list={"gate": "open", "out": {"items": [CONNECTION]}})
    answers = {}

    async def do(client, tool):
        answers[tool] = await call(client, tool)

    async with connect(place, "legacy") as client, anyio.create_task_group() as tasks:
        tasks.start_soon(do, client, "kartra_assign_tag")
        assert not (await call(client, "kartra_get_lead")).failed
        assert answers == {}
        assert [words[2] for words in place.runs()] == ["id-get-lead"]
        (place.folder / "open").touch()
    assert not answers["kartra_assign_tag"].failed
    assert len(place.runs()) == 2


async def test_a_write_is_judged_by_the_list_that_the_refresh_brought(place, protocol_version):
    place.plan(**listed("get-lead", "make-thing"))
    open_schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    place.plan(action_list={"out": {"items": [action("make-thing", inputSchema=open_schema)]}})
    await save(place)
    closed = {"type": "object", "properties": {"title": {"type": "string"}}}
    place.plan(action_list={"out": {"items": [action("make-thing", inputSchema=closed)]}})
    async with connect(place, protocol_version) as client:
        answer = await call(client, "kartra_make_thing", name="x", confirm=True)
        assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert place.runs() == []


async def test_a_write_to_an_action_that_is_gone_is_refused(place, protocol_version):
    await save(place)
    place.plan(**listed("get-lead"))
    async with connect(place, protocol_version) as client:
        answer = await call(client, "kartra_assign_tag")
        assert (answer.code, answer.executed) == ("unknown_tool", "no")
    assert place.runs() == []


# ── All that installed programs make of our flags ──

MANY = [f"get-{number:03}" for number in range(25)]
USAGE = {"err": "Unknown option: --limit\n", "exit": 2}


def only(*names, **more):
    return {"out": {"items": keys(*names), **more}}


BY_INTENT = {
    "action list --connectionId=c1 --intent": only(*MANY[:5]),
    "action list --connectionId=c1 --intent=get": only(*MANY[3:13]),
    "action list --connectionId=c1 --intent=refund": only(*MANY[10:20]),
    "action list --connectionId=c1 --intent=send": only(*MANY[15:]),
}

PAGING = {
    "one page": ({"action list": only(*MANY)}, MANY, True),
    "wrapped in output": ({"action list": {"out": {"output": only(*MANY)["out"]}}}, MANY, True),
    "a bare list": ({"action list": {"out": keys(*MANY)}}, MANY, True),
    "behind warnings": (
        {
            "action list": {
                "out": "\x1b[33mDEPRECATED\x1b[0m use x\n" + json.dumps(only("a")["out"])
            }
        },
        ["a"],
        True,
    ),
    "three pages": (
        {
            "action list": [
                only(*MANY[:10], cursor="p2"),
                only(*MANY[10:20], cursor="p3"),
                only(*MANY[20:]),
            ]
        },
        MANY,
        True,
    ),
    "a page that repeats": (
        {"action list": only(*MANY[:5], cursor="p2")},
        MANY[:5],
        False,
    ),
    "exactly 10": ({"action list": only(*MANY[:10])}, MANY[:10], False),
    "no --limit": ({"action list": [USAGE, only(*MANY)]}, MANY, True),
    "no --limit and exactly 10": (
        {
            "action list --connectionId=c1 --limit": USAGE,
            "action list --connectionId=c1 --json": only(*MANY[:10]),
            **BY_INTENT,
        },
        MANY,
        False,
    ),
    "no list without an intent": (
        {
            "action list --connectionId=c1 --limit": USAGE,
            "action list --connectionId=c1 --json": USAGE,
            **BY_INTENT,
        },
        MANY,
        False,
    ),
    "no list without an intent, and some intents fail": (
        {
            "action list --connectionId=c1 --limit": USAGE,
            "action list --connectionId=c1 --json": USAGE,
            **BY_INTENT,
            "action list --connectionId=c1 --intent=products": {"err": "oops", "exit": 1},
        },
        MANY,
        False,
    ),
}


@pytest.mark.parametrize("name", PAGING)
async def test_every_action_is_listed_however_the_program_pages(place, name):
    plan, expected, complete = PAGING[name]
    place.plan(**plan)
    async with connect(place, "legacy") as client:
        assert await names_of(client) == [f"kartra_{key.replace('-', '_')}" for key in expected]
        status = (await call(client, "kartra_status")).result
    assert status["actions"]["complete"] is complete
    assert sum("--intent=" in " ".join(words) for words in place.started()) <= 24


@pytest.mark.parametrize("habit", ["normal", "ten", "repeat", "refuse"])
async def test_the_sandbox_as_older_programs_list(sandbox, habit):
    sandbox.settings["COMMANDS"] = "off"
    sandbox.arrange("actions", "paging", habit)
    async with connect(sandbox, "legacy") as client:
        names = await names_of(client)
    assert len(names) == len(set(names)) == 20
    searches = sum("--intent=" in " ".join(words) for words in sandbox.started())
    assert searches <= 12


async def test_one_bad_entry_never_costs_the_list(place, protocol_version):
    bad = [None, 5, "x", [], {}, {"id": ""}, {"id": 7}, {"id": "--json"}, {"id": "n", "key": []}]
    monsters = [
        action("deep", inputSchema={"type": "object", "properties": {"a": nested(40)}}),
        action("odd", inputSchema="no schema"),
        action("broken", inputSchema={"type": "strnig", "properties": 5, "required": "x"}),
        action("huge", description="x" * 100_000, inputSchema=wide(5000)),
    ]
    place.settings["EXPOSE"] = "all"
    place.plan(action_list={"out": {"items": [*bad, *monsters, *keys("get-lead")]}})
    async with connect(place, protocol_version) as client:
        names = await names_of(client)
        status = (await call(client, "kartra_status")).result
    assert {"kartra_get_lead", "kartra_odd", "kartra_broken", "kartra_huge"} <= set(names)
    assert len(status["actions"]["left_out"]) >= len(bad) - 1


def nested(levels):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def wide(count):
    return {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(count)}}


# ── Lists that came late, or not whole ──


async def test_a_refresh_whose_searches_failed_replaces_no_fuller_list(place, protocol_version):
    by_intent = {k.replace("=c1 ", "=c1 --limit=1000 "): v for k, v in BY_INTENT.items()}
    place.plan(**{"action list": only(*MANY[:10]), **by_intent})
    assert await save(place) == [f"kartra_{key.replace('-', '_')}" for key in MANY]
    for begin in by_intent:
        place.plan(**{begin: {"err": "ECONNRESET", "exit": 1}})
    async with connect(place, protocol_version) as client:
        status = (await call(client, "kartra_status")).result
        assert len(await names_of(client)) == len(MANY)
        assert (status["actions"]["complete"], status["healthy"]) == (False, False)
        (problem,) = status["problems"]
        assert problem["code"] == "catalogue_unavailable"
        assert problem["remedy"]
        assert not (await call(client, "kartra_get_024", confirm=True)).failed
    async with connect(place, protocol_version) as client:
        assert len(await names_of(client)) == len(MANY)
        place.plan(**{"action list": only(*MANY[:5]), **dict.fromkeys(by_intent, only())})
        status = (await call(client, "kartra_status")).result
        assert (status["actions"]["number"], status["healthy"]) == (5, True)


async def test_a_list_that_comes_after_the_first_wait_is_still_served(place, protocol_version):
    assert CallTimings().first_list < REFRESH_TIMEOUT
    place.plan(action_list={"gate": "open", **listed("get-lead")["action_list"]})
    soon = partial(connect, timings=IMPATIENT)
    async with listening(soon, place, protocol_version) as (client, heard):
        assert await names_of(client) == []
        (place.folder / "open").touch()
        await heard.wait()
        assert await names_of(client) == ["kartra_get_lead"]


async def test_a_version_that_hangs_does_not_prevent_the_list(place, protocol_version):
    place.plan(**{"--version": {"hang": True}})
    async with connect(place, protocol_version, timings=replace(SHORT, probe=0.5)) as client:
        assert await names_of(client) == ["kartra_assign_tag", "kartra_get_lead"]
        status = (await call(client, "kartra_status")).result
        assert (status["program"]["is_membrane"], status["healthy"]) == ("yes", True)
        assert not (await call(client, "kartra_assign_tag")).failed


@pytest.mark.parametrize("verb", ["connection list", "action list"])
async def test_while_nothing_was_listed_a_call_says_so_and_not_unknown_tool(
    place, protocol_version, verb
):
    place.settings = {"TIMEOUT": "1"}
    place.plan(**{verb: {"hang": True}})
    # The client lists before its first call.
    async with connect(place, protocol_version, timings=IMPATIENT) as client:
        for tool in ("kartra_get_lead", "kartra_assign_tag"):
            answer = await call(client, tool)
            assert (answer.code, answer.executed) == ("catalogue_unavailable", "no")
        status = (await call(client, "kartra_status")).result
        assert (status["healthy"], status["login"]) == (False, "unknown")
        assert status["problems"][0]["code"] == "catalogue_unavailable"
    assert place.runs() == []
