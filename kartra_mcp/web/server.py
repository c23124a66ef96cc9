"""One page process: bound to the loopback interface, serving until stopped or idle for long."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import uvicorn
from uvicorn import Config

from kartra_mcp.app import page_discovery
from kartra_mcp.app.page_discovery import PageEndpoint, PageLock
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.settings import Settings
from kartra_mcp.web.actions import Actions
from kartra_mcp.web.backend import ServerBackend
from kartra_mcp.web.events import ApprovalEvents
from kartra_mcp.web.http_protocol import make_protocol
from kartra_mcp.web.middleware import AuthMiddleware
from kartra_mcp.web.routes import Routes, load_static_files
from kartra_mcp.web.sessions import Sessions
from kartra_mcp.web.signals import SignalWaiter, StopWaiter
from kartra_mcp.web.timings import PageTimings
from kartra_mcp.web.views.pages import Pages

MAX_CONNECTIONS = 500


def serve(
    settings: Settings,
    held: PageLock,
    told: Callable[[str], None],
    timings: PageTimings = PageTimings(),  # noqa: B008  immutable
    stop: StopWaiter | None = None,
) -> bool:
    """Serve until stopped or idle. False: where it is could not be told in the state folder.

    Args:
        settings: of this process.
        held: the folder's `page.lock`.
        told: is given an address that lets somebody in, as soon as it does.
        timings: waiting times.
        stop: tells when to end; signals to this process where none is given.
    """
    stop = stop or SignalWaiter()
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        closing(Ledger(settings.state_dir)) as ledger,
    ):
        page = PageEndpoint(os.getpid(), listening.getsockname()[1], secrets.token_bytes(32))
        if not page_discovery.publish(settings.state_dir, page):
            return False
        told(page.make_login_url(time.time()))
        anyio.run(partial(_serve, _PageRun(settings, page, held, ledger, timings, stop), listening))
        stop.ignore()
    return True


@dataclass(slots=True)
class _PageRun:
    """One run, and why it is to end."""

    settings: Settings
    page: PageEndpoint
    held: PageLock
    ledger: Ledger
    timings: PageTimings
    stop: StopWaiter
    used_at: float = field(default_factory=time.monotonic)
    over: anyio.Event = field(default_factory=anyio.Event)

    def mark_used(self) -> None:
        self.used_at = time.monotonic()

    async def wait_for_signal(self) -> None:
        """A signal: whoever sent it, nobody else is sent here."""
        await self.stop.wait_for_one()
        await self._withdraw(None)

    async def wait_until_idle(self, live: ApprovalEvents) -> None:
        idle = self.timings.idle
        while not self.over.is_set():
            await anyio.sleep(min(self.timings.idle_check, idle / 4))
            if live.listeners:
                self.mark_used()
            if await run_in_thread(page_discovery.is_replaced, self.folder, self.page):
                self.over.set()  # the folder is gone, and with it all that could be shown
            elif time.monotonic() - self.used_at >= idle and not await self._has_pending():
                await self._withdraw(idle)

    @property
    def folder(self) -> Path:
        return self.settings.state_dir

    async def _has_pending(self) -> bool:
        try:
            return bool(await run_in_thread(self.ledger.approvals.pending_numbers))
        except KartraMCPError:
            return False

    async def _withdraw(self, unless_sent_within: float | None) -> None:
        """Let the next page begin, then end; where the turn is not to be had, end all the same."""
        try:
            done = await run_in_thread(
                page_discovery.unpublish, self.folder, self.held, unless_sent_within
            )
        except OSError:
            done = True
        if done:
            self.over.set()


class _Server(uvicorn.Server):
    """Ends when told to, without looking ten times a second; signals are ours."""

    def __init__(self, config: Config, over: anyio.Event) -> None:
        super().__init__(config)
        self._over = over

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets)

    async def main_loop(self) -> None:
        await self._over.wait()


async def _serve(serving: _PageRun, listening: socket.socket) -> None:
    live = ApprovalEvents(serving.ledger.approvals, serving.timings.event_poll)
    async with anyio.create_task_group() as tasks:
        beyond = ServerBackend(serving.settings, tasks)
        config = _make_config(_make_middleware(serving, live, beyond), serving.timings)
        server = _Server(config, serving.over)
        tasks.start_soon(live.run)
        tasks.start_soon(serving.wait_for_signal)
        tasks.start_soon(serving.wait_until_idle, live)
        tasks.start_soon(_end_streams, serving.over, live)
        try:
            await server.serve([listening])
        finally:
            with anyio.CancelScope(shield=True):
                await beyond.end()
            tasks.cancel_scope.cancel()


async def _end_streams(over: anyio.Event, live: ApprovalEvents) -> None:
    await over.wait()
    live.end()


def _make_middleware(
    serving: _PageRun, live: ApprovalEvents, beyond: ServerBackend
) -> AuthMiddleware:
    views = Pages(serving.ledger, serving.settings)
    sessions = Sessions(serving.page.secret)
    changes = Actions(serving.ledger, beyond, serving.settings.cli_flags)
    port = serving.page.port
    door = Routes(port, views, sessions, live, beyond, changes, load_static_files())
    timeout = serving.timings.request_body
    return AuthMiddleware(door.make_app(), port, sessions, views, serving.mark_used, timeout)


def _make_config(app: AuthMiddleware, timings: PageTimings) -> Config:
    return Config(
        app,
        http=make_protocol(timings),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,  # addresses hold tokens
        proxy_headers=False,  # who asks is who is connected, whatever is said
        server_header=False,
        date_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=timings.shutdown,
    )
