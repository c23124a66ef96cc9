"""The served Kartra account: its connection and actions, from disk first, then kept current.

Reads use the saved snapshot; a write waits until Membrane has confirmed it. A failed refresh keeps
the snapshot and reports the error.
"""

from __future__ import annotations

from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from kartra_mcp.account import selection
from kartra_mcp.account.lookup import AccountLookup
from kartra_mcp.account.refresher import Refresher
from kartra_mcp.account.snapshot import (
    AccountSnapshot,
    no_catalogue_error,
    wrong_program_error,
)
from kartra_mcp.catalogue.catalogue import ActionTool, Catalogue
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import Connection, Executed
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.core.timings import DEFAULT_TIMINGS, CallTimings
from kartra_mcp.membrane.client import MembraneClient

MAX_AGE = 600.0
"""Seconds after which a write needs the connection and the list confirmed again."""

BEGUN = "begun.json"
_NO_USE_ASKING_THE_LOGIN = frozenset({"not_logged_in", "program_missing", "wrong_program"})
_ABOUT_THE_ACCOUNT = frozenset({"no_connection", "several_connections"})


class Account:
    """Served connection and actions, from a snapshot that is fresh enough.

    `refresher` keeps the snapshot current and reports changes.

    Args:
        membrane: the client.
        state: folder of the stored snapshot.
        wanted: id or key of the connection that the user configured.
        own: names of the built-in tools.
        commands: serve the Kartra commands that no action covers.
        timings: the waits for Membrane.
    """

    def __init__(
        self,
        membrane: MembraneClient,
        state: StateDir,
        *,
        wanted: str | None,
        own: frozenset[str],
        commands: bool = False,
        timings: CallTimings = DEFAULT_TIMINGS,
    ) -> None:
        self._state = state
        self._timings = timings
        self._lookup = AccountLookup(membrane, wanted, timings.probe)
        self.refresher = Refresher(
            self._lookup, state, own, timings.refresh_delay, commands=commands
        )

    def start(self, tasks: TaskGroup) -> None:
        """Set the task group in which background refreshes run."""
        self.refresher.tasks = tasks

    @property
    def snapshot(self) -> AccountSnapshot:
        """Return the current snapshot; read from disk on first use."""
        return self.refresher.snapshot

    def last_connection_id(self) -> str | None:
        """Return the id of the connection served last from this state folder."""
        return self.refresher.last_connection_id()

    async def catalogue(self) -> Catalogue:
        """Return the catalogue for `tools/list`: from disk, else after waiting for Membrane."""
        await self.refresher.load()
        if self.snapshot.fetched_at:
            if not self.snapshot.is_fresh(MAX_AGE):
                self.refresher.refresh_in_background()
        elif not self.snapshot.is_fresh(MAX_AGE):
            with anyio.move_on_after(self._timings.first_list):
                await self.refresher.refresh()
        self.refresher.mark_listed()
        return self.snapshot.catalogue

    def list_in_background(self) -> None:
        """Start reading and refreshing the list in the background."""
        tasks = self.refresher.tasks
        if tasks is not None and not self.refresher.is_loaded:
            tasks.start_soon(self._list_after_delay)

    async def _list_after_delay(self) -> None:
        await anyio.sleep(self._timings.refresh_delay)
        await self.catalogue()

    async def find_tool(self, tool: str, deadline: Deadline) -> ActionTool:
        """Return the tool of a name.

        Raises:
            KartraMCPError: `unknown_tool`; without any list, the code of the cause.
        """
        await self.refresher.load()
        found = self.snapshot.catalogue.entries.get(tool)
        if found is None and not self.snapshot.is_fresh(MAX_AGE):
            with anyio.move_on_at(deadline.at):
                await self.refresher.refresh()
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
                self.refresher.refresh_in_background()
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
        """Return the snapshot after a refresh from Membrane; for `kartra_status`."""
        with anyio.move_on_at(deadline.at):
            await self.refresher.refresh()
        problem = self.snapshot.error
        told = problem is not None and problem.code in _NO_USE_ASKING_THE_LOGIN
        if told or self.snapshot.confirmed_at is not None:
            return self.snapshot
        login = await self._lookup.is_logged_in(deadline)
        return replace(self.snapshot, login=login)

    async def wait_for_refresh(self, deadline: Deadline) -> AccountSnapshot | None:
        """Return the snapshot of a refresh that starts after now.

        None if it was not ready in time.
        """
        with anyio.move_on_at(deadline.at):
            await self.refresher.refresh_again()
            return self.snapshot
        return None

    async def connection_to_fix(self, deadline: Deadline) -> Connection | None:
        """Return the connection that the user must make ready, as Membrane lists it now.

        None: there is none at all, and a new one may be started.

        Raises:
            KartraMCPError: several connections are possible, or none was found. Nothing was done.
        """
        try:
            program, known = await self._lookup.program_and_connections(
                self.snapshot.program, deadline
            )
            if not program.is_membrane:
                raise wrong_program_error(program)
            known = await self._lookup.add_wanted(known, deadline)
            served = self.refresher.served_connection_id()
            found = selection.connection_to_fix(known, self._lookup.wanted, served)
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
        found = await self._lookup.connection(identity, deadline)
        return found if found and found.state != "ARCHIVED" else None

    async def _confirm_connection(self, deadline: Deadline, *, write: bool) -> Connection:
        if not self.snapshot.is_fresh(MAX_AGE):
            with anyio.move_on_at(deadline.at):
                await self.refresher.refresh()
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
            "Membrane did not return the connection in time; nothing was started.",
            "Call kartra_status, then repeat the call.",
        )

    def _unknown_tool_error(self, tool: str) -> KartraMCPError:
        served = self.snapshot
        if served.error and not served.catalogue.entries:
            return served.error
        if not served.fetched_at:
            return no_catalogue_error(served)
        from kartra_mcp.catalogue.suggestions import suggest_tools  # not needed for the first list

        near = suggest_tools(tool, served.catalogue.entries.values())
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        return RefusedError(
            "unknown_tool",
            f"Unknown tool {truncate(strip_control_chars(tool), 60)!r}.{hint}",
            "List the tools again, or call kartra_status.",
        )
