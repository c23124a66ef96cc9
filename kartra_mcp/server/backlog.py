"""Back-pressure: reading pauses while too much is unanswered or unwritten."""

from __future__ import annotations

import anyio

from kartra_mcp.server.message_lines import RequestId

MAX_OPEN_REQUESTS = 256
MAX_BACKLOG_BYTES = 16 * 1024 * 1024


class Backlog:
    """Requests without an answer, and answers that the client has not read.

    Without a bound, a client that sends and does not read fills the memory. The bounds are far
    above what clients have open at once: while reading pauses, no cancellation is read either.
    """

    def __init__(self) -> None:
        self._open: dict[RequestId, list[int]] = {}
        self._requests = 0
        self._bytes = 0
        self._waiting: anyio.Event | None = None
        self._abandoned = False

    @property
    def is_full(self) -> bool:
        return self._requests >= MAX_OPEN_REQUESTS or self._bytes >= MAX_BACKLOG_BYTES

    async def wait_for_room(self) -> bool:
        """Wait until there is room; return False if reading must end instead."""
        while self.is_full and not self._abandoned:
            self._waiting = anyio.Event()
            await self._waiting.wait()
        return not self.is_full

    def abandon(self) -> None:
        """End a reader that waits, now or later: the client has closed its end."""
        self._abandoned = True
        self._wake()

    def open(self, request_id: RequestId, size: int) -> None:
        """Count a request. A client may wrongly use an id twice at once."""
        self._open.setdefault(request_id, []).append(size)
        self._requests += 1
        self._bytes += size

    def close(self, request_id: RequestId | None) -> None:
        """Count a request as settled; ids that are not open are ignored."""
        if request_id is None or not (sizes := self._open.get(request_id)):
            return
        self._requests -= 1
        self._bytes -= sizes.pop()
        if not sizes:
            del self._open[request_id]
        self._wake()

    def add_unwritten(self, size: int) -> None:
        """Count bytes that wait for the client; a negative size when they are written."""
        self._bytes += size
        self._wake()

    def _wake(self) -> None:
        if self._waiting and (self._abandoned or not self.is_full):
            self._waiting.set()
            self._waiting = None
