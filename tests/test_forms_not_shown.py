"""Clients that declare forms and do not show them: they get another way, and nothing is blocked.

Bug: such a client was asked the same question for ever, and an error counted as the user's refusal.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from consent_actors import REFUND, Person, confirmed, decided, events, ledger_folder, sandbox
from harness import SHORT, Answer, Sandbox, both_eras, call, connect, run_program
from mcp import MCPError
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCMessage
from pydantic import TypeAdapter

from kartra_mcp.app.composition import build_app
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.settings import read_settings

pytestmark = pytest.mark.anyio

SALE = {"transaction_id": 101}
REFUNDED = "SELECT cents FROM transactions WHERE parent_id = 101"
NEWER = "2026-07-28"
IMPATIENT = replace(SHORT, answer=0.2)


@pytest.fixture
def place(tmp_path: Path) -> Sandbox:
    return sandbox(tmp_path / "state")


async def _error(_: Any, __: Any) -> ErrorData:
    return ErrorData(code=-32601, message="Method not found")


async def _error_later(_: Any, __: Any) -> ErrorData:
    await anyio.sleep(SHORT.min_human + 0.01)
    return ErrorData(code=-32603, message="window closed")


async def _never(_: Any, __: Any) -> ErrorData:
    await anyio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize("gate", ["preview", "human"])
@pytest.mark.parametrize("client", [_error, _error_later, _never])
async def test_a_client_that_does_not_show_a_form_gets_another_way(place: Sandbox, gate, client):
    place.settings["GATE_IRREVERSIBLE"] = gate
    expected = {"preview": "confirmation_required", "human": "approval_required"}[gate]
    async with connect(place, "legacy", timings=IMPATIENT, elicitation_callback=client) as session:
        first = await call(session, REFUND, **SALE)
        assert first.code in {expected, "dismissed"}
        second = await call(session, REFUND, **SALE)
        assert second.code == expected
        assert "did not show the question" in second.error["message"]
        assert not {"declined", "dismissed"} & set(events(place))
        status = (await call(session, "kartra_status")).result
        assert "did not show" in status["forms_not_shown"][0]["why"]
        more = await _agree(place, second)
        assert not (await call(session, REFUND, **SALE, **more)).failed
    assert place.rows(REFUNDED) == [(9700,)]


async def _agree(place: Sandbox, answer: Answer) -> dict[str, Any]:
    """Agree in the way that the answer offers; return the arguments of the next call."""
    if answer.code == "confirmation_required":
        return confirmed(answer)
    ledger = open_ledger(ledger_folder(place))
    number = answer.error["confirmation"]["number"]
    decided(ledger, number, approve=True, reason="", who="ada")
    ledger.close()
    return {}


async def test_an_error_of_the_client_asks_in_two_calls_at_once(place: Sandbox):
    async with connect(place, "legacy", elicitation_callback=_error) as session:
        assert (await call(session, REFUND, **SALE)).code == "confirmation_required"


async def test_a_call_repeated_without_its_answer_gets_a_preview(place: Sandbox):
    async with connect(place, NEWER, elicitation_callback=_error) as session:
        with pytest.raises(MCPError):
            await call(session, REFUND, **SALE)
        second = await call(session, REFUND, **SALE)
        assert second.code == "confirmation_required"
        assert "repeated the call without the answer" in second.error["message"]
        assert not (await call(session, REFUND, **SALE, **confirmed(second))).failed
    assert place.rows(REFUNDED) == [(9700,)]


@both_eras
async def test_a_client_that_shows_forms_keeps_being_asked_after_an_absence(
    place: Sandbox, protocol_version
):
    person = Person("decline")
    timings = replace(SHORT, answer=5.0)
    async with connect(
        place, protocol_version, timings=timings, elicitation_callback=person
    ) as session:
        assert (await call(session, REFUND, **SALE)).code == "declined"
        person.action = "accept"
        assert not (await call(session, REFUND, transaction_id=105)).failed
        assert "forms_not_shown" not in (await call(session, "kartra_status")).result
    assert len(person.asked) == 2


@both_eras
async def test_outside_holds_under_the_gate_preview(place: Sandbox, protocol_version):
    """Bug: KARTRA_MCP_APPROVAL=outside did nothing under the gate preview."""
    place.settings["APPROVAL"] = "outside"
    person = Person()
    async with connect(place, protocol_version, elicitation_callback=person) as session:
        preview = await call(session, REFUND, **SALE)
        assert preview.code == "confirmation_required"
        assert not (await call(session, REFUND, **SALE, **confirmed(preview))).failed
    assert person.asked == []


UNREADABLE: list[Any] = [
    {"action": "maybe"},
    {"action": 1},
    {"action": None, "content": {"confirm": True}},
    {},
    {"action": "accept", "content": {"confirm": {"a": 1}}},
    {"action": "accept", "content": "yes"},
    {"action": "accept", "content": [True]},
]
"""Answers that MCP does not allow."""


@pytest.mark.parametrize("answer", UNREADABLE)
@both_eras
async def test_an_answer_that_cannot_be_read_is_dismissed_and_blocks_nothing(
    place: Sandbox, protocol_version, answer
):
    async with raw_client(place, protocol_version) as client:
        first = await client.refund(answer)
        assert (first.code, first.executed) == ("dismissed", "no")
        assert "user" not in first.error["message"].lower()
        second = await client.refund(answer)
        assert second.code == "confirmation_required"
    assert events(place) == []
    assert place.rows(REFUNDED) == []


@pytest.mark.parametrize("content", [[], "no", {"confirm": {"a": 1}}])
async def test_a_decline_counts_whatever_its_content_is(place: Sandbox, content):
    async with raw_client(place, NEWER) as client:
        declined = {"action": "decline", "content": content}
        assert (await client.refund(declined, after=SHORT.min_human + 0.01)).code == "declined"


@dataclass
class RawClient:
    """A client that answers every question with one JSON value, whatever MCP allows."""

    era: str
    send: Any
    receive: Any
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def refund(self, answer: Any, after: float = 0) -> Answer:
        given: dict[str, Any] = {"name": REFUND, "arguments": SALE}
        result = await self._request("tools/call", given, answer)
        if result.get("resultType") == "input_required":
            await anyio.sleep(after)
            state = {"requestState": result["requestState"]}
            more = {**given, **state, "inputResponses": {"consent": answer}}
            result = await self._request("tools/call", more, answer)
        return Answer(result["isError"], result["content"][0]["text"], None)

    async def start(self) -> None:
        if self.era != NEWER:
            hello = {"protocolVersion": "2025-11-25", "capabilities": FORMS, "clientInfo": CLIENT}
            await self._request("initialize", hello, None)
            await self._send({"method": "notifications/initialized"})

    async def _request(self, method: str, params: dict[str, Any], answer: Any) -> dict[str, Any]:
        number = next(self.numbers)
        meta = {"_meta": META} if self.era == NEWER else {}
        await self._send({"id": number, "method": method, "params": {**params, **meta}})
        while True:
            item = await self.receive.receive()
            message = item.message.model_dump(by_alias=True, mode="json", exclude_none=True)
            if message.get("method") == "elicitation/create":
                await self._send({"id": message["id"], "result": answer})
            elif message.get("id") == number:
                assert "result" in message, message
                return message["result"]

    async def _send(self, message: dict[str, Any]) -> None:
        parsed = JSONRPC.validate_python({"jsonrpc": "2.0", **message})
        await self.send.send(SessionMessage(parsed))


JSONRPC: TypeAdapter[Any] = TypeAdapter(JSONRPCMessage)
CLIENT = {"name": "raw", "version": "1"}
FORMS = {"elicitation": {}}
META = {
    "io.modelcontextprotocol/protocolVersion": NEWER,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": FORMS,
}


@asynccontextmanager
async def raw_client(place: Sandbox, era: str) -> AsyncGenerator[RawClient]:
    app = build_app(read_settings({}, place.environment), run_program=run_program(), timings=SHORT)
    async with (
        create_client_server_memory_streams() as ((receive, send), (incoming, outgoing)),
        anyio.create_task_group() as tasks,
    ):
        mcp = app.mcp
        tasks.start_soon(mcp.server.run, incoming, outgoing, mcp.make_options())
        client = RawClient(era, send, receive)
        await client.start()
        yield client
        tasks.cancel_scope.cancel()
    await app.close()
