"""Ways to the server for a scripted agent: a client of this process, or a caller over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from anyio import to_thread
from mcp import Client, MCPError
from service_world import Caller


@dataclass(frozen=True)
class Reply:
    """An answer: its text, and of a failure its code and what it asks to confirm."""

    text: str
    code: str = "done"
    confirmation: Mapping[str, Any] = field(default_factory=dict)


class Door(Protocol):
    """All that a model has: the tool list, calls, prompts, resources."""

    async def list_text(self) -> str:
        """Return all that a client shows a model of the server before any call."""
        ...

    async def names(self) -> list[str]:
        """Return the names of the listed tools."""
        ...

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Reply: ...

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> str: ...


def make_reply(text: str, *, failed: bool) -> Reply:
    if not failed:
        return Reply(text)
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return Reply(text, "unreadable")
    return Reply(text, error["code"], error.get("confirmation", {}))


@dataclass(frozen=True)
class ClientDoor:
    """The official client, connected to a server of this process."""

    client: Client

    async def list_text(self) -> str:
        tools = (await self.client.list_tools()).tools
        return "\n".join(tool.model_dump_json() for tool in tools)

    async def names(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Reply:
        try:
            result = await self.client.call_tool(tool, dict(arguments))
        except MCPError as problem:
            return Reply(str(problem), "protocol_error")
        text = "\n".join(getattr(block, "text", "") for block in result.content)
        return make_reply(text, failed=bool(result.is_error))

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        try:
            found = await self.client.get_prompt(name, dict(arguments))
        except MCPError as problem:
            return str(problem)
        return found.model_dump_json()


@dataclass(frozen=True)
class HttpDoor:
    """A person or an agent of a team, at a replica of the service."""

    caller: Caller

    async def list_text(self) -> str:
        return json.dumps(await to_thread.run_sync(self.caller.tools))

    async def names(self) -> list[str]:
        return list(await to_thread.run_sync(self.caller.tools))

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Reply:
        params = {"name": tool, "arguments": dict(arguments)}
        message = await self._ask("tools/call", params)
        if "result" not in message:
            return Reply(json.dumps(message), "protocol_error")
        result = message["result"]
        text = "\n".join(block.get("text", "") for block in result["content"])
        return make_reply(text, failed=result.get("isError", False))

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        return json.dumps(
            await self._ask("prompts/get", {"name": name, "arguments": dict(arguments)})
        )

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = await to_thread.run_sync(self.caller.ask, method, params)
        return answer.message if answer.status == 200 else {"status": answer.status}
