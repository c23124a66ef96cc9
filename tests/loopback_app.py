"""An ASGI app on a free port of loopback, in a thread, for tests and tools."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

HOST = "127.0.0.1"
KEEP_ALIVE = 75
"""Seconds; a client that reuses a connection should not meet its end."""


@contextmanager
def running_app(app: Any) -> Generator[int]:
    """Serve the app; yield its port. Connections are accepted at once."""
    with socket.create_server((HOST, 0)) as listening:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="critical",  # a client that leaves a stream is no error
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
