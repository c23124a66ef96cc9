"""What the tool list costs a context: counted as OpenAI's models count, asserted."""

from __future__ import annotations

import json
import os

import pytest
import tiktoken
from door import connect

MOST = 7_500


@pytest.mark.anyio
async def test_the_whole_tool_list_fits_its_budget(sandbox):
    assert os.environ.get("TIKTOKEN_CACHE_DIR"), "run it with `make test`, which fetches the words"
    async with connect(sandbox, "legacy") as client:
        tools = (await client.list_tools()).tools
    shown = [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in tools]
    tokens = len(tiktoken.get_encoding("o200k_base").encode(json.dumps(shown)))
    assert len(shown) > 20
    assert tokens <= MOST, f"{tokens} tokens"
