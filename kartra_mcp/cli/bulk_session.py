"""Bulk runs of a terminal: the server's own code in this process, on an event loop of its own.

The event loop runs in a thread, so that the main thread can ask the user and receive Ctrl-C.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from concurrent.futures import Future, wait
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from kartra_mcp.app.composition import build_app
from kartra_mcp.bulk.csv_import import read_items
from kartra_mcp.bulk.item_calls import describe_target
from kartra_mcp.bulk.request import BulkRequest
from kartra_mcp.bulk.service import BulkPreview, BulkService
from kartra_mcp.bulk.undo import UndoOptions
from kartra_mcp.core.deadline import Deadline, ExtendableDeadline, bounded_waits
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import as_dict
from kartra_mcp.core.models import ConsentArguments
from kartra_mcp.core.progress import CallProgress
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.bulk_records import BulkRun
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.processes import runner
from kartra_mcp.processes.signals import raise_interrupt, termination_handler
from kartra_mcp.settings import Settings

CLIENT = "kartra-mcp bulk"
IDLE_SECONDS = 1.0
SIGNAL_SECONDS = 0.2
MAX_IDLE_ROUNDS = 60
"""Rounds without progress, while another process runs what is left, after which a run is left."""

Show = Callable[[float, float], None]
"""Shows how many of how many items are done."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CsvRun:
    """A new run as a command line describes it."""

    tool: str
    content: bytes
    mapping: Mapping[str, str]
    shared: Mapping[str, str]
    skip_invalid: bool = False
    include_suppressed: bool = False


@dataclass(slots=True)
class BulkSession:
    """Steps of bulk runs; each takes as many calls as it needs, each of `timeout` seconds."""

    service: BulkService
    timeout: float
    is_stopping: bool = False

    @property
    def ledger(self) -> Ledger:
        return self.service.gateway.writes().ledger

    async def plan(self, wanted: CsvRun) -> BulkRun:
        """Return the planned run of a file."""
        deadline = Deadline.after(self.timeout)
        with bounded_waits(deadline):
            entry = await self.service.find_entry(wanted.tool, deadline)
            target = describe_target(entry)
            shared = {n: target.convert_text(n, text) for n, text in wanted.shared.items()}
            found = await run_in_thread(read_items, entry, wanted.content, wanted.mapping, shared)
            request = BulkRequest(
                entry.tool,
                (),
                skip_invalid=wanted.skip_invalid,
                include_suppressed=wanted.include_suppressed,
            )
            client = ClientContext(CLIENT)
            return await self.service.plan(entry, found.fill(request), deadline, client)

    async def plan_undo(self, bulk_id: str, options: UndoOptions) -> BulkRun:
        """Return the planned undo of a run, or the one that has begun."""
        deadline = Deadline.after(self.timeout)
        with bounded_waits(deadline):
            client = ClientContext(CLIENT)
            run, _ = await self.service.plan_undo(bulk_id, options, deadline, client)
            return run

    async def writes(self, tool: str) -> bool:
        """Return whether a tool can write."""
        return (await self.service.find_entry(tool, Deadline.after(self.timeout))).writes

    async def find(self, bulk_id: str) -> BulkRun | None:
        await self.service.gateway.writes().open()
        return await run_in_thread(self.service.runs.get, bulk_id)

    async def check(self, run: BulkRun, show: Show) -> BulkPreview:
        """Check all items of a planned run; return what the user agrees to."""
        checked = -1
        while True:
            deadline = Deadline.after(self.timeout)
            try:
                with bounded_waits(deadline):
                    entry = await self.service.find_entry(run.tool, deadline)
                    run = await self.service.check(run, entry, deadline, _make_client(show))
                    return await self.service.describe(run, entry, deadline)
            except KartraMCPError as problem:
                now = as_dict(problem.detail).get("checked", -1)
                if problem.code != "not_enough_time" or now <= checked:
                    raise
                checked = now

    async def begin(self, run: BulkRun, consent: ConsentArguments) -> BulkRun:
        """Return a run as running; the errors are those of `BulkService.begin`."""
        deadline = Deadline.after(self.timeout)
        with bounded_waits(deadline):
            entry = await self.service.find_entry(run.tool, deadline)
            client = ClientContext(CLIENT)
            return await self.service.begin(
                run, entry, consent, ExtendableDeadline(deadline), client
            )

    async def run_items(self, run: BulkRun, show: Show) -> BulkRun:
        """Run items until none is left, the run is paused, or only another process has some."""
        left, idle = -1, 0
        while run.state == "running" and idle < MAX_IDLE_ROUNDS and not self.is_stopping:
            deadline = Deadline.after(self.timeout)
            with bounded_waits(deadline):
                entry = await self.service.find_entry(run.tool, deadline)
                run = await self.service.run_items(run, entry, deadline, _make_client(show))
            counts = await run_in_thread(self.service.runs.count_items, run.id)
            idle = idle + 1 if counts.left == left else 0
            left = counts.left
            if idle and run.state == "running":
                await anyio.sleep(IDLE_SECONDS)
        if self.is_stopping:
            await self.pause(run)
        return await self._get(run)

    async def pause(self, run: BulkRun) -> None:
        """Start no further item of a running run; those that run come to their end."""
        self.is_stopping = True
        if (await self._get(run)).state == "running":
            await run_in_thread(self.service.runs.set_state, run.id, "paused", "by the user")

    def end_running(self) -> None:
        """End the programs of items that run; their outcome is then unknown."""
        self.service.gateway.membrane.cancel_all()

    async def describe_progress(self, run: BulkRun) -> dict[str, Any]:
        return await self.service.describe_progress(run)

    async def _get(self, run: BulkRun) -> BulkRun:
        return await run_in_thread(self.service.runs.get, run.id) or run


