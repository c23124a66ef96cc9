"""Uses of a started bundle for `make bundle`: the steps of the README's quick start.

Each use is what a user asks for after one filled-in form. The own account is a stand-in for
Membrane's program, in the folder in which npm puts it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import TextContent

PATIENCE = 60
"""Seconds that Claude Desktop waits for a server to start."""
FEWEST = 20
"""Fewest tools of a server that has read its actions."""

LEAD = {"email": "ada@example.com"}
REFUND = "kartra_refund_transaction"
STAND_IN = """\
#!/bin/sh
exec "{python}" -P -m kartra_mcp.sandbox "--account={account}" "$@"
"""

CONNECTION = "68a1f0c2d4e5b6a7c8d9e0f1"
"""The stand-in's connection."""

Use = Callable[[Client], Awaitable[None]]


class Off(Exception):
    """A check failed."""


async def used(server: StdioServerParameters, started: float, use: Use) -> tuple[float, int]:
    """List the tools, then `use` them; return the seconds to the list, and the number of tools."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        try:
            with anyio.fail_after(PATIENCE):
                async with Client(stdio_client(server, errlog=log)) as client:
                    tools = len((await client.list_tools()).tools)
                    seconds = time.monotonic() - started
                    await use(client)
                    return seconds, tools
        except Exception as problem:
            log.seek(0)
            raise Off(f"it does not run: {problem!r}\n{log.read()[-4000:]}") from problem


async def read(client: Client) -> None:
    """Check that it serves the rehearsal account, accepts its settings, and reads."""
    await _expect_account(client, "SANDBOX")


async def refund(client: Client) -> None:
    """Refund by the two calls that the assistant makes: the preview, and its confirmation."""
    await _expect_account(client, "SANDBOX")
    sale: dict[str, Any] = {"transaction_id": 101}
    shown = await refusal(client, REFUND, sale)
    offered = shown["confirmation"]
    consent = {f"confirmation_{name}": offered[name] for name in ("id", "summary")}
    done = await client.call_tool(REFUND, {**sale, "confirm": True, **consent})
    again = await refusal(client, REFUND, sale)
    if done.is_error or again["code"] != "already_done":
        raise Off(f"the refund was not rehearsed: {done.content}, then {again}")


async def ask_for_approval(client: Client) -> None:
    """Check that the gate human is the form's, and that the answer has the page's address."""
    refused = await refusal(client, REFUND, {"transaction_id": 102})
    address = refused.get("confirmation", {}).get("address", "")
    if refused["code"] != "approval_required" or not address.startswith("http://127.0.0.1:"):
        raise Off(f"the user is not asked on the page: {refused}")


async def miss_the_program(client: Client) -> None:
    """Check that without Membrane's program the status names the command that installs it."""
    status = await result(client, "kartra_status", {})
    if status.get("healthy") or "npm install -g @membranehq/cli" not in str(status):
        raise Off(f"the missing program has no remedy: {status}")


async def miss_the_login(client: Client) -> None:
    """Check that before the login the status names the command that logs in."""
    status = await result(client, "kartra_status", {})
    if status.get("healthy") or "membrane login --tenant" not in str(status):
        raise Off(f"the missing login has no remedy: {status}")


async def ask_to_connect(client: Client) -> None:
    """Check that `kartra_connect` returns the address that the user opens."""
    found = await result(client, "kartra_connect", {})
    if found.get("state") != "waiting" or not found.get("open"):
        raise Off(f"kartra_connect returns no address to open: {found}")


async def connect(client: Client) -> None:
    """Connect the own account, read, and preview a refund."""
    found = await result(client, "kartra_connect", {})
    if found.get("state") != "ready":
        raise Off(f"the connection is not ready: {found}")
    await _expect_account(client, "real")
    shown = await refusal(client, REFUND, {"transaction_id": 101})
    if shown["code"] != "confirmation_required":
        raise Off(f"no preview of a refund: {shown}")


async def _expect_account(client: Client, account: str) -> None:
    status = await result(client, "kartra_status", {})
    tools = len((await client.list_tools()).tools)
    if tools < FEWEST or status.get("account") != account or not status.get("healthy"):
        raise Off(f"{tools} tools, and an unexpected status: {status}")
    lead = await result(client, "kartra_get_lead", LEAD)
    if "Moreno" not in str(lead):
        raise Off(f"it could not read: {lead}")


async def result(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a tool's result, or its refusal as text."""
    called = await client.call_tool(tool, arguments)
    found: dict[str, Any] = called.structured_content or {}
    return found.get("result", {"refusal": str(called.content)})


async def refusal(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the error of a call that must be refused."""
    called = await client.call_tool(tool, arguments)
    texts = [block.text for block in called.content if isinstance(block, TextContent)]
    if not called.is_error or not texts:
        raise Off(f"{tool} was not refused: {called.content}")
    return json.loads(texts[0])["error"]


def install_stand_in(home: Path, *arrange: tuple[str, ...]) -> None:
    """Put the stand-in for `membrane` where npm puts the program, in a state of its account."""
    program = home / ".npm-global" / "bin" / "membrane"
    program.parent.mkdir(parents=True, exist_ok=True)
    text = STAND_IN.format(python=sys.executable, account=home / "stand-in.db")
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    for words in arrange:
        subprocess.run([program, *words], check=True, capture_output=True)
