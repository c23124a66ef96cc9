"""An empty MCP server over HTTP, by the SDK alone: one tool that answers with a short text."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.routing import Mount

TEXT = types.TextContent(type="text", text="{}")


async def list_tools(*_: Any) -> types.ListToolsResult:
    tool = types.Tool(name="noop", input_schema={"type": "object"})
    return types.ListToolsResult(tools=[tool])


async def call_tool(*_: Any) -> types.CallToolResult:
    return types.CallToolResult(content=[TEXT])


def main() -> None:
    server: Server[Any] = Server("empty", on_list_tools=list_tools, on_call_tool=call_tool)
    manager = StreamableHTTPSessionManager(server, stateless=True)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with manager.run():
            yield

    app = Starlette(routes=[Mount("/", app=manager.handle_request)], lifespan=lifespan)
    # As the service has it: no headers of uvicorn's own, and connections that stay open.
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
    )


main()
