"""No exception's text reaches a client: real faults with a canary in them, in both eras."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from typing import Any

import pytest
from harness import (
    CONNECTION,
    Sandbox,
    StandIn,
    action,
    both_eras,
    call,
    connect,
    connect_stdio,
    healthy,
)
from mcp import Client, StdioServerParameters

pytestmark = pytest.mark.anyio

CANARY = "c4n4ry-7f31"
MARKS = ("Traceback", 'File "', ".py", "Error(", "errno", "0x7f", "sqlite3")
CALLS = {
    "kartra_status": {},
    "kartra_get_lead": {},
    "kartra_assign_tag": {},
    "kartra_nothing": {},
    "kartra_proxy_read": {"path": "/api"},
    "kartra_proxy_write": {"path": "/api", "method": "PUT", "confirm": True},
    "kartra_refund_transaction": {"confirm": True},
}


@pytest.fixture
def place(fake_membrane: StandIn) -> StandIn:
    kinds = [action("get-lead"), action("assign-tag"), action("refund-transaction")]
    return fake_membrane.plan(**healthy(*kinds))


class Seen:
    """Everything that reached the client, and the errors in it."""

    def __init__(self):
        self.texts = []
        self.codes = {}

    async def everything(self, client):
        tools = await client.list_tools(cache_mode="bypass")
        self.texts.append(tools.model_dump_json())
        for tool, arguments in CALLS.items():
            answer = await call(client, tool, **arguments)
            self.texts.append(answer.text + json.dumps(answer.structured))
            self.codes[tool] = answer.code if answer.failed else ""
        return self

    def clean(self, *allowed):
        told = "\n".join(self.texts)
        for text in allowed:
            told = told.replace(text, "")
        assert CANARY not in told
        assert [mark for mark in MARKS if mark in told] == []


async def seen(place, era, opened=connect):
    async with opened(place, era) as client:
        return await Seen().everything(client)


def command(place):
    """The person's own setting, which `kartra_status` shows."""
    if isinstance(place, Sandbox):
        return ()
    words = json.loads(place.environment["KARTRA_MCP_MEMBRANE"])
    return (" ".join(words), json.dumps(" ".join(words))[1:-1])


def state_of(place):
    made = place.folder / "state" if isinstance(place, StandIn) else place.folder / "sandbox"
    made.mkdir(parents=True, exist_ok=True)
    return made


TRACES = """
from opentelemetry import trace

class Tracer(trace.NoOpTracer):
    def start_as_current_span(self, name, **more):
        with open(SPANS, "a") as spans:
            print(name, file=spans)
        return super().start_as_current_span(name, **more)

class Provider(trace.NoOpTracerProvider):
    def get_tracer(self, *_, **__):
        with open(SPANS, "a") as spans:
            print("asked", file=spans)
        return Tracer()

trace.set_tracer_provider(Provider())
"""


@both_eras
async def test_a_request_leaves_no_trace_where_traces_are_collected(
    place, protocol_version, tmp_path
):
    """An environment may bring a collector with it, as `opentelemetry-instrument` does."""
    spans = tmp_path / "spans"
    (tmp_path / "sitecustomize.py").write_text(f"SPANS = {str(spans)!r}\n{TRACES}")
    environment = {**place.environment, "PYTHONPATH": str(tmp_path)}
    started = StdioServerParameters(
        command=sys.executable, args=["-m", "kartra_mcp", "serve"], env=environment
    )

    async with Client(started, mode=protocol_version) as client:
        await call(client, "kartra_get_lead")

    assert set(spans.read_text().split()) == {"asked"}


@both_eras
async def test_a_damaged_saved_list(place, protocol_version):
    await seen(place, protocol_version)
    for file in state_of(place).glob("*.json"):
        file.write_text('{"connection": {"id": "' + CANARY)
    found = await seen(place, protocol_version)
    found.clean(*command(place))
    assert found.codes["kartra_get_lead"] == ""


