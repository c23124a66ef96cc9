"""Sockets of our servers: asyncio recognizes them as TCP."""

from __future__ import annotations

import asyncio
import socket

from kartra_mcp.core.listening import listen_tcp


def test_answers_do_not_wait_for_an_acknowledgment():
    """Bug: each answer of the service and of the page took 40 ms, for want of TCP_NODELAY."""

    async def read_option() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            found.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = listen_tcp("127.0.0.1", 0)
        async with await asyncio.start_server(accept, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            option = await found
            writer.close()
        return option

    assert asyncio.run(read_option())
