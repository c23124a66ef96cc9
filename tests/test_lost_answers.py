"""Answers that were lost: a write is unknown and never started again; nothing is left running."""

from __future__ import annotations

import anyio
import pytest
from harness import CONNECTION, StandIn, action, both_eras, call, connect, connect_stdio, healthy
from polling import PROMPTLY, gone, until

pytestmark = pytest.mark.anyio

READ, WRITE, REFUND = "kartra_get_lead", "kartra_assign_tag", "kartra_refund_transaction"
REFUNDED = {"type": "object", "properties": {"transaction_id": {"type": "integer"}}}
AGREED = {"transaction_id": 101, "confirm": True}
RAW_WRITE = {
    "method": "POST",
    "path": "/api",
    "json": {"actions": [{"cmd": "assign_tag", "tag_name": "VIP"}], "lead": {"id": 48110}},
    "confirm": True,
}
RAW_READ = {"method": "POST", "path": "/api", "json": {"get_lead": {"id": 48110}}}
SHORT = {"TIMEOUT": "2"}
GONE_WITHIN = PROMPTLY

DEATH = {"signal": 9}
LOST = {
    "it hangs": ({"hang": True}, "timed_out"),
    "it hangs with a grandchild": ({"hang": True, "child": True}, "timed_out"),
    "it exits 1 and says nothing": ({"exit": 1}, "membrane_error"),
    "it exits 1 and mumbles": ({"exit": 1, "err": "Error: oops"}, "membrane_error"),
    "it exits 137, as if killed": ({"exit": 137}, "membrane_error"),
    "it is killed": (DEATH, "membrane_error"),
    "it prints nothing": ({}, "unreadable_answer"),
    "it prints garbage": ({"out": "<html>502 Bad Gateway</html>"}, "unreadable_answer"),
    "it prints half an answer": ({"out": '{"output": {"status": "Succ'}, "unreadable_answer"),
    "it prints a success and then fails": (
        {"out": {"output": {"status": "Success"}}, "exit": 1},
        "membrane_error",
    ),
    "it prints too much": ({"flood": True}, "unreadable_answer"),
    "an internal error": (
        {"out": {"type": "internal", "message": "Something went wrong"}, "exit": 1},
        "membrane_error",
    ),
    "a lock": (
        {"out": {"type": "concurrency", "key": "lock_timeout", "message": "locked"}, "exit": 1},
        "membrane_error",
    ),
    "an error of a kind that nobody listed": (
        {"out": {"error": {"type": "volcano", "message": "erupted"}}, "exit": 1},
        "membrane_error",
    ),
    "an error text without a type": ({"out": {"error": "boom"}, "exit": 0}, "membrane_error"),
}


BY_EACH_TRANSPORT = pytest.mark.parametrize(
    ("transport", "name"),
    [
        (transport, name)
        for transport in ("cli", "api")
        for name, (step, _) in LOST.items()
        if transport == "cli" or "child" not in step
    ],
)
"""Every loss; Membrane's API starts no grandchild."""


def membrane(kind, key):
    return {"out": {"type": kind, "key": key, "message": "turned away"}, "exit": 1}


PROVEN = {
    "not authenticated": (membrane("bad_request", "not_authenticated"), "not_logged_in"),
    "access denied": (membrane("bad_request", "access_denied"), "membrane_error"),
    "not found": (membrane("bad_request", "not_found"), "membrane_error"),
    "input refused": (membrane("bad_request", "validation_error"), "membrane_error"),
    "too many calls": (membrane("bad_request", "rate_limit_exceeded"), "rate_limited"),
    "the same on stderr": (
        {"err": '{"type":"bad_request","key":"not_found","message":"x"}', "exit": 1},
        "membrane_error",
    ),
    "the same deeper down": (
        {
            "out": {
                "type": "action_run",
                "message": "failed",
                "causedByError": {"type": "bad_request", "key": "not_found", "message": "x"},
            },
            "exit": 1,
        },
        "membrane_error",
    ),
    "an error of Kartra's that says so": (
        {
            "out": {
                "output": {
                    "status": "Success",
                    "actions": [{"assign_tag": {"status": "Error", "type": "212"}}],
                }
            }
        },
        "kartra_error",
    ),
}


@pytest.fixture
def place(any_transport_fake: StandIn) -> StandIn:
    return planned(any_transport_fake)


@pytest.fixture
def program(fake_membrane: StandIn) -> StandIn:
    return planned(fake_membrane)


def planned(stand_in: StandIn) -> StandIn:
    kinds = [
        action("get-lead"),
        action("assign-tag"),
        action("refund-transaction", inputSchema=REFUNDED),
    ]
    return stand_in.plan(**healthy(*kinds))


@BY_EACH_TRANSPORT
@pytest.mark.usefixtures("real_processes")
async def test_a_write_whose_answer_is_lost_is_unknown_and_not_repeated(place, name):
    step, code = LOST[name]
    place.plan(action_run=step, request=step).settings = SHORT if "hang" in step else {}
    async with connect(place, "legacy") as client:
        await client.list_tools()
        answer = await call(client, WRITE)
        assert (answer.code, answer.executed) == (code, "unknown")
        (line,) = (await call(client, "kartra_ledger")).result["lines"]
        assert (
            f"Call kartra_reconcile with the intent {line['intent']} to settle it."
            in answer.error["remedy"]
        )
        assert len(place.runs()) == 1
        raw = await call(client, "kartra_proxy_write", **RAW_WRITE)
        assert (raw.code, raw.executed) == (code, "unknown")
        assert len(place.runs()) == 2
    assert all(map(gone, place.pids()))


