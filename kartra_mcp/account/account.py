"""The served Kartra account: its connection and actions, from disk first, then kept current.

Reads use the saved snapshot; a write waits until Membrane has confirmed it. A failed refresh keeps
the snapshot and reports the error.
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
    AccountSnapshot,
    no_catalogue_error,
    parse_snapshot,
    previous_listing,
    refresh_internal_error,
    snapshot_filename,
    stored_entries,
    with_refresh_error,
    wrong_program_error,
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

FIRST_LIST_TIMEOUT = 20.0
"""Seconds that a first `tools/list` waits for Membrane."""

REFRESH_TIMEOUT = 60.0
"""Seconds that one refresh may take behind the answers."""

PROBE_TIMEOUT = 5.0
"""Seconds for what is only asked besides: the program's version, whether it is logged in."""

MAX_AGE = 600.0
"""Seconds after which a write wants the connection and the list confirmed again."""

BACKGROUND_DELAY = 0.25
"""Seconds between an answer from disk and its refresh, so that they do not compete."""

SERVED = "served.json"
BEGUN = "begun.json"
_NO_USE_ASKING_THE_LOGIN = frozenset({"not_logged_in", "program_missing", "wrong_program"})
_ABOUT_THE_ACCOUNT = frozenset({"no_connection", "several_connections"})


