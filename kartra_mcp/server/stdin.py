"""Reader of the client's lines without a thread: one per line would cost more than the line."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from collections import deque

import anyio
import anyio.to_thread

from kartra_mcp.core.input_size import MAX_MESSAGE_BYTES
from kartra_mcp.server.message_lines import EDGE_BYTES, Line, OversizedLine

CHUNK = 256 * 1024


class LineReader:
    """Lines ended by LF alone. Of a line that is too large only its ends are kept."""

    def __init__(self, source: io.FileIO, platform: str = sys.platform) -> None:
        self._source = source
        self._watched = platform != "win32" and _can_be_watched(source.fileno())
        self._lines: deque[Line] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        self._ends: OversizedLine | None = None
        self.ended = False

    def fileno(self) -> int:
        return self._source.fileno()

    async def next_line(self, max_wait: float | None = None) -> Line | None:
        """Return the next line, or None after `max_wait` seconds without input or at the end.

        Only a pipe, socket or terminal has this limit.
        """
        while not self._lines and not self.ended:
            if not self._watched:
                self._take(await anyio.to_thread.run_sync(self._read))
            elif max_wait is None or await self._await_input(max_wait):
                await anyio.wait_readable(self._source.fileno())
                self._take(self._read())
            else:
                return None
        return self._lines.popleft() if self._lines else None

    async def _await_input(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await anyio.wait_readable(self._source.fileno())
        # The timeout may have passed while the event loop was busy, and the input have come.
        ready = select.poll()
        ready.register(self._source.fileno(), select.POLLIN)
        return bool(ready.poll(0))

    def _read(self) -> bytes:
        try:
            return os.read(self._source.fileno(), CHUNK)
        except OSError:
            return b""  # a socket that was reset or a closed terminal: the client is gone

    def _take(self, chunk: bytes) -> None:
        first, *rest = chunk.split(b"\n")
        self._keep(first)
        for part in rest:
            self._end_line()
            self._keep(part)
        if not chunk:
            self.ended = True
            if self._size:
                self._end_line()

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._ends:
            self._ends = OversizedLine(self._ends.head, (self._ends.tail + part)[-EDGE_BYTES:])
            return
        self._parts.append(part)
        if self._size > MAX_MESSAGE_BYTES:
            kept = b"".join(self._parts)
            self._ends = OversizedLine(kept[:EDGE_BYTES], kept[-EDGE_BYTES:])
            self._parts.clear()

    def _end_line(self) -> None:
        self._lines.append(self._ends or b"".join(self._parts))
        self._parts.clear()
        self._size, self._ends = 0, None


def _can_be_watched(descriptor: int) -> bool:
    """Return True if the system can report new input on this descriptor; it cannot for files."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
