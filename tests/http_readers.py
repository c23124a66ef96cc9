"""HTTP servers of the team service with each reader of requests, and what each of them read.

The app keeps every request whose body it got whole, and answers it with 200. Over sockets the
server is that of a replica; in memory the protocol alone is fed, segment by segment.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import anyio
import h11
import pytest
from uvicorn.server import ServerState

from kartra_mcp.service.bodies import BodyRefused, read_body
from kartra_mcp.service.responses import send_empty
from kartra_mcp.service.server import listen, make_config
from kartra_mcp.service.timings import ServiceTimings
from kartra_mcp.web.event_server import EventServer

READERS = ("h11", "httptools")
TIMINGS = ServiceTimings(request_head=0.5, request_body=0.5)
PATIENCE = 30.0
REFUSED, TOO_LARGE, TOO_SLOW = 400, 413, 408
MOST = 4 * 1024 * 1024
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) ")
_OF_A_HOP = frozenset({b"upgrade"})  # httptools is not shown it


@dataclass(frozen=True)
class Request:
    """A request as an app sees it."""

    method: str
    path: str
    raw_path: bytes
    query: bytes
    version: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass
class Recorder:
    """ASGI app that keeps requests; the body of one to /unread is not read."""

    seen: list[Request] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        if scope["path"] != "/unread":
            try:
                replay = await read_body(scope, receive, MOST, TIMINGS.request_body)
            except BodyRefused as refused:
                if refused.status:
                    await send_empty(send, refused.status, {"connection": "close"})
                return
            body = (await replay())["body"]
        self.seen.append(_make_request(scope, body))
        await send_empty(send, 200)


def _make_request(scope: Any, body: bytes) -> Request:
    headers = tuple(
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in scope["headers"]
        if name not in _OF_A_HOP
    )
    return Request(
        scope["method"],
        scope["path"],
        scope["raw_path"],
        scope["query_string"],
        scope["http_version"],
        headers,
        body,
    )


@dataclass(frozen=True)
class Outcome:
    """Statuses of the answers, and the requests that the app saw."""

    statuses: tuple[int, ...]
    seen: tuple[Request, ...]
    raw: bytes = field(default=b"", compare=False)
    is_timed: bool = field(default=False, compare=False)  # in memory: the rest of something is due

    @classmethod
    def of(cls, raw: bytes, seen: Iterable[Request]) -> Outcome:
        return cls(tuple(int(status) for status in _STATUS.findall(raw)), tuple(seen), raw)


def check(strict: Outcome, found: Outcome) -> None:
    """Check that nothing was read but what h11 read, and nothing answered twice."""
    assert found.seen == strict.seen[: len(found.seen)], (strict, found)
    answers = tuple(status for status in found.statuses if status != REFUSED)
    assert answers == strict.statuses[: len(answers)], (strict, found)
    assert len(answers) <= len(found.seen) or answers[-1] in (TOO_LARGE, TOO_SLOW), found
    assert found.statuses in (answers, (*answers, REFUSED)), found


@dataclass
class Server:
    """A running server."""

    port: int
    app: Recorder

    def send(self, *segments: bytes) -> Outcome:
        """Send on one connection until the server closes it."""
        self.app.seen.clear()
        with closing(socket.create_connection(("127.0.0.1", self.port), PATIENCE)) as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            try:
                for segment in segments:
                    link.sendall(segment)
                while more := link.recv(65_536):
                    received += more
            except ConnectionError:  # it closed with unread bytes
                pass
        return Outcome.of(received, self.app.seen)


def use_reader(reader: str, patch: pytest.MonkeyPatch) -> None:
    """Let a server that is configured from now on read by this reader."""
    if reader == "h11":
        patch.setitem(sys.modules, "httptools", None)
        patch.delitem(sys.modules, "kartra_mcp.web.httptools_protocol", raising=False)


@contextmanager
def running(reader: str, timings: ServiceTimings = TIMINGS) -> Generator[Server]:
    """Yield a server on loopback, in a thread."""
    app, listening = Recorder(), listen("127.0.0.1", 0)
    with pytest.MonkeyPatch.context() as patch:
        use_reader(reader, patch)
        config = make_config(app, timings)
    ready, ends = threading.Event(), list[Any]()

    async def main() -> None:
        over = anyio.Event()
        ends.append((asyncio.get_running_loop(), over))
        ready.set()
        await EventServer(config, over).serve([listening])

    on_uvloop = {"use_uvloop": find_spec("uvloop") is not None}  # as `run_replica`
    thread = threading.Thread(target=lambda: anyio.run(main, backend_options=on_uvloop))
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield Server(listening.getsockname()[1], app)
    finally:
        loop, over = ends[0]
        loop.call_soon_threadsafe(over.set)
        thread.join()


class _Wire(asyncio.Transport):
    """Transport in memory."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.sent = b""
        self.is_closed = self.is_paused = False

    def write(self, data: Any) -> None:
        if not self.is_closed:
            self.sent += data

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


@dataclass
class MemoryServer:
    """A protocol class of a replica, fed in memory: a request without an end waits for nothing."""

    reader: str

    def __post_init__(self) -> None:
        self._app = Recorder()
        with pytest.MonkeyPatch.context() as patch:
            use_reader(self.reader, patch)
            self._config = make_config(self._app, ServiceTimings())
            self._config.load()

    def send(self, *segments: bytes) -> Outcome:
        """Give the segments to a new connection, and return what came of them."""
        return asyncio.run(self._send(segments))

    async def _send(self, segments: Sequence[bytes]) -> Outcome:
        self._app.seen.clear()
        make: Any = self._config.http_protocol_class
        wire, protocol = _Wire(), make(self._config, ServerState(), {})
        protocol.connection_made(wire)
        for segment in segments:
            await _settle()
            if wire.is_closed:
                break
            try:
                protocol.data_received(segment)
            except h11.LocalProtocolError:  # a fault of h11's protocol after an answer has begun
                wire.abort()
        await _settle()
        outcome = Outcome.of(wire.sent, self._app.seen)
        outcome = replace(outcome, is_timed=protocol._late is not None)
        protocol.connection_lost(None)
        await _settle()
        return outcome


async def _settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(30):
        await asyncio.sleep(0)
