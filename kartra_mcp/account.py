"""The one Kartra account being served: its connection and actions, from disk at once, kept fresh.

Reads are served from what was saved; a write waits until Membrane has confirmed it. A refresh that
fails keeps what is there and says so.
"""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from kartra_mcp import catalogue, connections
from kartra_mcp.catalogue import Catalogue, Entry
from kartra_mcp.errors import KartraMCPError, Refused
from kartra_mcp.listing import ActionList, joined
from kartra_mcp.membrane import Membrane, Program
from kartra_mcp.model import Connection, Executed
from kartra_mcp.shapes import is_array, is_object
from kartra_mcp.state import State
from kartra_mcp.text import clean, cut
from kartra_mcp.turns import Deadline

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
_NO_USE_ASKING_THE_LOGIN = frozenset({"not_logged_in", "program_missing", "wrong_program"})
_ABOUT_THE_ACCOUNT = frozenset({"no_connection", "several_connections"})


@dataclass(frozen=True, slots=True)
class Served:
    """What is served now. `fetched_at` is seconds since the epoch, 0 where nothing was listed.

    `confirmed_at` is on the monotonic clock, None until Membrane confirmed it in this process.
    `problem` is what the last refresh met. `lost`: it could not read the whole list, so that
    entries kept from before stand in. `login` is what the program says where nothing else tells.
    """

    connection: Connection | None = None
    catalogue: Catalogue = catalogue.EMPTY
    fetched_at: float = 0.0
    complete: bool = True
    confirmed_at: float | None = None
    program: Program | None = None
    problem: KartraMCPError | None = None
    lost: bool = False
    login: bool | None = None

    @property
    def stale(self) -> bool:
        return self.confirmed_at is None or self.problem is not None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong that may be mended meanwhile; what is not is asked again."""
        usable = self.connection is None or self.connection.usable
        known = self.program is None or self.program.known is not False
        return usable and known and self.problem is None

    def confirmed_within(self, seconds: float) -> bool:
        at = self.confirmed_at
        return at is not None and self.sound and time.monotonic() - at < seconds


class Account:
    """Finds the connection, lists its actions, keeps both on disk, says when they changed.

    Args:
        membrane: the verbs.
        state: where the list is kept.
        wanted: the connection that the person named, an id or a key.
        own: the names of the server's own tools.
    """

    def __init__(
        self, membrane: Membrane, state: State, *, wanted: str | None, own: frozenset[str]
    ) -> None:
        self._membrane = membrane
        self._state = state
        self._wanted = wanted
        self._own = own
        self._served: Served | None = None
        self._refreshing: anyio.Event | None = None
        self._tasks: TaskGroup | None = None
        self.on_change: Callable[[], Awaitable[None]] | None = None

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
        if self.served.fetched_at:
            if not self.served.confirmed_within(FRESH_FOR):
                self._refresh_behind()
        elif not self.served.confirmed_within(FRESH_FOR):
            with anyio.move_on_after(FIRST_LIST):
                await self._refreshed()
        return self.served.catalogue

    async def entry(self, tool: str, deadline: Deadline) -> Entry:
        """The entry of a tool's name.

        Raises:
            KartraMCPError: `unknown_tool`; without any list, the code of the cause.
        """
        found = self.served.catalogue.entries.get(tool)
        if found is None and not self.served.confirmed_within(FRESH_FOR):
            with anyio.move_on_at(deadline.at):
                await self._refreshed()
        return found or self.listed_entry(tool)

    def listed_entry(self, tool: str) -> Entry:
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
        if program is None or not program.known:
            raise _wrong_program(program)
        return connection

    async def looked_at(self, deadline: Deadline) -> Served:
        """What is served, after asking Membrane again; for `kartra_status`."""
        with anyio.move_on_at(deadline.at):
            await self._refreshed()
        problem = self.served.problem
        told = problem is not None and problem.code in _NO_USE_ASKING_THE_LOGIN
        if told or self.served.confirmed_at is not None:
            return self.served
        login = await self._membrane.logged_in(_at_most(ASIDE, deadline))
        return replace(self.served, login=login)

    async def _confirmed(self, deadline: Deadline, *, write: bool) -> Connection:
        if not self.served.confirmed_within(FRESH_FOR):
            with anyio.move_on_at(deadline.at):
                await self._refreshed()
        served = self.served
        if served.problem:
            raise served.problem.with_traceback(None)
        if served.connection:
            connections.require_usable(served.connection)
        if write and served.program and served.program.known is False:
            raise _wrong_program(served.program)
        if served.connection and served.confirmed_within(FRESH_FOR):
            return served.connection
        raise Refused(
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
            self._served = _met(before, problem)
        except Exception:  # noqa: BLE001  a slip here must not end the server
            self._served = _met(before, _slip())
        finally:
            self._refreshing = None
            done.set()
        if self.on_change and _surface(before) != _surface(self.served):
            await self.on_change()

    async def _looked_up(self, before: Served) -> Served:
        """What Membrane says now: the program, the connection, its actions."""
        deadline = Deadline.after(REFRESH)
        program, known = await self._program_and_connections(before, deadline)
        connection = await self._chosen(known, deadline)
        found = replace(
            _listed_before(before, connection),
            connection=connection,
            program=program,
            problem=None,
            confirmed_at=time.monotonic(),
        )
        try:
            listed = await self._membrane.actions(connection.id, deadline)
        except KartraMCPError as problem:
            return _met(found, problem) if connection.usable else found
        return self._kept(found, connection, listed)

    def _kept(self, found: Served, connection: Connection, listed: ActionList) -> Served:
        now = time.time()
        file = _file(connection.id)
        entries = listed.entries
        if listed.lost:
            entries = joined([*entries, *_kept_entries(self._state.read(file))])
        served = replace(
            found,
            catalogue=catalogue.build(entries, self._own),
            fetched_at=now,
            complete=listed.complete,
            lost=listed.lost,
        )
        kept = {
            "connection": asdict(connection),
            "fetched_at": now,
            "complete": listed.complete,
            "lost": listed.lost,
            "entries": list(entries),
        }
        self._state.write(file, kept)
        return served

    async def _program_and_connections(
        self, before: Served, deadline: Deadline
    ) -> tuple[Program, tuple[Connection, ...]]:
        """Asked at once; that it lists connections proves a program whose version says nothing."""
        program = before.program if before.program and before.program.known else None
        failure: KartraMCPError | None = None
        known: tuple[Connection, ...] = ()

        async def ask() -> None:
            nonlocal program
            try:
                program = program or await self._membrane.program(_at_most(ASIDE, deadline))
            except KartraMCPError:
                program = Program()

        async with anyio.create_task_group() as asking:
            asking.start_soon(ask)
            try:
                known = await self._membrane.connections(deadline)
            except KartraMCPError as problem:
                failure = problem
        program = program or Program()
        if failure:
            raise _wrong_program(program) if _speaks_otherwise(program, failure) else failure
        return _proven(program, known), known

    async def _chosen(self, known: tuple[Connection, ...], deadline: Deadline) -> Connection:
        # What this process serves it goes on serving, whatever another one on this folder chose.
        serving = self.served.connection
        served_last = serving.id if serving else self.served_last()
        if self._wanted and not any(self._wanted in (c.id, c.key) for c in known):
            known = (*known, *await self._by_name(self._wanted, deadline))
        try:
            chosen = connections.choose(known, self._wanted, served_last)
        except Refused as problem:
            if problem.code == "no_connection" and not self._wanted:
                raise connections.no_connection(await self._connector(deadline)) from None
            raise
        if chosen.usable and chosen.id != served_last:
            self._state.write(SERVED, {"id": chosen.id, "key": chosen.key})
        return chosen

    async def _connector(self, deadline: Deadline) -> str | None:
        try:
            return await self._membrane.connector(deadline)
        except KartraMCPError:
            return None

    async def _by_name(self, wanted: str, deadline: Deadline) -> tuple[Connection, ...]:
        try:
            found = await self._membrane.connection(wanted, deadline)
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
        kept = self._state.read(_file(wanted)) if isinstance(wanted, str) else None
        return _read_kept(kept, self._own) or Served()

    def _unknown(self, tool: str) -> KartraMCPError:
        served = self.served
        if served.problem and not served.catalogue.entries:
            return served.problem
        if not served.fetched_at:
            return _nothing_listed(served)
        near = difflib.get_close_matches(tool, served.catalogue.entries, n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        return Refused(
            "unknown_tool",
            f"There is no tool {cut(clean(tool), 60)!r}.{hint}",
            "List the tools again, or ask for kartra_status.",
        )


def _met(served: Served, problem: KartraMCPError) -> Served:
    """A refresh executes nothing at Kartra, whatever the call that waits for it would have done."""
    problem.executed = Executed.NO
    return replace(served, problem=problem)


def _at_most(seconds: float, deadline: Deadline) -> Deadline:
    short = Deadline.after(seconds)
    return short if short.at < deadline.at else deadline


def _nothing_listed(served: Served) -> KartraMCPError:
    """Why no tool is known yet: the connection, or that nothing has come in time."""
    try:
        if served.connection:
            connections.require_usable(served.connection)
    except KartraMCPError as problem:
        return problem
    return Refused(
        "catalogue_unavailable",
        "The list of actions has not come from Membrane yet; nothing was started.",
        "Ask for kartra_status, then repeat the call.",
    )


def _listed_before(before: Served, connection: Connection) -> Served:
    """The list that is there already, if it is this connection's."""
    same = before.connection is not None and before.connection.id == connection.id
    return before if same else Served()


