"""An empty MCP server over HTTP, by the SDK alone: one tool that answers with a short text.

`empty_http PORT [FILE]`: with the JSON of a result in a file, it answers with that.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.routing import Mount

EMPTY = {"content": [{"type": "text", "text": "{}"}]}
GIVEN = json.loads(Path(sys.argv[2]).read_text()) if sys.argv[2:] else EMPTY


async def list_tools(*_: Any) -> types.ListToolsResult:
    tool = types.Tool(name="noop", input_schema={"type": "object"})
    return types.ListToolsResult(tools=[tool])


async def call_tool(*_: Any) -> types.CallToolResult:
    return types.CallToolResult.model_validate(GIVEN)


def no_schema(_: str) -> None:
    """Return no schema, as the service does: the SDK would list all tools for each call."""


def main() -> None:
    server: Server[Any] = Server(
        "empty",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema=no_schema,
    )
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
        loop="asyncio",
        http="h11",
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
    )


main()
