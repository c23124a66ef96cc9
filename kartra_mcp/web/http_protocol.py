"""HTTP protocols that drop silent connections, and those of other users of this machine."""

from __future__ import annotations

import asyncio  # noqa: TID251  uvicorn's protocol is asyncio's

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kartra_mcp.web import peers
from kartra_mcp.web.head_timeout import HeadTimeout
from kartra_mcp.web.timings import PageTimings


class TimedH11Protocol(HeadTimeout, H11Protocol):
    """Requests are read by h11."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()  # which may find the next head, or half of it
        self._watch()

    def _watch(self) -> None:
        """Limit the time for the rest of a head, and of a body whose request is answered."""
        state = self.conn.their_state
        if state is h11.IDLE:
            is_late = bool(self.conn.trailing_data[0])
        else:
            is_late = state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if is_late:
            self._wait()
        else:
            self._wait_no_more()


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
