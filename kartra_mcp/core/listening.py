"""Listening sockets of our servers."""

from __future__ import annotations

import os
import socket


def listen_tcp(host: str, port: int, backlog: int = 100) -> socket.socket:
    """Return a socket that accepts connections; port 0 is any free one.

    asyncio sets TCP_NODELAY only on sockets that are made with the number of TCP, which
    `socket.create_server` does not give. Without it, answers wait 40 ms for an acknowledgment.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let another program take the port over
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made
