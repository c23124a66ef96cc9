"""Uvicorn server of the page and of the team service."""

from __future__ import annotations

import socket

import anyio
import uvicorn
from uvicorn import Config


class EventServer(uvicorn.Server):
    """Uvicorn server that ends on an event instead of polling; installs no signal handlers."""

    def __init__(self, config: Config, over: anyio.Event) -> None:
        super().__init__(config)
        self._over = over

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets)

    async def main_loop(self) -> None:
        await self._over.wait()