@pytest.mark.parametrize(
    "kept",
    [
        {"connection": {CANARY: 1}, "fetched_at": 1, "complete": True, "entries": []},
        {"connection": CANARY, "fetched_at": 1, "complete": True, "entries": []},
        {"connection": {"id": 7}, "fetched_at": CANARY, "complete": True, "entries": []},
        {"connection": {"id": {CANARY: 1}}, "fetched_at": 1, "complete": True, "entries": [5]},
        {"connection": {"id": "c1", "usable": CANARY}, "fetched_at": 1e99, "entries": [[CANARY]]},
        {"connection": {"id": "c1"}, "fetched_at": 1, "complete": True, "entries": CANARY},
        [CANARY],
        CANARY,
    ],
    ids=[str(number) for number in range(8)],
)
async def test_a_saved_list_of_another_shape(place, kept):
    await seen(place, "legacy")
    for file in state_of(place).glob("*.json"):
        file.write_text(json.dumps(kept))
    found = await seen(place, "legacy")
    found.clean(*command(place))
    assert found.codes["kartra_get_lead"] == ""


@contextmanager
def bytes_that_are_no_text(folder):
    for file in folder.glob("*.json"):
        file.write_bytes(b"\xff\xfe" + CANARY.encode())
    yield


@contextmanager
def folders_for_files(folder):
    for file in list(folder.glob("*.json")):
        file.unlink()
        (file / CANARY).mkdir(parents=True)
    yield


@pytest.mark.parametrize("damage", [bytes_that_are_no_text, folders_for_files])
async def test_state_files_that_cannot_be_read(place, protocol_version, damage):
    await seen(place, protocol_version)
    with damage(state_of(place)):
        found = await seen(place, protocol_version)
    found.clean(*command(place))
    assert found.codes["kartra_get_lead"] == ""


@pytest.mark.parametrize("opened", [connect, connect_stdio], ids=["in memory", "over stdio"])
async def test_a_state_folder_that_is_a_file(tmp_path, protocol_version, opened):
    place = StandIn(tmp_path / "stand-in")
    place.plan(**healthy(action("get-lead"), action("assign-tag"), action("refund-transaction")))
    (place.folder / "state").write_text(CANARY)
    found = await seen(place, protocol_version, opened)
    found.clean(*command(place))
    assert found.codes["kartra_get_lead"] == ""
    assert found.codes["kartra_assign_tag"] == "ledger_unavailable"
    async with opened(place, protocol_version) as client:
        status = (await call(client, "kartra_status")).result
    assert "state folder" in status["problems"][-1]["message"]
    assert (place.folder / "state").read_text() == CANARY


async def test_an_account_that_is_garbage(sandbox: Sandbox, protocol_version):
    state_of(sandbox)
    sandbox.file.write_bytes(f"{CANARY} is no database\n".encode() * 200)
    found = await seen(sandbox, protocol_version)
    told = "\n".join(found.texts)
    assert CANARY not in told
    assert "Traceback" not in told
    assert set(found.codes.values()) <= {"", "membrane_error", "forbidden_request"}
    assert found.codes["kartra_get_lead"] == "membrane_error"