class Account:
    """Find the connection, list its actions, store both on disk, report changes.

    Args:
        membrane: the client.
        state: where the snapshot is stored.
        wanted: the connection that the user configured, an id or a key.
        own: names of the built-in tools.
    """

    def __init__(
        self, membrane: MembraneClient, state: StateDir, *, wanted: str | None, own: frozenset[str]
    ) -> None:
        self._membrane = membrane
        self._state = state
        self._wanted = wanted
        self._own = own
        self._served: AccountSnapshot | None = None
        self._refreshing: anyio.Event | None = None
        self._tasks: TaskGroup | None = None
        self._was_listed = False
        self.on_change: Callable[[Catalogue, Catalogue], Awaitable[None]] | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Set the task group in which background refreshes run."""
        self._tasks = tasks

    @property
    def snapshot(self) -> AccountSnapshot:
        """Return the current snapshot; read from disk on first use."""
        if self._served is None:
            self._served = self._load_snapshot()
        return self._served

    def last_connection_id(self) -> str | None:
        """Return the id of the connection served last from this state folder."""
        last = self._state.read(SERVED)
        identity = last.get("id") if is_object(last) else None
        return identity if isinstance(identity, str) else None

    async def catalogue(self) -> Catalogue:
        """Return the catalogue for `tools/list`: from disk, else after waiting for Membrane."""
        await self._read()
        if self.snapshot.fetched_at:
            if not self.snapshot.is_fresh(MAX_AGE):
                self._refresh_behind()
        elif not self.snapshot.is_fresh(MAX_AGE):
            with anyio.move_on_after(FIRST_LIST_TIMEOUT):
                await self._await_refresh()
        self._was_listed = True  # before it nobody knows another list, and none has changed
        return self.snapshot.catalogue

    def list_in_background(self) -> None:
        """Start reading and refreshing the list in the background."""
        if self._tasks is not None and self._served is None:
            self._tasks.start_soon(self._list_after_delay)

    async def _list_after_delay(self) -> None:
        await anyio.sleep(BACKGROUND_DELAY)
        await self.catalogue()

    async def _read(self) -> None:
        """Read the snapshot from disk without blocking other calls."""
        if self._served is None:
            saved = await run_in_thread(self._load_snapshot)
            self._served = self._served or saved

    async def find_tool(self, tool: str, deadline: Deadline) -> ActionTool:
        """Return the tool of a name.

        Raises:
            KartraMCPError: `unknown_tool`; without any list, the code of the cause.
        """
        await self._read()
        found = self.snapshot.catalogue.entries.get(tool)
        if found is None and not self.snapshot.is_fresh(MAX_AGE):
            with anyio.move_on_at(deadline.at):
                await self._await_refresh()
        return found or self.require_tool(tool)

    def require_tool(self, tool: str) -> ActionTool:
        """Return the tool of a name in the current list, or raise `unknown_tool`."""
        found = self.snapshot.catalogue.entries.get(tool)
        if found is None:
            raise self._unknown_tool_error(tool)
        return found

    async def connection_for_read(self, deadline: Deadline) -> Connection:
        """Return the connection for a read: the saved one immediately, if there is one."""
        problem, saved = self.snapshot.error, self.snapshot.connection
        if saved and saved.usable and not (problem and problem.code in _ABOUT_THE_ACCOUNT):
            if not self.snapshot.is_fresh(MAX_AGE):
                self._refresh_behind()
            return saved
        return await self._confirm_connection(deadline, write=False)

    async def connection_for_write(self, deadline: Deadline) -> Connection:
        """Return the connection for a write, confirmed by Membrane through a known program."""
        connection = await self._confirm_connection(deadline, write=True)
        program = self.snapshot.program
        if program is None or not program.is_membrane:
            raise wrong_program_error(program)
        return connection

    async def refresh_now(self, deadline: Deadline) -> AccountSnapshot:
        """Return the snapshot after asking Membrane again; for `kartra_status`."""
        with anyio.move_on_at(deadline.at):
            await self._await_refresh()
        problem = self.snapshot.error
        told = problem is not None and problem.code in _NO_USE_ASKING_THE_LOGIN
        if told or self.snapshot.confirmed_at is not None:
            return self.snapshot
        login = await self._membrane.is_logged_in(_limit_deadline(PROBE_TIMEOUT, deadline))
        return replace(self.snapshot, login=login)

    async def wait_for_refresh(self, deadline: Deadline) -> AccountSnapshot | None:
        """Return the snapshot of a refresh that starts after now.

        None if it was not ready in time.
        """
        with anyio.move_on_at(deadline.at):
            if self._refreshing is not None:
                await self._refreshing.wait()
            await self._await_refresh()
            return self.snapshot
        return None

    async def connection_to_fix(self, deadline: Deadline) -> Connection | None:
        """Return the connection that the user must make ready, as Membrane lists it now.

        None: there is none at all, and a new one may be started.

        Raises:
            KartraMCPError: it cannot be decided which; nothing was done.
        """
        try:
            program, known = await self._fetch_program_and_connections(self.snapshot, deadline)
            if not program.is_membrane:
                raise wrong_program_error(program)
            known = await self._with_the_named(known, deadline)
            found = selection.connection_to_fix(known, self._wanted, self._served_connection_id())
            return found or await self.pending_connection(deadline)
        except KartraMCPError as problem:
            problem.executed = Executed.NO
            raise

    def remember_pending(self, connection: Connection) -> None:
        """Remember a started connection until Membrane lists it."""
        self._state.write(BEGUN, {"id": connection.id})

    async def pending_connection(self, deadline: Deadline) -> Connection | None:
        """Return the connection started from this state folder, if Membrane still has it."""
        kept = self._state.read(BEGUN)
        identity = kept.get("id") if is_object(kept) else None
        if not isinstance(identity, str):
            return None
        found = await self._find_by_name(identity, deadline)
        return next((one for one in found if one.state != "ARCHIVED"), None)

    async def _confirm_connection(self, deadline: Deadline, *, write: bool) -> Connection:
        if not self.snapshot.is_fresh(MAX_AGE):
            with anyio.move_on_at(deadline.at):
                await self._await_refresh()
        served = self.snapshot
        if served.error:
            raise served.error.with_traceback(None)
        if served.connection:
            selection.require_usable(served.connection)
        if write and served.program and served.program.is_membrane is False:
            raise wrong_program_error(served.program)
        if served.connection and served.is_fresh(MAX_AGE):
            return served.connection
        raise RefusedError(
            "not_enough_time" if write else "catalogue_unavailable",
            "Membrane did not answer in time which connection there is; nothing was started.",
            "Ask for kartra_status, then repeat the call.",
        )

    def _refresh_behind(self) -> None:
        if self._tasks is not None and self._refreshing is None:
            self._begin(BACKGROUND_DELAY)

    async def _await_refresh(self) -> None:
        """Wait for the running refresh, else for a new one."""
        running = self._refreshing or self._begin(0.0)
        await running.wait()

    def _begin(self, after: float) -> anyio.Event:
        assert self._tasks is not None, "start() comes first"  # noqa: S101
        self._refreshing = anyio.Event()
        self._tasks.start_soon(self._refresh, self._refreshing, after)
        return self._refreshing

    async def _refresh(self, done: anyio.Event, after: float) -> None:
        before = self.snapshot
        try:
            await anyio.sleep(after)
            self._served = await self._fetch_snapshot(before)
        except KartraMCPError as problem:
            self._served = with_refresh_error(before, problem)
        except Exception:  # noqa: BLE001  a slip here must not end the server
            self._served = with_refresh_error(before, refresh_internal_error())
        finally:
            self._refreshing = None
            done.set()
        changed = self._was_listed and self.snapshot.catalogue is not before.catalogue
        if self.on_change and changed:
            await self.on_change(before.catalogue, self.snapshot.catalogue)

    async def _fetch_snapshot(self, before: AccountSnapshot) -> AccountSnapshot:
        """Fetch program, connection and actions from Membrane."""
        deadline = Deadline.after(REFRESH_TIMEOUT)
        program, known = await self._fetch_program_and_connections(before, deadline)
        connection = await self._select_connection(known, deadline)
        found = replace(
            previous_listing(before, connection),
            connection=connection,
            program=program,
            error=None,
            confirmed_at=time.monotonic(),
        )
        try:
            listed = await self._membrane.list_actions(connection.id, deadline)
        except KartraMCPError as problem:
            return with_refresh_error(found, problem) if connection.usable else found
        return await run_in_thread(self._store_snapshot, found, connection, listed)

    def _store_snapshot(
        self, found: AccountSnapshot, connection: Connection, listed: ActionList
    ) -> AccountSnapshot:
        now = time.time()
        file = snapshot_filename(connection.id)
        entries = listed.entries
        if listed.partial:
            entries = deduplicate([*entries, *stored_entries(self._state.read(file))])
        served = replace(
            found,
            catalogue=catalogue.build_catalogue(entries, self._own),
            fetched_at=now,
            complete=listed.complete,
            partial=listed.partial,
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

    async def _fetch_program_and_connections(
        self, before: AccountSnapshot, deadline: Deadline
    ) -> tuple[ProgramInfo, tuple[Connection, ...]]:
        """Fetch both concurrently.

        A list of connections proves a program with an unclear version.
        """
        program = before.program if before.program and before.program.is_membrane else None
        failure: KartraMCPError | None = None
        known: tuple[Connection, ...] = ()

        async def ask() -> None:
            nonlocal program
            try:
                program = program or await self._membrane.get_program(
                    _limit_deadline(PROBE_TIMEOUT, deadline)
                )
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
            raise wrong_program_error(program) if _is_another_program(program, failure) else failure
        return _mark_proven(program, known), known

    async def _select_connection(
        self, known: tuple[Connection, ...], deadline: Deadline
    ) -> Connection:
        served_last = self._served_connection_id()
        known = await self._with_the_named(known, deadline)
        try:
            chosen = selection.select_connection(known, self._wanted, served_last)
        except RefusedError as problem:
            if problem.code == "no_connection" and not self._wanted:
                raise selection.no_connection_error(await self._find_connector(deadline)) from None
            raise
        if chosen.usable and chosen.id != served_last:
            self._state.write(SERVED, {"id": chosen.id, "key": chosen.key})
        return chosen

    def _served_connection_id(self) -> str | None:
        # What this process serves it goes on serving, whatever another one on this folder chose.
        serving = self.snapshot.connection
        return serving.id if serving else self.last_connection_id()

    async def _with_the_named(
        self, known: tuple[Connection, ...], deadline: Deadline
    ) -> tuple[Connection, ...]:
        if self._wanted and not any(self._wanted in (c.id, c.key) for c in known):
            return (*known, *await self._find_by_name(self._wanted, deadline))
        return known

    async def _find_connector(self, deadline: Deadline) -> str | None:
        try:
            return await self._membrane.find_connector(deadline)
        except KartraMCPError:
            return None

    async def _find_by_name(self, wanted: str, deadline: Deadline) -> tuple[Connection, ...]:
        try:
            found = await self._membrane.get_connection(wanted, deadline)
        except KartraMCPError:
            return ()
        return (found,) if found else ()

    def _load_snapshot(self) -> AccountSnapshot:
        """Load the snapshot of the wanted connection that the last process stored, if any."""
        last = self._state.read(SERVED)
        remembered: Mapping[str, Any] = last if is_object(last) else {}
        wanted = self._wanted
        if wanted is None or wanted in (remembered.get("id"), remembered.get("key")):
            wanted = remembered.get("id")
        kept = self._state.read(snapshot_filename(wanted)) if isinstance(wanted, str) else None
        return parse_snapshot(kept, self._own) or AccountSnapshot()

    def _unknown_tool_error(self, tool: str) -> KartraMCPError:
        served = self.snapshot
        if served.error and not served.catalogue.entries:
            return served.error
        if not served.fetched_at:
            return no_catalogue_error(served)
        near = difflib.get_close_matches(tool, served.catalogue.entries, n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        return RefusedError(
            "unknown_tool",
            f"There is no tool {truncate(strip_control_chars(tool), 60)!r}.{hint}",
            "List the tools again, or ask for kartra_status.",
        )


def _limit_deadline(seconds: float, deadline: Deadline) -> Deadline:
    short = Deadline.after(seconds)
    return short if short.at < deadline.at else deadline


def _is_another_program(program: ProgramInfo, failure: KartraMCPError) -> bool:
    """Return whether this is another program: by its version, or because nothing is readable."""
    silent = not failure.has_response and failure.code in ("membrane_error", "unreadable_answer")
    return program.is_membrane is False or (program.is_membrane is None and silent)


def _mark_proven(program: ProgramInfo, known: tuple[Connection, ...]) -> ProgramInfo:
    return replace(program, is_membrane=True) if program.is_membrane is None and known else program
