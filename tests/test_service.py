"""The team service over HTTP: lists, reads and writes of people with roles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
from harness import ERAS, call
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from service_world import LEGACY, MODERN, PATIENCE, TeamWorld, team_world

ADA = "ada@example.com"


@pytest.fixture(scope="module")
def world(team_database: Any) -> Iterator[TeamWorld]:
    with TemporaryDirectory() as folder, team_world(Path(folder), team_database) as world:
        world.add_account("Main shop")
        world.start_replica()
        yield world


@pytest.fixture
def account(world: TeamWorld) -> str:
    return next(iter(world.sandboxes))


@pytest.mark.parametrize("era", [MODERN, LEGACY])
def test_an_operator_lists_reads_and_writes(world: TeamWorld, account: str, era: str):
    ann = world.caller(f"ann-{era}", account, "operator", era=era)
    assert {"kartra_status", "kartra_get_lead", "kartra_assign_tag"} <= ann.tools().keys()
    assert ann.call("kartra_get_lead", email=ADA).structured["result"]
    tag = f"tag-{era}"
    world.sandboxes[account].rows("INSERT INTO tags (name) VALUES (?)", tag)
    tagged = ann.call("kartra_assign_tag", email=ADA, tag_name=tag)
    assert tagged.structured["receipt"]["done"]
    (line,) = ann.call("kartra_ledger", count=1).structured["result"]["lines"]
    assert line["state"] == "succeeded", line
    assert line["actor"] == f"ann-{era}"


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_the_official_client_lists_and_calls(world: TeamWorld, account: str, era: str):
    ann = world.caller(f"sdk-{era}", account, "operator")
    headers = {"Authorization": f"Bearer {ann.token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as http:
        transport = streamable_http_client(f"{ann.address}/a/{account}/mcp", http_client=http)
        async with Client(transport, mode=era) as client:
            listed = await client.list_tools()
            assert "kartra_get_lead" in {tool.name for tool in listed.tools}
            assert (await call(client, "kartra_get_lead", email=ADA)).result
