"""The smallest server on this SDK: it lists no tools, on stdio."""

from __future__ import annotations

from typing import Any

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import ListToolsResult


async def list_tools(_: Any, __: Any) -> ListToolsResult:
    return ListToolsResult(tools=[])


async def main() -> None:
    server: Server[Any] = Server("empty", on_list_tools=list_tools)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


anyio.run(main)
