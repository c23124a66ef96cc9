"""Bodies of requests: read whole before the call, within a size and a time."""

from __future__ import annotations

from collections import deque

import anyio
from starlette.types import Message, Receive

from kartra_mcp.service.request_checks import declared_length


class BodyRefused(Exception):
    """A body that is too large (413) or too slow (408), or whose client went away (0)."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def read_body(scope: Message, receive: Receive, most: int, seconds: float) -> Receive:
    """Read a body, and return a `receive` that yields it again.

    Raises:
        BodyRefused: it is larger than `most` bytes, or was not there after so many seconds.
    """
    declared = declared_length(scope)
    if declared is not None and declared > most:
        raise BodyRefused(413)
    with anyio.move_on_after(seconds):
        return _replay(await _read(receive, most), receive)
    raise BodyRefused(408)


async def _read(receive: Receive, most: int) -> bytes:
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BodyRefused(0)
        parts += message.get("body", b"")
        if len(parts) > most:
            raise BodyRefused(413)
        if not message.get("more_body", False):
            return bytes(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    ready: deque[Message] = deque(
        [{"type": "http.request", "body": body, "more_body": False}],
    )

    async def replay() -> Message:
        return ready.popleft() if ready else await receive()

    return replay
