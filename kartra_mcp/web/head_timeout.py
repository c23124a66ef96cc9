"""Timeout for the head of a request, and joined writes: the base of every HTTP protocol here."""

from __future__ import annotations

import asyncio  # noqa: TID251  uvicorn's protocols are asyncio's
from typing import Any, cast

from kartra_mcp.web.joined_writes import JoinedWrites
from kartra_mcp.web.timings import PageTimings


class HeadTimeout(asyncio.Protocol):
    """Abort a connection whose request has no complete head in time, or no end after its answer.

    It comes before uvicorn's protocol in the bases of a class, which ends the wait at each head.
    """

    head_timeout = PageTimings().request_head
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _late: asyncio.TimerHandle | None = None

    # uvicorn narrows the argument of asyncio's own method in the same way.
    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(cast("asyncio.Transport", JoinedWrites(transport, self.loop)))
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.head_timeout, self._close)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        transport: Any = self.transport
        transport.abort()