def _make_client(show: Show) -> ClientContext:
    async def report(done: float, total: float, _: str) -> None:
        show(done, total)

    return ClientContext(CLIENT, progress=CallProgress(report))


@asynccontextmanager
async def _open_session(settings: Settings, run_program: runner.Run) -> AsyncGenerator[BulkSession]:
    made = build_app(settings, run_program=run_program)
    try:
        async with anyio.create_task_group() as tasks:
            made.tools.account.start(tasks)
            service = made.tools.bulk()
            assert isinstance(service, BulkService)  # noqa: S101  the only implementation
            yield BulkSession(service, settings.timeout)
            tasks.cancel_scope.cancel()
    finally:
        await made.close()


@dataclass(frozen=True, slots=True)
class Terminal:
    """The main thread's side of a session: each call returns when its step has ended."""

    portal: BlockingPortal
    session: BulkSession

    def call(self, step: Callable[..., Coroutine[Any, Any, T]], *given: Any) -> T:
        """Return the result of a step; Ctrl-C cancels it and is raised."""
        ended = self.portal.start_task_soon(step, *given)
        try:
            return _wait_for(ended)
        except KeyboardInterrupt:
            ended.cancel()
            raise

    def run_items(self, run: BulkRun, show: Show, on_stop: Callable[[], None]) -> BulkRun:
        """Run items. The first Ctrl-C pauses the run, the second one ends what runs."""
        ended = self.portal.start_task_soon(self.session.run_items, run, show)
        try:
            try:
                return _wait_for(ended)
            except KeyboardInterrupt:
                # The second one may come before this is done, and counts as much as a later one.
                self.portal.start_task_soon(self.session.pause, run)
                on_stop()
                return _wait_for(ended)
        except KeyboardInterrupt:
            ended.cancel()
            self.portal.call(self.session.end_running)
            raise


def _wait_for(ended: Future[T]) -> T:
    """Return the result of a step; Ctrl-C is raised within `SIGNAL_SECONDS`.

    The system may hand a signal to the event loop's thread. Python runs its handler in the main
    thread, which a wait without an end would keep from it until the step has ended.
    """
    while not ended.done():
        wait([ended], SIGNAL_SECONDS)
    return ended.result()


@contextmanager
def open_terminal(settings: Settings, run_program: runner.Run) -> Generator[Terminal]:
    """Open a session, and close it with everything that it started.

    A closed terminal and SIGTERM count as Ctrl-C; only the main thread receives signals.
    """
    is_main = threading.current_thread() is threading.main_thread()
    with (
        termination_handler(raise_interrupt) if is_main else nullcontext(),
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_open_session(settings, run_program)) as session,
    ):
        yield Terminal(portal, session)


def unknown_run_error(bulk_id: str, flags: str) -> RefusedError:
    """Return the error of an id that no run has."""
    return RefusedError(
        "invalid_arguments",
        f"No bulk run has the id {bulk_id}. Nothing was done.",
        f"Run `kartra-mcp bulk list{flags}` to list them.",
    )
