"""Credentials for Membrane's API show nowhere: not in answers, errors, logs or what is kept."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, field
from typing import Any

import pytest
from fake_membrane_api import serving
from harness import APIStandIn, action, call, connect, healthy

pytestmark = pytest.mark.anyio

CANARY = "canary-0123456789-that-opens-nothing"
ECHO = "it was $token and $token"
PAIRS = {
    "a token": {"MEMBRANE_ACCESS_TOKEN": CANARY},
    "a workspace's secret": {
        "MEMBRANE_ACCESS_TOKEN": "",
        "MEMBRANE_WORKSPACE_KEY": "a-workspace",
        "MEMBRANE_WORKSPACE_SECRET": CANARY,
        "MEMBRANE_TENANT_KEY": "a-tenant",
    },
}
IDENTITY = {"type": "object", "properties": {"transaction_id": {"type": "integer"}}}
ACTIONS = (
    action("get-lead", description=ECHO),
    action("assign-tag"),
    action("refund-transaction", inputSchema=IDENTITY),
)
SENT = {"method": "POST", "path": "/api", "json": {"get_lead": {"id": 48110}}}
TAGS = {"lead": {"id": 48110}, "actions": [{"cmd": "assign_tag", "tag_name": "VIP"}]}
CALLS: dict[str, dict[str, Any]] = {
    "kartra_status": {},
    "kartra_connect": {},
    "kartra_search_actions": {"intent": "give a refund"},
    "kartra_ledger": {},
    "kartra_reconcile": {"intent": "int_0123456789abcdef"},
    "kartra_read_more": {"result_id": "none"},
    "kartra_proxy_read": SENT,
    "kartra_proxy_write": {"method": "POST", "path": "/api", "json": TAGS, "confirm": True},
    "kartra_get_lead": {},
    "kartra_bulk_run": {"tool": "kartra_get_lead", "items": [{"email": "ada@example.com"}]},
    "kartra_bulk_status": {},
    "kartra_assign_tag": {},
    "kartra_refund_transaction": {"transaction_id": 101, "confirm": True},
    "kartra_no_such_tool": {},
}


def error(key: str) -> dict[str, Any]:
    deeper = {"type": "internal", "message": ECHO, "data": {"request": {"headers": ECHO}}}
    return {"type": "bad_request", "key": key, "message": ECHO, "causedByError": deeper}


STEPS: dict[str, dict[str, Any]] = {
    "an answer": {"out": {"output": {"headers": {"Authorization": "$token"}}, "actionRunId": "r"}},
    "no login": {"http": 401, "out": error("not_authenticated")},
    "no right": {"http": 403, "out": error("access_denied")},
    "an error of its own": {"http": 500, "out": error("internal")},
    "a page": {"http": 502, "out": f"<html>{ECHO}</html>"},
    "garbage": {"out": ECHO},
    "a redirect": {"http": 302, "headers": {"Location": "/x"}, "out": ECHO},
    "half": {"out": {"output": ECHO}, "cut": True},
    "silence": {"signal": 9},
}


@dataclass
class Place(APIStandIn):
    """With the variables of one way to sign in."""

    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self.more}


@pytest.fixture(params=PAIRS)
def place(request, fake_membrane):
    with serving(fake_membrane.folder) as address:
        # The tools of commands are raw requests, as `kartra_proxy_read` is.
        settings = {**fake_membrane.settings, "RATE": "0", "COMMANDS": "off"}
        made = Place(fake_membrane.folder, settings, address)
        made.more = PAIRS[request.param]
        made.plan(**healthy(*ACTIONS))
        yield made


async def said_by_all(place: Place, era: str) -> list[str]:
    """Everything that a client receives, for every tool."""
    said: list[str] = []
    async with connect(place, era) as client:
        listed = await client.list_tools(cache_mode="bypass")
        names = {tool.name for tool in listed.tools}
        assert CALLS.keys() - names == {"kartra_no_such_tool"}
        said += [listed.model_dump_json(), str(client.instructions)]
        for tool, arguments in ({name: {} for name in names} | CALLS).items():
            answer = await call(client, tool, **arguments)
            said += [answer.text, str(answer.structured)]
    return said


def require_silence(place: Place, said: list[str], secrets: set[str]) -> None:
    kept = {f: f.read_bytes() for f in (place.folder / "state").rglob("*") if f.is_file()}
    assert kept
    for secret in secrets:
        assert secret
        assert [text for text in said if secret in text] == []
        assert [file for file, raw in kept.items() if secret.encode() in raw] == []


@pytest.mark.parametrize("everything", [False, True], ids=["runs", "every answer"])
@pytest.mark.parametrize("name", STEPS)
async def test_whatever_is_answered(
    place: Place, protocol_version, name, everything, caplog, capfd
):
    caplog.set_level(logging.DEBUG)
    step = STEPS[name]
    place.plan(action_run=step, request=step)
    said = [] if everything else await said_by_all(place, protocol_version)
    if everything:
        async with connect(place, protocol_version) as client:
            await client.list_tools()  # what is listed is kept; then nothing answers any more
        place.plan(**dict.fromkeys(("connection list", "connection get", "action list"), step))
        place.plan(search=step, reconnect=step, connect=step, **{"action-run-log list": step})
        said = await said_by_all(place, protocol_version)
    tokens = {line.removeprefix("Bearer ") for line in place.lines("tokens")}
    assert tokens
    require_silence(place, [*said, caplog.text, *capfd.readouterr()], {CANARY, *tokens})


async def test_an_address_without_a_server(place: Place, protocol_version, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    async with connect(place, protocol_version) as client:
        await client.list_tools()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place.address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    said = await said_by_all(place, protocol_version)
    assert any("could not be reached" in text for text in said)
    require_silence(place, [*said, caplog.text, *capfd.readouterr()], {CANARY})


@pytest.mark.parametrize("address", ["http://api.example.com", f"https://{CANARY}@example.com"])
async def test_an_address_that_cannot_be_used(
    place: Place, protocol_version, address, caplog, capfd
):
    place.more = {**place.more, "MEMBRANE_API_URI": address}
    place.settings = {**place.settings, "TRANSPORT": "api"}
    async with connect(place, protocol_version) as client:
        said = [(await call(client, tool, **given)).text for tool, given in CALLS.items()]
    assert "MEMBRANE_API_URI is not an https address" in said[0]
    require_silence(place, [*said, caplog.text, *capfd.readouterr()], {CANARY})
