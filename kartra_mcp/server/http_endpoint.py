"""MCP over Streamable HTTP: one server of a team, stateless, in both protocol eras."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Receive, Scope, Send

from kartra_mcp.core.principal import Principal
from kartra_mcp.server.elicitation import PRINCIPAL_KEY
from kartra_mcp.server.mcp_server import MCPServer

MAX_BODY_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class HttpEndpoint:
    """The requests of one server, each from an authenticated principal.

    Responses are event streams where they take time, so that a proxy sees a sign of life.
    """

    server: MCPServer
    _manager: StreamableHTTPSessionManager | None = None

    async def run(
        self, over: anyio.Event, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept requests until `over`; then cancel those that may be cancelled."""
        manager = StreamableHTTPSessionManager(
            self.server.server, stateless=True, max_request_body_size=MAX_BODY_BYTES
        )
        async with manager.run():
            self._manager = manager
            task_status.started()
            await over.wait()

    async def handle(
        self, principal: Principal, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request. It has passed the checks of its host, origin, token and size."""
        assert self._manager is not None, "run() comes first"  # noqa: S101
        marked = {**scope, PRINCIPAL_KEY: principal}
        await self._manager.handle_request(marked, receive, send)

    def close_streams(self) -> None:
        self.server.close_streams()
