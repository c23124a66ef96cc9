"""Reader of the client's lines without a thread: one per line would cost more than the line."""

from __future__ import annotations

import logging
import os
import re
import stat
import sys
from collections import deque
from collections.abc import Callable

import anyio

CHUNK = 256 * 1024

log = logging.getLogger(__name__)


class LineReader:
    """Lines of UTF-8 ended by LF alone; a line longer than the limit is dropped.

    `on_end` is called at the end of input.
    """

    def __init__(self, descriptor: int, limit: int, on_end: Callable[[], None]) -> None:
        self._descriptor, self._limit, self._on_end = descriptor, limit, on_end
        self._lines: deque[bytes] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = False

    def __aiter__(self) -> LineReader:
        return self

    async def __anext__(self) -> str:
        while not self._lines:
            if self._ended:
                raise StopAsyncIteration
            await anyio.wait_readable(self._descriptor)
            self._take(self._read())
        return decode_line(self._lines.popleft())

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, CHUNK)
        except OSError:
            return b""  # a socket that was reset or a closed terminal: the client is gone

    def _take(self, chunk: bytes) -> None:
        first, *rest = chunk.split(b"\n")
        self._keep(first)
        for part in rest:
            self._end_line()
            self._keep(part)
        if not chunk:
            self._ended = True
            self._on_end()
            if self._size:
                self._end_line()

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size < self._limit:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _end_line(self) -> None:
        if self._size < self._limit:
            self._lines.append(b"".join(self._parts))
        else:
            log.warning("a line of input was longer than 64 MB and was dropped")
        self._parts.clear()
        self._size = 0


def can_be_watched(descriptor: int) -> bool:
    """Return True if the system can report new input on this descriptor; it cannot for files."""
    mode = os.fstat(descriptor).st_mode
    known = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
    return sys.platform != "win32" and known


def decode_line(line: bytes) -> str:
    """Return the text of a line; invalid bytes and escaped lone surrogates become U+FFFD."""
    return _escape_lone_surrogates(line.decode("utf-8", "replace"))


_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def _escape_lone_surrogates(line: str) -> str:
    """Replace each escaped lone surrogate: the parser would refuse the line, without an answer."""
    if "\\ud" not in line and "\\uD" not in line:
        return line
    return _ESCAPES.sub(lambda found: "\\ufffd" if found["half"] else found[0], line)
