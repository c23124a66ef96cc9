"""Page process: bound to the loopback interface, serves until it is stopped or idle."""

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
from starlette.routing import Route
from uvicorn import Config

from kartra_mcp.app import page_discovery
from kartra_mcp.app.page_discovery import PageEndpoint, PageLock
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.listening import listen_tcp
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.settings import Settings
from kartra_mcp.web.actions import Actions
from kartra_mcp.web.backend import ServerBackend
from kartra_mcp.web.deciders import PinDecider
from kartra_mcp.web.event_server import EventServer
from kartra_mcp.web.events import PageEvents
from kartra_mcp.web.http_protocol import make_protocol
from kartra_mcp.web.local_gate import LOGIN_PATH, LocalGate
from kartra_mcp.web.middleware import AuthMiddleware
from kartra_mcp.web.routes import Routes, make_static_route
from kartra_mcp.web.sessions import Sessions
from kartra_mcp.web.signals import SignalWaiter, StopWaiter
from kartra_mcp.web.site import make_local_site
from kartra_mcp.web.timings import PageTimings
from kartra_mcp.web.views.pages import Pages
from kartra_mcp.web.views.place import Place
from kartra_mcp.web.views.plain_pages import PlainPages

MAX_CONNECTIONS = 500


@dataclass(frozen=True, slots=True)
class OwnCommand:
    """Command of this installation; "" if it is unknown.

    `public` is for pages without a login: the home folder, which has the user's name, is left out.
    """

    full: str = ""
    public: str = ""


def serve(
    settings: Settings,
    held: PageLock,
    announce: Callable[[str], None],
    timings: PageTimings = PageTimings(),  # noqa: B008  immutable
    stop: StopWaiter | None = None,
    command: OwnCommand = OwnCommand(),
) -> bool:
    """Serve until stopped or idle. Return False if the state folder could not be written.

    Args:
        settings: settings of this process.
        held: the folder's `page.lock`.
        announce: is called with a login address as soon as the page accepts it.
        timings: timeouts and intervals.
        stop: source of the request to stop; by default, signals to this process.
        command: command of this installation, as the pages show it for a terminal.
    """
    stop = stop or SignalWaiter()
    with (
        listen_tcp("127.0.0.1", 0) as listening,
        closing(
            open_ledger(
                settings.state_dir, fault=settings.ledger_fault, account=settings.account_kind
            )
        ) as ledger,
    ):
        page = PageEndpoint(os.getpid(), listening.getsockname()[1], secrets.token_bytes(32))
        if not page_discovery.publish(settings.state_dir, page):
            return False
        announce(page.make_login_url(time.time()))
        run = _PageRun(settings, page, held, ledger, timings, stop, command)
        anyio.run(partial(_serve, run, listening))
        stop.ignore()
    return True


@dataclass(slots=True)
class _PageRun:
    """State of one run; `over` is set when it has to end."""

    settings: Settings
    page: PageEndpoint
    held: PageLock
    ledger: Ledger
    timings: PageTimings
    stop: StopWaiter
    command: OwnCommand
    used_at: float = field(default_factory=time.monotonic)
    over: anyio.Event = field(default_factory=anyio.Event)

    def mark_used(self) -> None:
        self.used_at = time.monotonic()

    async def wait_for_signal(self) -> None:
        """End after a signal, even if a server sent a user here a moment ago."""
        await self.stop.wait_for_one()
        await self._withdraw(None)

    async def wait_until_idle(self, live: PageEvents) -> None:
        idle = self.timings.idle
        while not self.over.is_set():
            await anyio.sleep(min(self.timings.idle_check, idle / 4))
            if live.listeners:
                self.mark_used()
            if await run_in_thread(page_discovery.is_replaced, self.folder, self.page):
                self.over.set()  # the folder was removed or belongs to another page
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
        """Release the page's files for the next page, then end; end also if that fails."""
        try:
            done = await run_in_thread(
                page_discovery.unpublish, self.folder, self.held, unless_sent_within
            )
        except OSError:
            done = True
        if done:
            self.over.set()


async def _serve(serving: _PageRun, listening: socket.socket) -> None:
    live = PageEvents(serving.ledger, serving.timings.event_poll)
    async with anyio.create_task_group() as tasks:
        backend = ServerBackend(serving.settings, tasks)
        config = _make_config(_make_middleware(serving, live, backend), serving.timings)
        server = EventServer(config, serving.over)
        tasks.start_soon(live.run)
        tasks.start_soon(serving.wait_for_signal)
        tasks.start_soon(serving.wait_until_idle, live)
        tasks.start_soon(_end_streams, serving.over, live)
        try:
            await server.serve([listening])
        finally:
            with anyio.CancelScope(shield=True):
                await backend.end()
            tasks.cancel_scope.cancel()


async def _end_streams(over: anyio.Event, live: PageEvents) -> None:
    await over.wait()
    live.end()


def _make_middleware(serving: _PageRun, live: PageEvents, backend: ServerBackend) -> AuthMiddleware:
    settings, ledger = serving.settings, serving.ledger
    # Without the folder's path: it may contain the owner's name, and these pages are public.
    flags = " --sandbox" if settings.sandbox else ""
    plain = PlainPages(flags=flags, program=serving.command.public)
    site = make_local_site(serving.page.port)
    gate = LocalGate(site, Sessions(serving.page.secret), plain, serving.mark_used)
    routes = Routes(
        Pages(ledger, _make_place(settings, serving.command.full)),
        plain,
        live,
        backend,
        Actions(ledger, backend, PinDecider(ledger, settings.cli_flags)),
        more=[Route(LOGIN_PATH, gate.login, methods=["GET"]), make_static_route()],
    )
    return AuthMiddleware(routes.make_app(), site, gate, plain, serving.timings.request_body)


def _make_place(settings: Settings, program: str) -> Place:
    return Place(
        limits=settings.limits,
        flags=settings.cli_flags,
        sandbox=settings.sandbox,
        folder=str(settings.state_dir),
        program=program,
    )


def _make_config(app: AuthMiddleware, timings: PageTimings) -> Config:
    return Config(
        app,
        http=make_protocol(timings),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,  # addresses contain tokens
        proxy_headers=False,  # the peer check needs the connection's own address
        server_header=False,
        date_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=timings.shutdown,
    )
