"""HTTP protocols that drop silent connections, and those of other users of this machine."""

from __future__ import annotations

import asyncio  # noqa: TID251  uvicorn's protocol is asyncio's
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kartra_mcp.web import peers
from kartra_mcp.web.joined_writes import JoinedWrites
from kartra_mcp.web.timings import PageTimings


class TimedH11Protocol(H11Protocol):
    """Abort a connection whose request has no complete head in time."""

    head_timeout = PageTimings().request_head
    _late: asyncio.TimerHandle | None = None

    # uvicorn narrows the argument of asyncio's own method in the same way.
    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(cast("asyncio.Transport", JoinedWrites(transport, self.loop)))
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._wait_no_more()
        elif self._late is None and self.conn.trailing_data[0]:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.head_timeout, self._close)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        transport: Any = self.transport
        transport.abort()


class GuardedH11Protocol(TimedH11Protocol):
    """Abort connections of other users at once, so that they cannot occupy all connections."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        if peers.is_foreign_user(self.client, transport.get_extra_info("sockname")[1]):
            self._wait_no_more()
            transport.abort()


def make_protocol(timings: PageTimings) -> type[GuardedH11Protocol]:
    """Return the protocol class with the page's timeout for the head of a request."""

    class Protocol(GuardedH11Protocol):
        head_timeout = timings.request_head

    return Protocol
