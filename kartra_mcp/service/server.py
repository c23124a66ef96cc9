"""Server of one replica: its sockets, its tasks, and its end in the order of safety.

The first signal: not ready, no new write, the end of listen streams; then running writes end, then
other requests, then the process. A second signal ends the process at once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Protocol

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config

from kartra_mcp.app.composition import AccountParts
from kartra_mcp.app.team_service import ReplicaSeams, ServiceOptions, open_parts, open_store
from kartra_mcp.calls.running_writes import RunningWrites, shutting_down_error
from kartra_mcp.core.listening import listen_tcp
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.revocation_feed import RevocationFeed
from kartra_mcp.ledger.postgres.store import PostgresStore
from kartra_mcp.processes.signals import watch_termination
from kartra_mcp.service.accounts import AccountService
from kartra_mcp.service.app import ServiceApp
from kartra_mcp.service.authentication import Verifier
from kartra_mcp.service.logs import write_event
from kartra_mcp.service.notices import Notices
from kartra_mcp.service.observer import ServiceObserver, Sink
from kartra_mcp.service.readiness import Readiness
from kartra_mcp.service.revocation_watch import RevocationWatch
from kartra_mcp.service.timings import ServiceTimings
from kartra_mcp.team.loading import Team
from kartra_mcp.web.event_server import EventServer
from kartra_mcp.web.head_timeout import HeadTimeout
from kartra_mcp.web.http_protocol import TimedH11Protocol

MAX_CONNECTIONS = 4_000
"""Open connections of one replica, most of them idle; above it the answer is 503."""

BACKLOG = 2_048
FORCED_EXIT = 143
"""Exit status after a second signal: writes that ran have an unknown outcome."""

_FILES = 8_192


class Page(Protocol):
    """The approval page: an ASGI app with work behind it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def run(self) -> None:
        """Do the work behind it until it is cancelled."""
        ...

    def end(self) -> None:
        """End open event streams, so that a server can stop."""
        ...


@dataclass(slots=True)
class Replica:
    """All objects of one replica.

    Args:
        team: the loaded team file.
        connections: the pool of its database.
        verifier: of tokens.
        options: settings for every account.
        timings: limits of slow clients and of the end.
        sinks: metrics, logs, traces.
        make_page: makes the page below `/page` of the finished accounts.
        jobs: work behind the calls, e.g. `ServiceJobs`; it runs until it is cancelled.
    """

    team: Team
    connections: Connections
    verifier: Verifier
    options: ServiceOptions
    timings: ServiceTimings = field(default_factory=ServiceTimings)
    sinks: tuple[Sink, ...] = ()
    make_page: Callable[[Replica], Page] | None = None
    jobs: Callable[[Replica], Coroutine[Any, Any, None]] | None = None
    process: RunningWrites = field(default_factory=RunningWrites)
    stores: Mapping[str, PostgresStore] = field(init=False)
    accounts: Mapping[str, AccountService] = field(init=False)
    notices: Notices | None = field(init=False)
    readiness: Readiness = field(init=False)
    revocations: RevocationWatch = field(init=False)
    page: Page | None = field(init=False)
    app: ServiceApp = field(init=False)

    def __post_init__(self) -> None:
        entries = self.team.config.accounts
        durable = self.options.durable
        self.stores = {
            name: open_store(self.team, account, self.connections, durable=durable)
            for name, account in entries.items()
        }
        observer = ServiceObserver(self.sinks)
        self.notices = Notices.of(self.team, self.connections, observer.note_notice)
        self.accounts = {
            name: AccountService(name, self._open_parts(name), observer.note_call)
            for name in entries
        }
        self.readiness = Readiness(self.stores)
        self.revocations = RevocationWatch(
            RevocationFeed(self.connections),
            tuple(entries),
            lambda account: self.accounts[account].close_streams(),
        )
        self.page = self.make_page(self) if self.make_page else None
        self.app = ServiceApp(
            self.team.config,
            self.accounts,
            self.verifier,
            self.revocations,
            self.readiness,
            observer,
            self.timings,
            self.page,
        )

    async def serve(
        self,
        listening: socket.socket,
        over: anyio.Event,
        on_ready: Callable[[], object] | None = None,
    ) -> None:
        """Serve until `over`, then end: no new write, and running ones have their time."""
        ending = anyio.Event()
        server = EventServer(make_config(self.app, self.timings), ending)
        async with anyio.create_task_group() as tasks:
            for account in self.accounts.values():
                account.start(tasks)
            await tasks.start(self.revocations.run)
            if self.page is not None:
                tasks.start_soon(self.page.run)
            if self.notices is not None:
                tasks.start_soon(self.notices.run)
            if self.jobs is not None:
                tasks.start_soon(self.jobs, self)
            tasks.start_soon(self._end, over, ending)
            if on_ready is not None:
                on_ready()
            try:
                await server.serve([listening])
            finally:
                for account in self.accounts.values():
                    account.end()
                tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for account in self.accounts.values():
                await account.parts.close()

    async def _end(self, over: anyio.Event, ending: anyio.Event) -> None:
        await over.wait()
        self.readiness.is_ending = True
        self.process.stop(shutting_down_error())
        write_event("ending", running_writes=self.process.count)
        for account in self.accounts.values():
            account.close_streams()
        ended = await self.process.wait_until_none(self.timings.writes)
        if not ended:
            write_event("writes_cut_off", running_writes=self.process.count)
            for account in self.accounts.values():
                account.parts.membrane.cancel_all()
        for account in self.accounts.values():
            account.close_streams()  # those that were opened meanwhile
        if self.page is not None:
            self.page.end()
        if self.notices is not None:
            await self.notices.end()
        ending.set()

    def is_ending(self) -> bool:
        return self.readiness.is_ending

    def _open_parts(self, name: str) -> AccountParts:
        account = self.team.config.accounts[name]
        store = self.stores[name]
        seams = ReplicaSeams(self.process, self.notices.add if self.notices else None)
        return open_parts(self.team, account, store, self.connections, seams, self.options)


def run_replica(replica: Replica, listening: socket.socket, on_ready: Callable[[], object]) -> None:
    """Serve until a signal. A second one ends the process at once."""
    _allow_many_files()

    async def main() -> None:
        over = anyio.Event()

        def stop() -> None:
            if over.is_set():
                os._exit(FORCED_EXIT)
            over.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_termination, stop)
            await replica.serve(listening, over, on_ready)
            tasks.cancel_scope.cancel()

    anyio.run(main, backend_options={"use_uvloop": find_spec("uvloop") is not None})


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that accepts connections; port 0 is any free one."""
    return listen_tcp(host, port, BACKLOG)


def make_config(app: ASGIApp, timings: ServiceTimings) -> Config:
    """Return the configuration of a replica's HTTP server."""
    protocol = choose_protocol()
    return Config(
        app,
        http=type(protocol.__name__, (protocol,), {"head_timeout": timings.request_head}),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        backlog=BACKLOG,
        timeout_keep_alive=timings.keep_alive,
        timeout_graceful_shutdown=timings.requests,
    )


def choose_protocol() -> type[HeadTimeout]:
    """Return the fastest of the HTTP protocols whose reader is installed; each is as strict."""
    try:
        from kartra_mcp.web.httptools_protocol import StrictHttpToolsProtocol
    except ModuleNotFoundError:
        return TimedH11Protocol
    return StrictHttpToolsProtocol


def _allow_many_files() -> None:
    """Raise the limit of open files: each idle connection is one."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