def _speaks_otherwise(program: Program, failure: KartraMCPError) -> bool:
    """Whether the program is another one: its version says so, or it says nothing readable."""
    silent = not failure.answered and failure.code in ("membrane_error", "unreadable_answer")
    return program.known is False or (program.known is None and silent)


def _proven(program: Program, known: tuple[Connection, ...]) -> Program:
    return replace(program, known=True) if program.known is None and known else program


def _read_kept(kept: Any, own: frozenset[str]) -> Served | None:
    """What was kept on disk; None for what is damaged or of another version."""
    if not is_object(kept) or not is_array(kept.get("entries")):
        return None
    try:
        connection = Connection(**kept["connection"])
        fetched_at, complete = float(kept["fetched_at"]), bool(kept["complete"])
    except (KeyError, TypeError, ValueError):
        return None
    entries = catalogue.build(kept["entries"], own)
    lost = kept.get("lost") is True
    return Served(connection, entries, fetched_at=fetched_at, complete=complete, lost=lost)


def _kept_entries(kept: Any) -> list[Any]:
    entries = kept.get("entries") if is_object(kept) else None
    return entries if is_array(entries) else []


def _surface(served: Served) -> dict[str, Any]:
    return {
        name: (e.title, e.description, e.schema(gated=True))
        for name, e in served.catalogue.entries.items()
    }


def _file(connection_id: str) -> str:
    return f"actions-{hashlib.sha256(connection_id.encode()).hexdigest()[:12]}.json"


def _slip() -> KartraMCPError:
    return Refused(
        "internal_error",
        "The list of actions could not be read because of an error in this server.",
        "Please report it with the version that kartra_status shows.",
    )


def _wrong_program(program: Program | None) -> KartraMCPError:
    return Refused(
        "wrong_program",
        "The program called `membrane` that was found is not known to be Membrane's.",
        "Install Membrane's with `npm install -g @membranehq/cli`, or set KARTRA_MCP_MEMBRANE to "
        "its full path.",
        detail={"version": program.said} if program and program.said else None,
    )
