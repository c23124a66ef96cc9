"""One account of the service: its shared parts, and a server for each set of rights."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import anyio
from anyio.abc import TaskGroup
from starlette.types import Receive, Scope, Send

from kartra_mcp.app.composition import (
    AccountParts,
    build_server,
    build_tools,
    policy_from_settings,
)
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.core.principal import Principal
from kartra_mcp.policy.roles import Right, call_rights
from kartra_mcp.server.http_endpoint import HttpEndpoint
from kartra_mcp.server.mcp_server import CallReport, Observe

Rights = frozenset[Right]


@dataclass(slots=True)
class AccountService:
    """The MCP endpoint of one account.

    Tool list, instructions and calls depend on the rights of the caller, so that each set of
    rights has a server; they share everything that is not a decision about rights.

    Args:
        name: of the account, in the team file.
        parts: what the servers share.
        observe: is called after each call of a tool.
    """

    name: str
    parts: AccountParts
    observe: Callable[[str, CallReport], None]
    over: anyio.Event = field(default_factory=anyio.Event)
    _endpoints: dict[Rights, HttpEndpoint] = field(default_factory=dict[Rights, HttpEndpoint])
    _starting: anyio.Lock = field(default_factory=anyio.Lock)
    _tasks: TaskGroup | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Set the task group of the servers, and of the refreshes of the account."""
        self._tasks = tasks
        self.parts.account.start(tasks)

    async def handle(
        self, principal: Principal, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request of an authenticated member."""
        endpoint = await self._get_endpoint(call_rights(principal))
        await endpoint.handle(principal, scope, receive, send)

    def close_streams(self) -> None:
        """End the open listen streams of every client."""
        for endpoint in self._endpoints.values():
            endpoint.close_streams()

    def end(self) -> None:
        """End every server. Calls that must not be cancelled end first."""
        self.over.set()

    async def _get_endpoint(self, rights: Rights) -> HttpEndpoint:
        found = self._endpoints.get(rights)
        if found is None:
            async with self._starting:
                found = self._endpoints.get(rights) or await self._start_endpoint(rights)
        return found

    async def _start_endpoint(self, rights: Rights) -> HttpEndpoint:
        assert self._tasks is not None, "start() comes first"  # noqa: S101
        rules = replace(policy_from_settings(self.parts.settings), rights=rights)
        server = build_server(self.parts, build_tools(self.parts, rules), over_http=True)
        server.observe = self._make_observer()
        endpoint = HttpEndpoint(server)
        await self._tasks.start(endpoint.run, self.over)
        self._endpoints[rights] = endpoint
        return endpoint

    def _make_observer(self) -> Observe:
        def observe(report: CallReport) -> None:
            if report.tool not in BUILTIN_TOOLS and report.tool not in self._tool_names():
                report.tool = "unknown"  # a name of the client's own may hold anything
            self.observe(self.name, report)

        return observe

    def _tool_names(self) -> Collection[str]:
        return self.parts.account.snapshot.catalogue.entries