@BY_EACH_TRANSPORT
@pytest.mark.usefixtures("real_processes")
async def test_a_read_whose_answer_is_lost_did_nothing(place, name):
    step, code = LOST[name]
    place.plan(action_run=step, request=step).settings = SHORT if "hang" in step else {}
    async with connect(place, "2026-07-28") as client:
        await client.list_tools()
        answer = await call(client, READ)
        assert (answer.code, answer.executed) == (code, "no")
        raw = await call(client, "kartra_proxy_read", **RAW_READ)
        assert (raw.code, raw.executed) == (code, "no")
    assert all(map(gone, place.pids()))


@pytest.mark.parametrize("tool", [WRITE, REFUND])
@pytest.mark.parametrize("name", PROVEN)
async def test_what_is_proven_not_to_have_run_is_a_no(place, tool, name):
    step, code = PROVEN[name]
    if tool == REFUND:
        step = refund_of(step)
    place.plan(action_run=step)
    async with connect(place, "2026-07-28") as client:
        given = AGREED if tool == REFUND else {}
        answer = await call(client, tool, **given)
        assert (answer.code, answer.executed) == (code, "no")
    if tool == REFUND:
        assert len(place.runs()) == 1


def refund_of(step):
    """The same step with an answer of the refund's own."""
    inner = step.get("out")
    if isinstance(inner, dict) and "output" in inner:
        failed = {"refund_transaction": {"status": "Error", "type": "247"}}
        return {"out": {"output": {"status": "Success", "actions": [failed]}}}
    return step


@both_eras
async def test_a_refund_that_kartra_does_not_list_is_unknown(place, protocol_version):
    failed = {"refund_transaction": {"status": "Error", "type": "266", "message": "failed"}}
    place.plan(action_run={"out": {"output": {"status": "Success", "actions": [failed]}}})
    async with connect(place, protocol_version) as client:
        answer = await call(client, REFUND, **AGREED)
    assert (answer.code, answer.executed) == ("kartra_error", "unknown")
    assert len(place.runs()) == 1


async def test_a_chain_that_was_done_in_part_is_a_yes(place):
    place.plan(
        request={
            "out": {
                "status": 200,
                "headers": {},
                "body": {
                    "status": "Success",
                    "actions": [
                        {"assign_tag": {"status": "Success"}},
                        {"subscribe_lead_to_list": {"status": "Error", "type": "231"}},
                    ],
                },
            }
        }
    )
    async with connect(place, "legacy") as client:
        answer = await call(client, "kartra_proxy_write", **RAW_WRITE)
    assert (answer.code, answer.executed) == ("kartra_error", "yes")
    assert answer.error["detail"]["done"] == ["assign_tag"]


# ── Cancelled ──

OPENED = {"in memory": connect, "over stdio": connect_stdio}


async def cancel(client, program, tool, **arguments):
    """Cancel a call once its program runs, and its grandchild too."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call_it, client, tool, arguments)
        await until((program.folder / "children").exists)
        tasks.cancel_scope.cancel()


async def call_it(client, tool, arguments):
    await client.call_tool(tool, arguments)


@pytest.mark.parametrize("tool", [READ, WRITE])
@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
@both_eras
@pytest.mark.usefixtures("real_processes")
async def test_a_cancelled_call_leaves_nothing_running(program, protocol_version, tool, opened):
    program.plan(action_run={"hang": True, "child": True})
    async with opened(program, protocol_version) as client:
        await client.list_tools()
        await cancel(client, program, tool)
        await until(lambda: all(map(gone, program.pids())), within=GONE_WITHIN)
        program.plan(action_run={"out": {"output": 1}})
        assert (await call(client, READ)).result == 1
    assert len(program.runs()) == 2


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
@both_eras
@pytest.mark.usefixtures("real_processes")
async def test_a_cancelled_irreversible_call_that_has_started_finishes(
    program, protocol_version, opened
):
    program.plan(action_run={"gate": "open", "child": True, "done": "done"})
    async with opened(program, protocol_version) as client, anyio.create_task_group() as tasks:
        await client.list_tools()
        calling = anyio.CancelScope()
        tasks.start_soon(call_in, calling, client, REFUND)
        await until((program.folder / "children").exists)
        calling.cancel()
        await client.list_tools(cache_mode="bypass")  # answered after the cancellation was heard
        assert not any(map(gone, running(program)))
        (program.folder / "open").touch()
        await until((program.folder / "done").exists)
        await until(lambda: all(map(gone, program.pids())))
    assert len(program.runs()) == 1


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
@both_eras
async def test_a_call_that_is_cancelled_before_it_started_never_starts(
    program, protocol_version, opened
):
    program.plan(connection_list={"gate": "open", "out": {"items": [CONNECTION]}})
    async with opened(program, protocol_version) as client, anyio.create_task_group() as tasks:
        calling = anyio.CancelScope()
        tasks.start_soon(call_in, calling, client, REFUND)
        await until(lambda: ["connection", "list", "--json"] in program.started())
        calling.cancel()
        await until(lambda: calling.cancelled_caught)
        (program.folder / "open").touch()
        await client.list_tools(cache_mode="bypass")
        await call(client, "kartra_status")
    assert program.runs() == []


async def call_in(scope, client, tool):
    with scope:
        await client.call_tool(tool, AGREED)


def running(program):
    return [pid for pid, words in program.log() if words[:2] == ["action", "run"]]
