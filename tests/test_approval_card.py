"""Card of MCP Apps on a team's service: which tools name it, what it is, and what it cannot do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from consent_actors import sandbox as fresh
from harness import connect_stdio
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from mcp.shared.exceptions import MCPError
from page_html import Parsed
from service_world import LEGACY, MODERN, TeamWorld, team_world

from kartra_mcp.server.approval_card import read_card

CARD = "ui://kartra/approval"
REFUND, TAG = "kartra_refund_transaction", "kartra_assign_tag"


@pytest.fixture(scope="module")
def world(team_database: Any) -> Iterator[TeamWorld]:
    with TemporaryDirectory() as folder, team_world(Path(folder), team_database) as world:
        world.add_account("Main shop")
        world.start_replica()
        yield world


@pytest.mark.parametrize("era", [MODERN, LEGACY])
def test_the_tools_that_others_must_approve_name_the_card(world: TeamWorld, era: str):
    """The list does not depend on what a client declares: MCP forbids that."""
    caller = world.caller(f"bea-{era}", next(iter(world.sandboxes)), "requester", era=era)
    tools = caller.tools()
    assert tools[REFUND]["_meta"]["ui"] == {"resourceUri": CARD, "visibility": ["model"]}
    with_card = {name for name, tool in tools.items() if "ui" in tool.get("_meta", {})}
    assert {TAG, "kartra_get_lead", "kartra_status"}.isdisjoint(with_card)
    (content,) = caller.ask("resources/read", {"uri": CARD}).result["contents"]
    assert (content["uri"], content["mimeType"]) == (CARD, APP_MIME_TYPE)
    assert content["_meta"] == {"ui": {"csp": {}, "prefersBorder": True}}
    assert content["text"] == read_card()


def test_the_service_declares_the_extension(world: TeamWorld):
    caller = world.caller("ben", next(iter(world.sandboxes)), "requester")
    found = caller.ask("server/discover").result["capabilities"]
    assert EXTENSION_ID in found["extensions"]


@pytest.mark.anyio
@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_the_server_of_one_user_has_no_card(tmp_path: Path, era: Any):
    place = fresh(tmp_path / "state", GATE_IRREVERSIBLE="human")
    async with connect_stdio(place, era) as client:
        tools = (await client.list_tools()).tools
        assert not [tool.name for tool in tools if "ui" in (tool.meta or {})]
        with pytest.raises(MCPError, match="does not exist"):
            await client.read_resource(CARD)


def test_the_card_loads_nothing_and_calls_no_tool():
    html = read_card()
    page = Parsed(html)
    assert "default-src 'none'" in html
    for _, attributes, _ in page.elements:
        assert not {"src", "href", "action", "srcset"} & attributes.keys()
    script = html.partition("<script>")[2].partition("</script>")[0]
    sent = set(re.findall(r'send\("([^"]+)"', script))
    assert sent == {
        "ui/initialize",
        "ui/notifications/initialized",
        "ui/notifications/size-changed",
        "ui/open-link",
    }
    for word in ("fetch(", "XMLHttp", "WebSocket", "innerHTML", "tools/call", "eval(", "import("):
        assert word not in script
