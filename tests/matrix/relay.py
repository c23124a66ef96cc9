"""A TCP relay in front of one server, which passes, delays or breaks connections on demand.

A listener sees each labelled piece before and after it is passed on, in the thread that passes it:
a fault made there happens at exactly that point, and while the listener waits, nothing passes.
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from postgres_server import LOOPBACK

from matrix.messages import (
    RESPONSE,
    BackendSplitter,
    FrontendSplitter,
    Labels,
    Piece,
    PlainSplitter,
    RequestSplitter,
    Splitter,
)

Direction = Literal["up", "down"]
"""`up` is towards the server."""

Moment = Literal["before", "after"]
Kind = Literal["postgres", "http", "plain"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Passing:
    """A piece that passes, or a connection that was accepted (label `ACCEPTED`).

    `link` identifies the connection within its relay.
    """

    relay: Relay
    link: int
    direction: Direction
    labels: Labels
    moment: Moment


ACCEPTED = "ACCEPTED"
Listener = Callable[[Passing], None]


@dataclass(eq=False)
class Relay:
    """A relay to one port of this machine.

    Args:
        target: the server's port; it may change, for new connections.
        kind: the protocol, by which pieces are cut.
        listener: told of each labelled piece; None tells nobody.
    """

    target: int
    kind: Kind = "plain"
    listener: Listener | None = None
    name: str = ""
    port: int = field(init=False)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _links: set[_Link] = field(default_factory=set)
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _held: set[Direction] = field(default_factory=set)
    _refusing: bool = False
    _closed: bool = False

    def __post_init__(self) -> None:
        self._listening = socket.create_server((LOOPBACK, 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset all connections, and refuse new ones until `heal`."""
        with self._lock:
            self._refusing = True
        self.reset()

    def reset(self) -> None:
        """Reset the present connections; new ones pass."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.reset()

    def hold(self, *directions: Direction) -> None:
        """Let nothing pass, as a network that drops packets: what was sent may arrive later."""
        with self._lock:
            self._held |= set(directions or ("up", "down"))

    def heal(self, *, lose: bool = False) -> None:
        """Let everything pass again; with `lose`, what was held never arrives."""
        with self._lock:
            held = bool(self._held)
        if lose and held:
            self.reset()
        with self._lock:
            self._held.clear()
            self._refusing = False
            self._lock.notify_all()

    def close(self) -> None:
        self._closed = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.reset()
        self.heal()

    def wait_to_pass(self, link: _Link, direction: Direction) -> bool:
        """Wait while this direction is held; return False once the connection is gone."""
        with self._lock:
            while direction in self._held and not link.gone and not self._closed:
                self._lock.wait(0.2)
        return not link.gone

    def tell(self, link: int, direction: Direction, piece: Piece, moment: Moment) -> None:
        if self.listener is not None and piece.labels:
            self.listener(Passing(self, link, direction, piece.labels, moment))

    def forget(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        if self._refusing:
            _reset(client)
            return
        number = next(self._numbers)
        self.tell(number, "up", Piece(b"", frozenset({ACCEPTED})), "after")
        try:
            server = socket.create_connection((LOOPBACK, self.target), timeout=10)
        except OSError:
            _reset(client)
            return
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(self, number, client, server)
        with self._lock:
            self._links.add(link)
        if self._refusing:  # cut while it connected
            link.reset()
            return
        link.start()

    def splitters(self) -> dict[Direction, Splitter]:
        match self.kind:
            case "postgres":
                return {"up": FrontendSplitter(), "down": BackendSplitter()}
            case "http":
                return {"up": RequestSplitter(), "down": PlainSplitter(RESPONSE)}
            case _:
                return {"up": PlainSplitter(), "down": PlainSplitter()}


@dataclass(eq=False)
class _Link:
    """One connection: two sockets and a thread for each direction."""

    relay: Relay
    number: int
    client: socket.socket
    server: socket.socket
    gone: bool = False
    _open: int = 2
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        splitters = self.relay.splitters()
        ways: list[tuple[Direction, socket.socket, socket.socket]] = [
            ("up", self.client, self.server),
            ("down", self.server, self.client),
        ]
        for direction, source, sink in ways:
            threading.Thread(
                target=self._pump, args=(direction, source, sink, splitters[direction]), daemon=True
            ).start()

    def reset(self) -> None:
        self.gone = True
        for end in (self.client, self.server):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            # A thread in recv keeps the socket open; shutdown wakes it, and it closes.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RD)
        _reset(self.client)
        _reset(self.server)
        self.relay.forget(self)

    def _pump(
        self, direction: Direction, source: socket.socket, sink: socket.socket, cut: Splitter
    ) -> None:
        try:
            while data := source.recv(_CHUNK):
                for piece in cut.split(data):
                    self.relay.tell(self.number, direction, piece, "before")
                    if not self.relay.wait_to_pass(self, direction):
                        return
                    sink.sendall(piece.data)
                    self.relay.tell(self.number, direction, piece, "after")
            if self.relay.wait_to_pass(self, direction):
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.reset()
        finally:
            self._end_one()

    def _end_one(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open:
                return
        for end in (self.client, self.server):
            with suppress(OSError):
                end.close()
        self.relay.forget(self)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    with suppress(OSError):
        end.close()
