"""Keep the account's snapshot current: from disk first, then fetched from Membrane and stored."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from kartra_mcp.account import selection
from kartra_mcp.account.lookup import AccountLookup
from kartra_mcp.account.snapshot import (
    AccountSnapshot,
    parse_snapshot,
    previous_listing,
    refresh_internal_error,
    snapshot_filename,
    stored_entries,
    with_refresh_error,
)
from kartra_mcp.catalogue.builder import build_catalogue
from kartra_mcp.catalogue.catalogue import Catalogue
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import as_dict, is_object
from kartra_mcp.core.models import Connection
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.membrane.pagination import ActionList, deduplicate

REFRESH_TIMEOUT = 60.0
"""Seconds of one refresh in the background."""

SERVED = "served.json"


class Refresher:
    """The current snapshot, and at most one refresh of it at a time.

    A refresh that fails keeps the snapshot and adds the error.

    Args:
        lookup: requests to Membrane.
        state: folder of the stored snapshot.
        own: names of the built-in tools.
        delay: seconds between an answer from disk and its refresh.
        commands: serve the Kartra commands that no action covers.
    """

    def __init__(
        self,
        lookup: AccountLookup,
        state: StateDir,
        own: frozenset[str],
        delay: float,
        *,
        commands: bool = False,
    ) -> None:
        self._lookup = lookup
        self._state = state
        self._own = own
        self._delay = delay
        self._commands = commands
        self._snapshot: AccountSnapshot | None = None
        self._running: anyio.Event | None = None
        self._was_listed = False
        self.tasks: TaskGroup | None = None
        self.listeners: list[Callable[[Catalogue, Catalogue], Awaitable[None]]] = []

    @property
    def snapshot(self) -> AccountSnapshot:
        """Return the current snapshot; read from disk on first use."""
        if self._snapshot is None:
            self._snapshot = self._load_snapshot()
        return self._snapshot

    @property
    def is_loaded(self) -> bool:
        return self._snapshot is not None

    async def load(self) -> None:
        """Read the snapshot from disk without blocking other calls."""
        if self._snapshot is None:
            saved = await run_in_thread(self._load_snapshot)
            self._snapshot = self._snapshot or saved

    def mark_listed(self) -> None:
        """Report changes from now on: before the first list there is nothing to compare with."""
        self._was_listed = True

    def refresh_in_background(self) -> None:
        if self.tasks is not None and self._running is None:
            self._begin(self._delay)

    async def refresh(self) -> None:
        """Wait for the running refresh, else for a new one."""
        running = self._running or self._begin(0.0)
        await running.wait()

    async def refresh_again(self) -> None:
        """Wait for a refresh that starts after now."""
        if self._running is not None:
            await self._running.wait()
        await self.refresh()

    def last_connection_id(self) -> str | None:
        """Return the id of the connection served last from this state folder."""
        last = self._state.read(SERVED)
        identity = last.get("id") if is_object(last) else None
        return identity if isinstance(identity, str) else None

    def served_connection_id(self) -> str | None:
        """Return the id of the connection that this process serves, or would serve again."""
        # This process keeps its connection, even if another one on this folder chose differently.
        serving = self.snapshot.connection
        return serving.id if serving else self.last_connection_id()

    def _begin(self, after: float) -> anyio.Event:
        assert self.tasks is not None, "start() comes first"  # noqa: S101
        self._running = anyio.Event()
        self.tasks.start_soon(self._run, self._running, after)
        return self._running

    async def _run(self, done: anyio.Event, after: float) -> None:
        before = self.snapshot
        try:
            await anyio.sleep(after)
            self._snapshot = await self._fetch_snapshot(before)
        except KartraMCPError as problem:
            self._snapshot = with_refresh_error(before, problem)
        except Exception:  # noqa: BLE001  a bug here must not end the server
            self._snapshot = with_refresh_error(before, refresh_internal_error())
        finally:
            self._running = None
            done.set()
        changed = self._was_listed and self.snapshot.catalogue is not before.catalogue
        for listener in self.listeners if changed else ():
            await listener(before.catalogue, self.snapshot.catalogue)

    async def _fetch_snapshot(self, before: AccountSnapshot) -> AccountSnapshot:
        """Fetch program, connection and actions from Membrane."""
        deadline = Deadline.after(REFRESH_TIMEOUT)
        program, known = await self._lookup.program_and_connections(before.program, deadline)
        connection = await self._select_connection(known, deadline)
        found = replace(
            previous_listing(before, connection),
            connection=connection,
            program=program,
            error=None,
            confirmed_at=time.monotonic(),
        )
        try:
            listed = await self._lookup.membrane.list_actions(connection.id, deadline)
        except KartraMCPError as problem:
            return with_refresh_error(found, problem) if connection.usable else found
        return await run_in_thread(self._store_snapshot, found, connection, listed)

    async def _select_connection(
        self, known: tuple[Connection, ...], deadline: Deadline
    ) -> Connection:
        served_last = self.served_connection_id()
        wanted = self._lookup.wanted
        known = await self._lookup.add_wanted(known, deadline)
        try:
            chosen = selection.select_connection(known, wanted, served_last)
        except RefusedError as problem:
            if problem.code == "no_connection" and not wanted:
                connector = await self._lookup.connector(deadline)
                raise selection.no_connection_error(connector) from None
            raise
        if chosen.usable and chosen.id != served_last:
            self._state.write(SERVED, {"id": chosen.id, "key": chosen.key})
        return chosen

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
            catalogue=build_catalogue(entries, self._own, commands=self._commands),
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

    def _load_snapshot(self) -> AccountSnapshot:
        """Load the snapshot of the wanted connection that the last process stored, if any."""
        last = self._state.read(SERVED)
        remembered: Mapping[str, Any] = as_dict(last)
        wanted = self._lookup.wanted
        if wanted is None or wanted in (remembered.get("id"), remembered.get("key")):
            wanted = remembered.get("id")
        kept = self._state.read(snapshot_filename(wanted)) if isinstance(wanted, str) else None
        return parse_snapshot(kept, self._own, commands=self._commands) or AccountSnapshot()
