"""Run the stand-in on loopback: in a thread of tests and of the demo, or as a program."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from uvicorn import Config, Server

from kartra_mcp.sandbox.http.server import listen
from kartra_mcp.sandbox.identity.app import make_application
from kartra_mcp.sandbox.identity.provider import IdentityProvider

HOST = "127.0.0.1"
_PATIENCE = 1
"""Seconds that open requests get when the server ends."""


class _Server(Server):
    """uvicorn server that reports when it listens."""

    def __init__(self, provider: IdentityProvider, ready: Callable[[], object]) -> None:
        super().__init__(
            Config(
                make_application(provider),
                ws="none",
                lifespan="off",
                access_log=False,
                proxy_headers=False,
                log_config=None,
                log_level="error",
                timeout_graceful_shutdown=_PATIENCE,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


@contextmanager
def running_identity(port: int = 0) -> Generator[IdentityProvider]:
    """Serve a new provider on loopback in a thread; yield its handle once it listens."""
    provider = IdentityProvider()
    with _listen(provider, port) as listening:
        ready = threading.Event()
        server = _Server(provider, ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        ready.wait()
        try:
            yield provider
        finally:
            server.should_exit = True
            thread.join()


def serve(port: int, announce: Callable[[str], object]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets the address once it listens."""
    provider = IdentityProvider()
    with _listen(provider, port) as listening:
        _Server(provider, lambda: announce(provider.issuer)).run(sockets=[listening])


def _listen(provider: IdentityProvider, port: int) -> socket.socket:
    listening = listen(HOST, port)
    provider.issuer = f"http://{HOST}:{listening.getsockname()[1]}"
    return listening
