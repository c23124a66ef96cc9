"""The one Kartra account being served: its connection and actions, from disk at once, kept fresh.

Reads are served from what was saved; a write waits until Membrane has confirmed it. A refresh that
fails keeps what is there and says so.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from kartra_mcp.account import selection
from kartra_mcp.account.snapshot import (
    Served,
    file_of,
    kept_entries,
    listed_before,
    met,
    nothing_listed,
    read_kept,
    slip,
    wrong_program,
)
from kartra_mcp.catalogue import catalogue
from kartra_mcp.catalogue.catalogue import ActionTool, Catalogue
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import Connection, Executed
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.membrane.client import MembraneClient, ProgramInfo
from kartra_mcp.membrane.pagination import ActionList, deduplicate

FIRST_LIST = 20.0
"""Seconds that a first `tools/list` waits for Membrane."""

REFRESH = 60.0
"""Seconds that one refresh may take behind the answers."""

ASIDE = 5.0
"""Seconds for what is only asked besides: the program's version, whether it is logged in."""

FRESH_FOR = 600.0
"""Seconds after which a write wants the connection and the list confirmed again."""

BEHIND = 0.25
"""Seconds between an answer from disk and its refresh, so that they do not compete."""

SERVED = "served.json"
BEGUN = "begun.json"
_NO_USE_ASKING_THE_LOGIN = frozenset({"not_logged_in", "program_missing", "wrong_program"})
_ABOUT_THE_ACCOUNT = frozenset({"no_connection", "several_connections"})


