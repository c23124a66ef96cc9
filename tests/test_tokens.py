"""Size of the tool list in a context: asserted, counted as OpenAI's models count."""

from __future__ import annotations

import json
import os

import pytest
import tiktoken
from harness import StandIn, action, call, connect, healthy
from token_budgets import MOST, SEARCHED, WITHIN

from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.catalogue.exposure import estimate_tokens as estimated


def counted(shown):
    assert os.environ.get("TIKTOKEN_CACHE_DIR"), "run it with `make test`, which fetches the words"
    return len(tiktoken.get_encoding("o200k_base").encode(json.dumps(shown)))


async def shown_by(place):
    async with connect(place, "legacy") as client:
        tools = (await client.list_tools()).tools
    return [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in tools]


@pytest.mark.anyio
@pytest.mark.parametrize("number", [20, 200, 2_000])
async def test_search_stays_under_its_budget_at_any_number_of_actions(tmp_path, number):
    actions = [action(f"assign-thing-{n}", description="Assign it. " * 9) for n in range(number)]
    place = StandIn(tmp_path / "stand-in", {"EXPOSE": "search"}).plan(**healthy(*actions))
    async with connect(place, "legacy") as client:
        assert (await call(client, "kartra_status")).result["actions"]["number"] == number
    tokens = counted(await shown_by(place))
    assert tokens < SEARCHED, f"{tokens} tokens"


@pytest.mark.anyio
async def test_search_stays_under_its_budget_with_a_gate_on_every_tool(tmp_path):
    """A policy file that gates single tools gives the reads their consent arguments too."""
    policy = tmp_path / "policy.toml"
    policy.write_text('[tools."kartra_*"]\ngate = "human"\n')
    settings = {"EXPOSE": "search", "POLICY": str(policy)}
    place = StandIn(tmp_path / "stand-in", settings).plan(**healthy(action("get-lead")))
    shown = await shown_by(place)
    gated = [tool["name"] for tool in shown if "confirm" in tool["inputSchema"]["properties"]]
    assert len(gated) == 5
    tokens = counted(shown)
    assert tokens < SEARCHED, f"{tokens} tokens"


@pytest.mark.anyio
async def test_the_estimate_is_near_the_count(sandbox):
    shown = await shown_by(sandbox)
    assert sum(map(estimated, shown)) == pytest.approx(counted(shown), rel=WITHIN)
    own = [tool for tool in shown if tool["name"] in BUILTIN_TOOLS]
    assert sum(map(estimated, own)) == pytest.approx(counted(own), rel=WITHIN)


@pytest.mark.anyio
async def test_the_whole_tool_list_fits_its_budget(sandbox):
    shown = await shown_by(sandbox)
    tokens = counted(shown)
    assert len(shown) > 40
    assert tokens <= MOST, f"{tokens} tokens"
