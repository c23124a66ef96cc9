"""The server as a real process: answers reach their callers, stdout is clean, it always ends."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from fork_server import forked
from harness import Sandbox, StandIn, action, both_eras, call, connect, connect_stdio, healthy
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, KNOWN_PROTOCOL_VERSIONS
from polling import PROMPTLY, gone, until

pytestmark = pytest.mark.anyio

CALLS, AT_ONCE, SEED = 200, 50, 20261123
GONE_WITHIN = PROMPTLY
MODERN = "2026-07-28"
LATEST_OLD = HANDSHAKE_PROTOCOL_VERSIONS[-1]


def descendants(pid: int) -> list[int]:
    """The processes below this one that still run."""
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):  # it ended meanwhile
            for child in map(int, (thread / "children").read_text().split()):
                found += [child, *descendants(child)]
    return [child for child in found if not gone(child)]


@pytest.fixture
def echo(fake_membrane: StandIn) -> StandIn:
    """A program whose answer is the words of its start; a listing that is a list."""
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    actions = [action("get-lead", inputSchema=schema), action("assign-tag", inputSchema=schema)]
    fake_membrane.settings |= {"MAX_CHILDREN": "8", "RATE": "0"}
    plan = {**healthy(*actions), "action run": {"out": {"output": "$words"}}}
    return fake_membrane.plan(**plan)


@both_eras
async def test_every_answer_reaches_its_own_caller_and_nothing_is_left(echo, protocol_version):
    dice = random.Random(SEED)
    numbers = iter(range(CALLS))
    answered, cancelled, mixed = set(), set(), {}

    async def one_after_another(client):
        for number in numbers:
            tool = dice.choice(["kartra_get_lead", "kartra_assign_tag"])
            with anyio.move_on_after(dice.choice([0.001, 0.02, 0.2, 60, 60, 60, 60])) as scope:
                words = (await call(client, tool, id=number)).result
                if f'--input={{"id":{number}}}' not in words:
                    mixed[number] = words
                answered.add(number)
            if scope.cancelled_caught:
                cancelled.add(number)

    async with connect_stdio(echo, protocol_version) as client:
        await client.list_tools()
        server = descendants(os.getpid())
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(one_after_another, client)
        last = await call(client, "kartra_get_lead", id=CALLS)
        assert '--input={"id":200}' in last.result
        await until(lambda: set(descendants(os.getpid())) <= set(server), within=GONE_WITHIN)
    assert mixed == {}
    assert answered | cancelled == set(range(CALLS))
    assert len(answered) > CALLS / 3
    assert cancelled
    await until(lambda: all(map(gone, echo.pids())), within=GONE_WITHIN)


@both_eras
async def test_one_real_process_does_the_work_of_the_account(sandbox: Sandbox, protocol_version):
    async with connect_stdio(sandbox, protocol_version) as client:
        assert (await call(client, "kartra_status")).result["account"] == "SANDBOX"
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "kartra_refund_transaction" in names
        refund = {"transaction_id": "101", "confirm": True}
        assert not (await call(client, "kartra_refund_transaction", **refund)).failed
        again = await call(client, "kartra_refund_transaction", **refund)
        assert (again.code, again.executed) == ("already_done", "no")
    assert sandbox.rows("SELECT cents FROM transactions WHERE parent_id = 101") == [(9700,)]


# ── The raw pipe ──


class Raw:
    """The server's process and its three pipes, with every line of stdout kept."""

    def __init__(self, process):
        self.process = process
        self.out = BufferedByteReceiveStream(process.stdout)
        self.lines = []

    async def send(self, **message):
        await self.send_bytes(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def send_bytes(self, raw):
        await self.process.stdin.send(raw)

    async def line(self):
        with anyio.fail_after(40):
            raw = await self.out.receive_until(b"\n", 1_000_000)
        self.lines.append(raw)
        return json.loads(raw)

    async def answer(self, identity):
        while True:
            message = await self.line()
            if message.get("id") == identity:
                return message

    async def rest(self):
        """Return the rest of stdout until it closes."""
        with anyio.fail_after(40):
            raw = b""
            try:
                while True:
                    raw += await self.out.receive()
            except anyio.EndOfStream:
                pass
        self.lines += raw.splitlines()
        return [json.loads(line) for line in raw.splitlines()]

    async def ends(self):
        with anyio.fail_after(GONE_WITHIN):
            return await self.process.wait()

    async def open(self, version):
        if version == MODERN:
            await self.send(id=0, method="server/discover", params={"_meta": meta()})
            return await self.answer(0)
        await self.send(id=0, method="initialize", params=hello(version))
        answer = await self.answer(0)
        await self.send(method="notifications/initialized")
        return answer

    async def call(self, identity, version, tool, **arguments):
        params = {"name": tool, "arguments": arguments}
        more = {"_meta": meta()} if version == MODERN else {}
        await self.send(id=identity, method="tools/call", params={**params, **more})


def hello(version):
    client = {"name": "pipe", "version": "1"}
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": client}


def meta():
    prefix = "io.modelcontextprotocol"
    return {
        f"{prefix}/protocolVersion": MODERN,
        f"{prefix}/clientInfo": {"name": "pipe", "version": "1"},
        f"{prefix}/clientCapabilities": {},
    }


@asynccontextmanager
async def raw_server(place, *python):
    """Run the server; with a Python given, by that, and else in the fork server."""
    words = ("-m", "kartra_mcp", "serve")
    command = [*python, *words] if python else forked(*words)
    process = await anyio.open_process(
        command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=place.environment
    )
    try:
        yield Raw(process)
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


@pytest.mark.parametrize("version", [LATEST_OLD, MODERN])
async def test_nothing_but_json_rpc_is_on_stdout(echo, version):
    echo.plan(action_run={"out": {"output": "$words"}, "err": "noise on stderr\n"})
    async with raw_server(echo, sys.executable) as server:
        await server.send_bytes(b"\n\xff\xfe not json\n[]\n")
        await server.open(version)
        for number in range(10):
            await server.call(number + 1, version, "kartra_get_lead", id=number + 1)
        await server.call(11, version, "kartra_nothing")
        await server.send(id=12, method="no/such", params={"_meta": meta()})
        seen = {0}
        while seen < set(range(13)):
            seen.add((await server.line()).get("id"))
        await close(server)
        await server.rest()
        assert await server.ends() == 0
    for raw in server.lines:
        assert b"\r" not in raw
        assert json.loads(raw)["jsonrpc"] == "2.0"


@pytest.mark.parametrize("version", [LATEST_OLD, MODERN])
async def test_the_first_answer_comes_before_any_program_is_started(echo, version):
    hang = {"hang": True}
    echo.plan(**{"--version": hang, "connection list": hang, "action list": hang})
    async with raw_server(echo, sys.executable) as server:
        answer = await server.open(version)
        assert "tools" in answer["result"]["capabilities"]
        assert echo.started() == []


@pytest.mark.parametrize("version", KNOWN_PROTOCOL_VERSIONS)
async def test_every_revision_is_spoken(echo, version):
    async with raw_server(echo) as server:
        result = (await server.open(version))["result"]
        spoken = result["supportedVersions"] if version == MODERN else [result["protocolVersion"]]
        assert version in spoken
        await server.call(1, version, "kartra_get_lead", id=7)
        result = (await server.answer(1))["result"]
        assert "isError" not in result or result["isError"] is False
        assert '--input={\\"id\\":7}' in result["content"][0]["text"]


async def test_an_unknown_revision_gets_the_latest_that_has_a_handshake(echo):
    async with raw_server(echo) as server:
        result = (await server.open("1999-01-01"))["result"]
        assert result["protocolVersion"] == LATEST_OLD


async def close(server):
    await server.process.stdin.aclose()


async def terminate(server):
    server.process.send_signal(signal.SIGTERM)


async def interrupt(server):
    server.process.send_signal(signal.SIGINT)


ENDS = {
    "EOF": (close, LATEST_OLD),
    "EOF, new era": (close, MODERN),
    "SIGTERM": (terminate, LATEST_OLD),
    "SIGTERM, new era": (terminate, MODERN),
    "SIGINT": (interrupt, LATEST_OLD),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("tool", "python"), [("kartra_assign_tag", [sys.executable]), ("kartra_refund", [])]
)
async def test_it_is_gone_within_two_seconds_with_a_call_that_runs(echo, end, tool, python):
    ending, version = ENDS[end]
    sale = {"type": "object", "properties": {"transaction_id": {"type": "string"}}}
    actions = [action("assign-tag"), action("refund", inputSchema=sale)]
    echo.plan(action_list={"out": {"items": actions}}, action_run={"hang": True, "child": True})
    async with raw_server(echo, *python) as server:
        await server.open(version)
        agreed = {"transaction_id": "101", "confirm": True}
        consent = agreed if tool == "kartra_refund" else {}
        await server.call(1, version, tool, **consent)
        await until((echo.folder / "children").exists)
        await ending(server)
        assert await server.ends() == 0
        await until(lambda: all(map(gone, echo.pids())), within=GONE_WITHIN)
    assert left_in(echo.environment["KARTRA_MCP_STATE_DIR"]) == []


def left_in(folder):
    return list(Path(folder).glob("work-*"))


@both_eras
async def test_it_ends_while_the_first_list_waits(echo, protocol_version):
    echo.plan(action_list={"hang": True, "child": True})
    async with raw_server(echo) as server:
        await server.open(LATEST_OLD if protocol_version == "legacy" else protocol_version)
        params = {} if protocol_version == "legacy" else {"_meta": meta()}
        await server.send(id=1, method="tools/list", params=params)
        await until((echo.folder / "children").exists)
        await close(server)
        assert await server.ends() == 0
        await until(lambda: all(map(gone, echo.pids())), within=GONE_WITHIN)


BOUND = 4 * 1024 * 1024
LARGE_TEXTS = {
    "in characters": "x" * BOUND,
    "only in bytes": "é" * (BOUND // 2),
    "in values": [0] * 100_001,
}


@pytest.mark.parametrize("version", [LATEST_OLD, MODERN])
@pytest.mark.parametrize("large", LARGE_TEXTS.values(), ids=LARGE_TEXTS)
async def test_a_call_above_the_bound_in_bytes_is_answered_by_a_tool_error(echo, version, large):
    arguments = {"name": "kartra_get_lead", "arguments": {"email": large}, "_meta": meta()}
    request = {"method": "tools/call", "params": arguments, "jsonrpc": "2.0", "id": "last"}
    async with raw_server(echo) as server:
        await server.open(version)
        await server.send_bytes(json.dumps(request, ensure_ascii=False).encode() + b"\n")
        result = (await server.answer("last"))["result"]
        error = json.loads(result["content"][0]["text"])["error"]
        assert result["isError"] is True
        assert (error["code"], error["executed"]) == ("input_too_large", "no")
        assert echo.runs() == []
        await server.call(1, version, "kartra_get_lead", id=7)
        assert '--input={\\"id\\":7}' in json.dumps(await server.answer(1))


async def test_a_malformed_response_ends_the_question_that_it_answers(sandbox):
    sandbox.settings["GATE_IRREVERSIBLE"] = "human"
    able = {**hello(LATEST_OLD), "capabilities": {"elicitation": {}}}
    async with raw_server(sandbox) as server:
        await server.send(id=0, method="initialize", params=able)
        await server.answer(0)
        await server.send(method="notifications/initialized")
        await server.call(1, LATEST_OLD, "kartra_refund_transaction", transaction_id="101")
        question = await server.line()
        assert question["method"] == "elicitation/create"
        await server.send(id=question["id"], result="yes")
        answer = await server.answer(1)
    error = json.loads(answer["result"]["content"][0]["text"])["error"]
    assert (error["code"], error["executed"]) == ("approval_required", "no")
    assert {"id": None, "code": -32600} in errors(server)


def errors(server):
    found = [json.loads(line) for line in server.lines]
    return [{"id": m["id"], "code": m["error"]["code"]} for m in found if "error" in m]


@both_eras
async def test_the_list_of_resource_templates_is_empty_not_unknown(sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        assert (await client.list_resource_templates()).resource_templates == []


@both_eras
@pytest.mark.usefixtures("real_processes")
async def test_a_saved_list_is_there_before_any_program_answers(echo, protocol_version):
    async with connect(echo, "legacy") as client:
        await client.list_tools()
    hang = {"hang": True}
    echo.plan(**{"--version": hang, "connection list": hang, "action list": hang})
    async with connect_stdio(echo, protocol_version) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert "kartra_get_lead" in names
    await until(lambda: all(map(gone, echo.pids())), within=GONE_WITHIN)