class Account:
    """Finds the connection, lists its actions, keeps both on disk, says when they changed.

    Args:
        membrane: the verbs.
        state: where the list is kept.
        wanted: the connection that the person named, an id or a key.
        own: the names of the server's own tools.
    """

    def __init__(
        self, membrane: MembraneClient, state: StateDir, *, wanted: str | None, own: frozenset[str]
    ) -> None:
        self._membrane = membrane
        self._state = state
        self._wanted = wanted
        self._own = own
        self._served: Served | None = None
        self._refreshing: anyio.Event | None = None
        self._tasks: TaskGroup | None = None
        self._was_listed = False
        self.on_change: Callable[[Catalogue, Catalogue], Awaitable[None]] | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Give the task group in which refreshes run behind the answers."""
        self._tasks = tasks

    @property
    def served(self) -> Served:
        """What is served now; read from disk when first asked."""
        if self._served is None:
            self._served = self._saved()
        return self._served

    def served_last(self) -> str | None:
        """The id of the connection that was served last from this state folder."""
        last = self._state.read(SERVED)
        identity = last.get("id") if is_object(last) else None
        return identity if isinstance(identity, str) else None

    async def listed(self) -> Catalogue:
        """The catalogue for `tools/list`: from disk, else after waiting for Membrane."""
        await self._read()
        if self.served.fetched_at:
            if not self.served.confirmed_within(FRESH_FOR):
                self._refresh_behind()
        elif not self.served.confirmed_within(FRESH_FOR):
            with anyio.move_on_after(FIRST_LIST):
                await self._refreshed()
        self._was_listed = True  # before it nobody knows another list, and none has changed
        return self.served.catalogue

    def list_behind(self) -> None:
        """Begin to read and refresh the list where nobody waits for it."""
        if self._tasks is not None and self._served is None:
            self._tasks.start_soon(self._listed_behind)

    async def _listed_behind(self) -> None:
        await anyio.sleep(BEHIND)
        await self.listed()

    async def _read(self) -> None:
        """What is on disk, however long, read without holding up other calls."""
        if self._served is None:
            saved = await run_in_thread(self._saved)
            self._served = self._served or saved

    async def entry(self, tool: str, deadline: Deadline) -> ActionTool:
        """The entry of a tool's name.

        Raises:
            KartraMCPError: `unknown_tool`; without any list, the code of the cause.
        """
        await self._read()
        found = self.served.catalogue.entries.get(tool)
        if found is None and not self.served.confirmed_within(FRESH_FOR):
            with anyio.move_on_at(deadline.at):
                await self._refreshed()
        return found or self.listed_entry(tool)

    def listed_entry(self, tool: str) -> ActionTool:
        """The entry of a tool's name as the list stands now, or `unknown_tool`."""
        found = self.served.catalogue.entries.get(tool)
        if found is None:
            raise self._unknown(tool)
        return found

    async def for_read(self, deadline: Deadline) -> Connection:
        """The connection for a read: the saved one at once, if there is one."""
        problem, saved = self.served.problem, self.served.connection
        if saved and saved.usable and not (problem and problem.code in _ABOUT_THE_ACCOUNT):
            if not self.served.confirmed_within(FRESH_FOR):
                self._refresh_behind()
            return saved
        return await self._confirmed(deadline, write=False)

    async def for_write(self, deadline: Deadline) -> Connection:
        """The connection for a write, confirmed by Membrane, of a program known to be its own."""
        connection = await self._confirmed(deadline, write=True)
        program = self.served.program
        if program is None or not program.is_membrane:
            raise wrong_program(program)
        return connection

    async def looked_at(self, deadline: Deadline) -> Served:
        """What is served, after asking Membrane again; for `kartra_status`."""
        with anyio.move_on_at(deadline.at):
            await self._refreshed()
        problem = self.served.problem
        told = problem is not None and problem.code in _NO_USE_ASKING_THE_LOGIN
        if told or self.served.confirmed_at is not None:
            return self.served
        login = await self._membrane.is_logged_in(_at_most(ASIDE, deadline))
        return replace(self.served, login=login)

    async def renewed(self, deadline: Deadline) -> Served | None:
        """What a refresh brought that began after now; None where it did not come in time."""
        with anyio.move_on_at(deadline.at):
            if self._refreshing is not None:
                await self._refreshing.wait()
            await self._refreshed()
            return self.served
        return None

    async def to_connect(self, deadline: Deadline) -> Connection | None:
        """The connection that a person is to have ready, as Membrane lists it now.

        None: there is none at all, and a new one may be begun.

        Raises:
            KartraMCPError: which it is cannot be told; nothing was done.
        """
        try:
            program, known = await self._program_and_connections(self.served, deadline)
            if not program.is_membrane:
                raise wrong_program(program)
            known = await self._with_the_named(known, deadline)
            found = selection.to_connect(known, self._wanted, self._serves())
            return found or await self.begun(deadline)
        except KartraMCPError as problem:
            problem.executed = Executed.NO
            raise

    def has_begun(self, connection: Connection) -> None:
        """Keep in mind what was begun, for where Membrane lists it only later."""
        self._state.write(BEGUN, {"id": connection.id})

    async def begun(self, deadline: Deadline) -> Connection | None:
        """What was begun from this state folder, where Membrane still has it."""
        kept = self._state.read(BEGUN)
        identity = kept.get("id") if is_object(kept) else None
        if not isinstance(identity, str):
            return None
        found = await self._by_name(identity, deadline)
        return next((one for one in found if one.state != "ARCHIVED"), None)

    async def _confirmed(self, deadline: Deadline, *, write: bool) -> Connection:
        if not self.served.confirmed_within(FRESH_FOR):
            with anyio.move_on_at(deadline.at):
                await self._refreshed()
        served = self.served
        if served.problem:
            raise served.problem.with_traceback(None)
        if served.connection:
            selection.require_usable(served.connection)
        if write and served.program and served.program.is_membrane is False:
            raise wrong_program(served.program)
        if served.connection and served.confirmed_within(FRESH_FOR):
            return served.connection
        raise RefusedError(
            "not_enough_time" if write else "catalogue_unavailable",
            "Membrane did not answer in time which connection there is; nothing was started.",
            "Ask for kartra_status, then repeat the call.",
        )

    def _refresh_behind(self) -> None:
        if self._tasks is not None and self._refreshing is None:
            self._begin(BEHIND)

    async def _refreshed(self) -> None:
        """Wait for a refresh: the running one, else a new one."""
        running = self._refreshing or self._begin(0.0)
        await running.wait()

    def _begin(self, after: float) -> anyio.Event:
        assert self._tasks is not None, "start() comes first"  # noqa: S101
        self._refreshing = anyio.Event()
        self._tasks.start_soon(self._refresh, self._refreshing, after)
        return self._refreshing

    async def _refresh(self, done: anyio.Event, after: float) -> None:
        before = self.served
        try:
            await anyio.sleep(after)
            self._served = await self._looked_up(before)
        except KartraMCPError as problem:
            self._served = met(before, problem)
        except Exception:  # noqa: BLE001  a slip here must not end the server
            self._served = met(before, slip())
        finally:
            self._refreshing = None
            done.set()
        changed = self._was_listed and self.served.catalogue is not before.catalogue
        if self.on_change and changed:
            await self.on_change(before.catalogue, self.served.catalogue)

    async def _looked_up(self, before: Served) -> Served:
        """What Membrane says now: the program, the connection, its actions."""
        deadline = Deadline.after(REFRESH)
        program, known = await self._program_and_connections(before, deadline)
        connection = await self._chosen(known, deadline)
        found = replace(
            listed_before(before, connection),
            connection=connection,
            program=program,
            problem=None,
            confirmed_at=time.monotonic(),
        )
        try:
            listed = await self._membrane.list_actions(connection.id, deadline)
        except KartraMCPError as problem:
            return met(found, problem) if connection.usable else found
        return await run_in_thread(self._kept, found, connection, listed)

    def _kept(self, found: Served, connection: Connection, listed: ActionList) -> Served:
        now = time.time()
        file = file_of(connection.id)
        entries = listed.entries
        if listed.partial:
            entries = deduplicate([*entries, *kept_entries(self._state.read(file))])
        served = replace(
            found,
            catalogue=catalogue.build_catalogue(entries, self._own),
            fetched_at=now,
            complete=listed.complete,
            lost=listed.partial,
        )
        kept = {
            "connection": asdict(connection),
            "fetched_at": now,
            "complete": listed.complete,
            "lost": listed.partial,
            "entries": list(entries),
        }
        self._state.write(file, kept)
        return served

    async def _program_and_connections(
        self, before: Served, deadline: Deadline
    ) -> tuple[ProgramInfo, tuple[Connection, ...]]:
        """Asked at once; that it lists connections proves a program whose version says nothing."""
        program = before.program if before.program and before.program.is_membrane else None
        failure: KartraMCPError | None = None
        known: tuple[Connection, ...] = ()

        async def ask() -> None:
            nonlocal program
            try:
                program = program or await self._membrane.get_program(_at_most(ASIDE, deadline))
            except KartraMCPError:
                program = ProgramInfo()

        async with anyio.create_task_group() as asking:
            asking.start_soon(ask)
            try:
                known = await self._membrane.list_connections(deadline)
            except KartraMCPError as problem:
                failure = problem
        program = program or ProgramInfo()
        if failure:
            raise wrong_program(program) if _speaks_otherwise(program, failure) else failure
        return _proven(program, known), known

    async def _chosen(self, known: tuple[Connection, ...], deadline: Deadline) -> Connection:
        served_last = self._serves()
        known = await self._with_the_named(known, deadline)
        try:
            chosen = selection.choose(known, self._wanted, served_last)
        except RefusedError as problem:
            if problem.code == "no_connection" and not self._wanted:
                raise selection.no_connection(await self._connector(deadline)) from None
            raise
        if chosen.usable and chosen.id != served_last:
            self._state.write(SERVED, {"id": chosen.id, "key": chosen.key})
        return chosen

    def _serves(self) -> str | None:
        # What this process serves it goes on serving, whatever another one on this folder chose.
        serving = self.served.connection
        return serving.id if serving else self.served_last()

    async def _with_the_named(
        self, known: tuple[Connection, ...], deadline: Deadline
    ) -> tuple[Connection, ...]:
        if self._wanted and not any(self._wanted in (c.id, c.key) for c in known):
            return (*known, *await self._by_name(self._wanted, deadline))
        return known

    async def _connector(self, deadline: Deadline) -> str | None:
        try:
            return await self._membrane.find_connector(deadline)
        except KartraMCPError:
            return None

    async def _by_name(self, wanted: str, deadline: Deadline) -> tuple[Connection, ...]:
        try:
            found = await self._membrane.get_connection(wanted, deadline)
        except KartraMCPError:
            return ()
        return (found,) if found else ()

    def _saved(self) -> Served:
        """What the last process kept on disk for the connection that is wanted, if anything."""
        last = self._state.read(SERVED)
        remembered: Mapping[str, Any] = last if is_object(last) else {}
        wanted = self._wanted
        if wanted is None or wanted in (remembered.get("id"), remembered.get("key")):
            wanted = remembered.get("id")
        kept = self._state.read(file_of(wanted)) if isinstance(wanted, str) else None
        return read_kept(kept, self._own) or Served()

    def _unknown(self, tool: str) -> KartraMCPError:
        served = self.served
        if served.problem and not served.catalogue.entries:
            return served.problem
        if not served.fetched_at:
            return nothing_listed(served)
        near = difflib.get_close_matches(tool, served.catalogue.entries, n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        return RefusedError(
            "unknown_tool",
            f"There is no tool {truncate(strip_control_chars(tool), 60)!r}.{hint}",
            "List the tools again, or ask for kartra_status.",
        )


def _at_most(seconds: float, deadline: Deadline) -> Deadline:
    short = Deadline.after(seconds)
    return short if short.at < deadline.at else deadline


def _speaks_otherwise(program: ProgramInfo, failure: KartraMCPError) -> bool:
    """Whether the program is another one: its version says so, or it says nothing readable."""
    silent = not failure.has_response and failure.code in ("membrane_error", "unreadable_answer")
    return program.is_membrane is False or (program.is_membrane is None and silent)


def _proven(program: ProgramInfo, known: tuple[Connection, ...]) -> ProgramInfo:
    return replace(program, is_membrane=True) if program.is_membrane is None and known else program
