"""Faults of the connection: no response, closed early, another's response, half of one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from kartra_mcp.sandbox.kartra import fault_injection

BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


class Protocol(H11Protocol):
    """uvicorn protocol that can close the connection, which ASGI cannot express."""

    # uvicorn narrows the argument of asyncio's own method in the same way.
    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        joined = cast("asyncio.Transport", JoiningTransport(transport, self.loop))
        super().connection_made(joined)
        self.app_state = {**self.app_state, "transport": joined}


class JoiningTransport:
    """Transport that sends what is written in one turn of the loop as one segment.

    A server on Node sends head and body of such a response together, uvicorn one after the other:
    the client would wake up twice.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._send)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._waiting:
            self._transport.write(b"".join(self._waiting))
            self._waiting.clear()


class Ended(Response):
    """Response that ends as a fault requires: `hang`, `killed`, `cut`, `silent` or `garbage`."""

    def __init__(self, kind: str, request: Request, headers: Mapping[str, str]) -> None:
        status = {"garbage": 502, "silent": 500}.get(kind, 200)
        page = BAD_GATEWAY if kind == "garbage" else ""
        super().__init__(page, status, headers, media_type="text/html")
        self.kind = kind
        self.transport: asyncio.Transport = request.state.transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.kind in {"silent", "garbage"}:
            await super().__call__(scope, receive, send)
            return
        if self.kind == "cut":
            await send(_response_head())
            await send(
                {
                    "type": "http.response.body",
                    "body": fault_injection.HALF.encode(),
                    "more_body": True,
                }
            )
        if self.kind != "hang":
            self.transport.close()
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self.transport.close()


def _response_head() -> dict[str, Any]:
    """Return headers that announce more bytes than will be sent."""
    length = str(2 * len(fault_injection.HALF)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    return {"type": "http.response.start", "status": 200, "headers": headers}
