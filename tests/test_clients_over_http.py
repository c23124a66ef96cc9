"""The verdicts of `make clients` over HTTP can fail: on the wire, the account and the ledger."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from clients import http_drive, trace
from clients.http_place import ACCOUNT, HttpPlace, team_place
from clients.place import CALLS, LEAD, READ, REFUSED, TAG, WRITE
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from kartra_mcp.sandbox.team.browser import Browser

ARGUMENTS = {step: (tool, given) for step, tool, given in CALLS}
METADATA = "/.well-known/oauth-protected-resource/a/main/mcp"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "kartra_get_lead"}}


def ask(here: HttpPlace, step: str) -> None:
    call(here, *ARGUMENTS[step])


def call(here: HttpPlace, tool: str, given: dict[str, Any]) -> None:
    anyio.run(partial(_call, here, tool, given))


async def _call(here: HttpPlace, tool: str, given: dict[str, Any]) -> None:
    async with (
        httpx2.AsyncClient(headers=here.server["headers"], timeout=60) as http,
        Client(streamable_http_client(here.url, http_client=http)) as client,
    ):
        await client.call_tool(tool, given)


def test_account_and_ledger_of_a_team_decide_what_a_client_did():
    with team_place("test-over-http") as place:
        assert place.written() == "the ledger has [] of the write"
        assert (place.kept(), place.waiting()) == ("ok", 0)

        for step in (READ, WRITE, REFUSED):
            ask(place, step)

        assert (place.written(), place.kept(), place.waiting()) == ("ok", "ok", 1)
        lines = trace.read(place.log)
        assert (trace.era(lines), http_drive.access_faults(lines, "token")) == ("2026-07-28", [])
        assert ARGUMENTS[REFUSED][0] in place.tools()

        call(place, "kartra_unassign_tag", {"email": LEAD, "tag_name": TAG})
        ask(place, WRITE)
        assert place.written() == "the ledger has [('succeeded',), ('succeeded',)] of the write"

        with Browser(place.world.address) as browser:
            browser.log_in("hana")
            browser.approve(ACCOUNT, 1, "97.00")
        ask(place, REFUSED)
        assert place.kept() == "the ledger has [('succeeded',)] of the refund"
        assert (place.refunds(), place.waiting()) == (1, 0)


def log(file: Path, *requests: tuple[str, str, str, int]) -> list[trace.Line]:
    """Return the lines of requests: method, path, scheme, status; each POST is a call."""
    lines: list[dict[str, Any]] = []
    for number, (method, path, scheme, status) in enumerate(requests):
        head = {"method": method, "path": path, "scheme": scheme}
        lines.append({"pid": number, "at": 0.0, "from": "request", "said": head})
        if method == "POST":
            lines.append({"pid": number, "at": 0.0, "from": "client", "said": CALL})
        lines.append({"pid": number, "at": 0.0, "from": "response", "said": status})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return trace.read(file)


@pytest.mark.parametrize(
    ("access", "requests", "faults"),
    [
        ("token", [("POST", "/a/main/mcp", "Bearer", 200)], []),
        ("token", [("POST", "/a/main/mcp", "", 401)], ["a call was sent without a token"]),
        ("token", [], ["a call was sent without a token"]),
        ("login", [("GET", METADATA, "", 200), ("POST", "/a/main/mcp", "Bearer", 200)], []),
        (
            "login",
            [("GET", METADATA, "", 404), ("POST", "/a/main/mcp", "Bearer", 200)],
            ["it did not log in by the resource metadata"],
        ),
        (
            "agent",
            [("POST", "/a/main/mcp", "Bearer", 200)],
            ["it did not log in by the resource metadata"],
        ),
    ],
)
def test_a_call_without_a_token_and_a_login_past_the_metadata_are_faults(
    tmp_path, access, requests, faults
):
    assert http_drive.access_faults(log(tmp_path / "log", *requests), access) == faults


def test_the_notes_name_a_login_and_a_stream_that_is_refused(tmp_path):
    lines = log(
        tmp_path / "log",
        ("POST", "/a/main/mcp", "", 401),
        ("GET", METADATA, "", 200),
        ("GET", "/a/main/mcp", "Bearer", 405),
        ("POST", "/a/main/mcp", "Bearer", 200),
    )

    assert http_drive.observed(lines) == [
        "reads the resource metadata after a 401, and logs in",
        "asks for a stream of its own (405), and works without one",
    ]
