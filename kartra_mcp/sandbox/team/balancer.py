"""A plain TCP load balancer on loopback: each connection goes to the next replica that answers.

It knows nothing of HTTP, sessions or health, so that what works behind it works behind any proxy.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import anyio
from anyio.abc import ByteStream, SocketStream
from anyio.from_thread import BlockingPortal, start_blocking_portal

HOST = "127.0.0.1"
CONNECT_SECONDS = 5.0


@dataclass
class Balancer:
    """A running balancer.

    Attributes:
        port: on which it listens.
        backends: ports of the replicas; may be changed while it runs.
    """

    port: int
    backends: list[int]
    _turn: count[int] = field(default_factory=count)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def handle(self, client: SocketStream) -> None:
        """Relay one connection until one side ends it."""
        async with client:
            replica = await self._connect()
            if replica is None:
                return
            async with replica, anyio.create_task_group() as tasks:
                tasks.start_soon(_relay, client, replica)
                await _relay(replica, client)
                tasks.cancel_scope.cancel()

    async def _connect(self) -> SocketStream | None:
        """Connect to the next replica that accepts; None if none does."""
        turn, backends = next(self._turn), list(self.backends)
        for number in range(len(backends)):
            port = backends[(turn + number) % len(backends)]
            try:
                with anyio.fail_after(CONNECT_SECONDS):
                    return await anyio.connect_tcp(HOST, port)
            except (OSError, TimeoutError):
                continue
        return None


async def _relay(source: ByteStream, target: ByteStream) -> None:
    """Copy until the source ends, then end the target's input."""
    try:
        async for chunk in source:
            await target.send(chunk)
        await target.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


@contextmanager
def running_balancer(backends: Sequence[int] = ()) -> Generator[Balancer]:
    """Run a balancer in a thread; all of its connections end with it."""
    with socket.create_server((HOST, 0)) as listening, start_blocking_portal() as portal:
        balancer = Balancer(listening.getsockname()[1], list(backends))
        over, ended = portal.call(anyio.Event), threading.Event()
        portal.start_task_soon(_serve, balancer, listening, over, ended)
        try:
            yield balancer
        finally:
            _end(portal, over, ended)


def _end(portal: BlockingPortal, over: anyio.Event, ended: threading.Event) -> None:
    portal.call(over.set)
    ended.wait(CONNECT_SECONDS)


async def _serve(
    balancer: Balancer, listening: socket.socket, over: anyio.Event, ended: threading.Event
) -> None:
    try:
        listener = await anyio.abc.SocketListener.from_socket(listening)
        async with anyio.create_task_group() as tasks, listener:
            tasks.start_soon(listener.serve, balancer.handle)
            await over.wait()
            tasks.cancel_scope.cancel()
    finally:
        ended.set()
