"""HTTP protocol of the team service where httptools is installed.

llhttp reads more as a request than h11 does, and does not report all of it. A proxy before the
service that finds another end of a request would let one client write into the request of another.
So this class cuts what comes into heads and bodies, checks a head against one strict grammar, and
gives llhttp each part on its own: a request goes on only while both find the same end of it.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  uvicorn's protocol is asyncio's
import re
from collections.abc import Iterable
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kartra_mcp.web.head_timeout import HeadTimeout

MAX_HEAD_BYTES = 65_536
"""Bytes of a head, of the line before a chunk, and of all trailers.

h11 buffers 16 KiB of an incomplete head, and takes any that comes in one segment.
"""

_MAX_LENGTH_DIGITS = 19
_REFUSAL = "Invalid HTTP request received."
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_TOKEN = rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+"
_HEAD = re.compile(
    _TOKEN + rb" [\x21-\x7e]+ HTTP/1\.[01]\r\n"
    rb"(?:" + _TOKEN + rb":[^\x00\n\r\x0b\x0c]*\r\n)*\r\n"  # no folded lines
)
_UPGRADE = re.compile(rb"\r\nupgrade:[^\n]*(?=\r\n)", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}(?=[;\r])")  # llhttp counts in 64 bits
_SPACE = 0x20

Headers = Iterable[tuple[bytes, bytes]]


class Refused(httptools.HttpParserError):
    """A request that llhttp may accept and this class does not."""


class StrictHttpToolsProtocol(HeadTimeout, HttpToolsProtocol):
    """Requests are read by llhttp, one at a time, and only those that h11 would read as well.

    A pipelined request is not read before the one before it is answered: a fault in it must not
    become the answer to the other.
    """

    _has_head = False  # of the request that is being read or answered
    _is_whole = False
    _is_chunked = False
    _left = 0  # bytes of the body, or of a chunk with its line break
    _trailer_bytes: int | None = None  # read so far; None before the last chunk

    # uvicorn narrows the argument of asyncio's own method in the same way.
    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._unread = bytearray()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._read()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._unread:
            self._read()
        self._watch()

    def on_message_begin(self) -> None:
        if self._has_head:
            raise Refused("another request inside the part of one")
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # what comes later is a trailer, never a header
            super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        length = _find_length(self.headers)
        self._is_chunked, self._left = length is None, length or 0
        _check(self.parser.get_method(), self.parser.get_http_version(), self.headers)
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False
        # httptools takes an absolute address apart, and refuses others: the path is all of it here.
        target, self.url = self.url, b"/"
        self._has_head = True
        super().on_headers_complete()
        if not self.parser.should_keep_alive():  # older versions of uvicorn look for `close` alone
            self.cycle.keep_alive = False
        raw_path, _, self.scope["query_string"] = target.partition(b"?")
        self.scope["path"] = self.root_path + unquote(raw_path.decode("ascii"))
        self.scope["raw_path"] = self.root_path.encode("ascii") + raw_path

    def on_message_complete(self) -> None:
        self._is_whole = True
        super().on_message_complete()

    def _read(self) -> None:
        """Read what came, up to the end of a request that has no answer yet."""
        self._unset_keepalive_if_required()
        try:
            while self._unread and self._read_part():
                pass
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse()
            return
        self._watch()

    def _watch(self) -> None:
        """Limit the time for the rest of a head, and of a body whose request is answered."""
        if self._has_head and (self._is_whole or not self.cycle.response_complete):
            self._wait_no_more()
        elif self._has_head or self._unread:
            self._wait()

    def _read_part(self) -> bool:
        """Read one part; return whether there may be another."""
        if self._is_whole:
            if not self.cycle.response_complete:
                self.flow.pause_reading()
                return False
            self._has_head = self._is_whole = False
        if not self._has_head:
            return self._read_head()
        if self._is_chunked and not self._left:
            return self._read_line()
        part = self._take(min(self._left, len(self._unread)))
        self._left -= len(part)
        self.parser.feed_data(part)
        self._check_end(is_whole=not self._left and not self._is_chunked)
        return True

    def _read_head(self) -> bool:
        end = _END_OF_HEAD.search(self._unread)
        size = end.end() if end else len(self._unread)
        if size > MAX_HEAD_BYTES or self._unread[0] <= _SPACE:
            raise Refused("no head")
        if end is None:
            return False
        head = self._take(size)
        if _HEAD.fullmatch(head) is None:
            raise Refused("malformed head")
        if b"\r\nupgrade:" in head.lower():
            # llhttp would take the body for another protocol. Java's client asks for HTTP/2 so.
            head = _UPGRADE.sub(b"", head)
        self._trailer_bytes = None
        self.parser = httptools.HttpRequestParser(self)  # nothing of the last request is left in it
        self.parser.feed_data(head)
        self._check_end(is_whole=not self._left and not self._is_chunked)
        return True

    def _read_line(self) -> bool:
        """Read the line before a chunk, or a trailer."""
        end = self._unread.find(b"\r\n") + 2
        size = end if end > 1 else len(self._unread)
        if size + (self._trailer_bytes or 0) > MAX_HEAD_BYTES:
            raise Refused("extension or trailers too long")
        if end == 1:
            return False
        line = self._take(end)
        if self._trailer_bytes is None:
            self._begin_chunk(line)
        else:
            self._trailer_bytes += len(line)
        self.parser.feed_data(line)
        self._check_end(is_whole=line == b"\r\n")
        return True

    def _begin_chunk(self, line: bytes) -> None:
        found = _CHUNK_SIZE.match(line)
        if found is None:
            raise Refused("no size of a chunk")
        size = int(found[0], 16)
        if size:
            self._left = size + len(b"\r\n")
        else:
            self._trailer_bytes = 0

    def _take(self, size: int) -> bytes:
        part = bytes(self._unread[:size])
        del self._unread[:size]
        return part

    def _check_end(self, *, is_whole: bool) -> None:
        """Refuse a request of which llhttp found another end."""
        if not self._has_head or self._is_whole != is_whole:
            raise Refused("two ends of one request")

    def _refuse(self) -> None:
        """Answer 400 unless an answer has begun, and close."""
        self._wait_no_more()
        self._unread.clear()
        cycle = self.cycle if self._has_head else None
        if cycle is None or not cycle.response_started:
            self.send_400_response(_REFUSAL)
        else:
            self.transport.close()
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()


def _check(method: bytes, version: str, headers: Headers) -> None:
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (version == "1.1" and not hosts):
        raise Refused("not one host")
    if method == b"CONNECT":
        raise Refused("no tunnel here")


def _find_length(headers: Headers) -> int | None:
    """Return how long a body is; None if it is chunked.

    Raises:
        Refused: the length is given twice, or not as digits, or the coding is not just `chunked`.
    """
    framing = [
        (name, value)
        for name, value in headers
        if name in (b"content-length", b"transfer-encoding")
    ]
    if not framing:
        return 0
    name, value = framing[0]
    if len(framing) > 1:
        raise Refused("two lengths")
    if name == b"transfer-encoding":
        if value.lower() == b"chunked":
            return None
    elif value.isdigit() and len(value) <= _MAX_LENGTH_DIGITS:
        return int(value)
    raise Refused("no length")