async def test_an_account_that_became_garbage(sandbox: Sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        await client.list_tools()
    for file in sandbox.file.parent.glob("account.db*"):
        file.unlink()
    sandbox.file.mkdir()
    (sandbox.file / CANARY).mkdir()
    async with connect(sandbox, protocol_version) as client:
        read = await call(client, "kartra_get_lead", lead_id=48110)
        write = await call(client, "kartra_assign_tag", lead_id=48110, tag_name="VIP")
    assert (read.failed, read.executed) == (True, "no")
    assert (write.failed, write.executed) == (True, "no")
    assert CANARY not in read.text + write.text
    assert "Traceback" not in read.text + write.text
    shutil.rmtree(sandbox.file)


MONSTERS = {
    "an id of another type": {"id": [CANARY]},
    "a key that is an object": {"id": "m", "key": {CANARY: 1}},
    "a config that is a list": {"id": "m", "key": "m", "config": [CANARY]},
    "a state that is an object": {"id": "m", "key": "m", "state": {CANARY: 1}},
    "a schema that is a text": {"id": "m", "key": "m", "inputSchema": CANARY},
    "properties that are a text": {"id": "m", "key": "m", "inputSchema": {"properties": CANARY}},
    "a type that is none": {"id": "m", "key": "m", "inputSchema": {"type": CANARY}},
    "required that is an object": {"id": "m", "key": "m", "inputSchema": {"required": {CANARY: 1}}},
    "a pattern that is none": {
        "id": "m",
        "key": "m",
        "inputSchema": {"properties": {"a": {"type": "string", "pattern": f"({CANARY}"}}},
    },
    "a reference to itself": {
        "id": "m",
        "key": "m",
        "inputSchema": {"$ref": f"#/$defs/{CANARY}", "$defs": {CANARY: {"$ref": "#"}}},
    },
    "bounds that are texts": {
        "id": "m",
        "key": "m",
        "inputSchema": {"properties": {"a": {"type": "number", "minimum": CANARY}}},
    },
}


@pytest.mark.parametrize("name", MONSTERS)
async def test_an_action_of_monstrous_shape(place, name):
    entries = [MONSTERS[name], action("get-lead")]
    place.plan(action_list={"out": {"items": entries}})
    async with connect(place, "legacy") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "kartra_get_lead" in tools
        for tool in [name for name in tools if name.startswith("kartra_m")]:
            for given in ({}, {"a": 1}, {"a": None}, {"a": [[]]}):
                answer = await call(client, tool, **given, confirm=True)
                assert answer.code != "internal_error" if answer.failed else True
                assert "Traceback" not in answer.text
        assert not (await call(client, "kartra_get_lead")).failed


WORDS = {
    "connections of monstrous shape": {
        "connection_list": {"out": {"items": [5, [CANARY], {"id": {CANARY: 1}}]}}
    },
    "connections that are a text": {"connection_list": {"out": {"items": "x"}}},
    "a list that is a text": {"action_list": {"out": {"items": "x"}}},
    "a list of numbers": {"action_list": {"out": {"items": [1, 2, None]}}},
    "an app of monstrous shape": {
        "connection_list": {"out": {"items": [{**CONNECTION, "integration": [1], "key": 5}]}}
    },
    "a run id of monstrous shape": {"action_run": {"out": {"output": 1, "actionRunId": [[]]}}},
    "a cursor of monstrous shape": {"action_list": {"out": {"items": [], "cursor": {"a": 1}}}},
    "a result of NaN": {
        "action_run": {"out": '{"output": {"n": NaN, "m": 1e999, "k": -Infinity}}'}
    },
    "a result with halves of characters": {"action_run": {"out": '{"output": {"n": "\\ud800"}}'}},
    "a result of a long number": {"action_run": {"out": '{"output": ' + "9" * 6000 + "}"}},
    "a result that is deep": {"action_run": {"out": "[" * 90 + "]" * 90}},
    "a result that is far too deep": {"action_run": {"out": "[" * 5000 + "]" * 5000}},
}


@pytest.mark.parametrize("name", WORDS)
async def test_an_answer_of_monstrous_shape(place, name):
    place.plan(**WORDS[name])
    found = await seen(place, "legacy")  # the era in which an exception's text would be sent
    assert "internal_error" not in found.codes.values()
    assert "Traceback" not in "\n".join(found.texts)


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels else {}


ARGUMENTS: dict[str, dict[str, Any]] = {
    "halves of characters": {"a": "\ud800"},
    "a name of halves": {"\udfff": 1},
    "a NUL": {"a": "\x00"},
    "a long number": {"a": 10**400},
    "depth": nested(80),
    "a consent that is a list": {"confirm": [{"confirm": True}]},
    "an empty name": {"": ""},
    "a name of the prototype": {"__proto__": {"__class__": CANARY}},
}


@pytest.mark.parametrize("name", ARGUMENTS)
@both_eras
async def test_arguments_of_monstrous_shape(place, protocol_version, name):
    async with connect(place, protocol_version) as client:
        for tool in CALLS:
            answer = await call(client, tool, **ARGUMENTS[name])
            assert not answer.failed or answer.code != "internal_error", (tool, answer.text)
            assert "Traceback" not in answer.text
