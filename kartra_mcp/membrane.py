"""Membrane as typed verbs behind one small protocol, and their implementation by its program.

The argument order is the one that both published generations of the program accept: positionals
first, `--flag=value`, `--json` last. The connection is always named: without one Membrane picks a
default account.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.to_thread

from kartra_mcp import cli_output, process
from kartra_mcp.connections import connector_id, read_connection
from kartra_mcp.errors import Failed, KartraMCPError, Refused
from kartra_mcp.model import Action, Connection, Executed, RawRequest, Reply
from kartra_mcp.shapes import is_object
from kartra_mcp.text import clean, cut
from kartra_mcp.turns import Deadline, Turns

PAGE = 1000
MOST_PAGES = 50
IGNORED_PAGE = 10
INTENTS = (
    "get lead details",
    "create or edit a lead",
    "assign or remove a tag",
    "list tags, lists, sequences, pages and custom fields",
    "subscribe or unsubscribe a lead to a list",
    "subscribe or unsubscribe a lead to a sequence",
    "transactions and payments",
    "refund a transaction",
    "cancel or change a subscription",
    "grant or revoke membership access",
    "products, forms, calendars and points",
    "send, search, update or delete something else",
)
"""Searches that together should find every action where a program ignores our paging."""

_NO_USE_ASKING_AGAIN = frozenset(
    {"not_logged_in", "program_missing", "timed_out", "not_enough_time", "rate_limited"}
)
_NO_MORE_PAGES = frozenset({"not_logged_in", "program_missing"})
LARGE = 256 * 1024
"""Bytes of output beyond which it is read in a thread, so that the server goes on meanwhile."""

_OTHER_PROGRAMS = re.compile(r"(?i)\b(?:agency|plugin|mctl|ads|catalog)\b")
_VERSION = re.compile(r"(?<![\d.])v?(\d+)\.(\d+)\.(\d+)(?!\.?\d)(?:-[\w.]+)?")


@dataclass(frozen=True, slots=True)
class Program:
    """What `--version` said: the version, "" where it could not be read.

    `known`: it is Membrane's; None where the version alone does not tell.
    """

    version: str = ""
    known: bool | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class ActionList:
    """The entries of `action list` as they came; `complete` unless searches had to stand in.

    `lost`: a page or a search failed, so that actions may be missing which there are.
    """

    entries: tuple[Any, ...]
    complete: bool = True
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Pages:
    """What the pages of a list brought; `whole` unless a page repeated or there was no end.

    `lost`: a page after the first failed.
    """

    entries: tuple[Any, ...]
    whole: bool = False
    lost: bool = False


class Membrane(Protocol):
    """What is needed of Membrane, whatever carries it."""

    async def program(self, deadline: Deadline) -> Program: ...
    async def logged_in(self, deadline: Deadline) -> bool | None: ...
    async def connections(self, deadline: Deadline) -> tuple[Connection, ...]: ...
    async def connection(self, id_or_key: str, deadline: Deadline) -> Connection | None: ...
    async def connector(self, deadline: Deadline) -> str | None: ...
    async def actions(self, connection: str, deadline: Deadline) -> ActionList: ...
    async def search(self, intent: str, connection: str, deadline: Deadline) -> list[str]: ...
    async def run(
        self, action: Action, arguments: Mapping[str, Any], connection: str, to_do: ToDo
    ) -> Reply: ...
    async def request(
        self, request: RawRequest, connection: str, to_do: ToDo
    ) -> cli_output.HTTPReply: ...
    def end_all(self) -> None: ...


class Record(Protocol):
    """What has to be on disk before a write is started."""

    async def begin(self) -> Sequence[int]:
        """Record that it is about to run; the descriptors that its program has to hold."""
        ...

    def started(self) -> None:
        """From now on something may have been done."""
        ...


@dataclass(frozen=True, slots=True)
class ToDo:
    """How one start is to be treated.

    `write`: a lost answer is unknown. `finish`: once started it is not ended by a cancellation.
    `paced`: it counts for the throttle, as a call to the connection. `record`: told right before
    the start, which may still be refused there, and right after it.
    """

    deadline: Deadline
    write: bool = False
    finish: bool = False
    paced: bool = False
    record: Record | None = None


@dataclass(slots=True)
class CLI:
    """Membrane through its program; one start a verb.

    Args:
        command: the program, absolute, with its first arguments; or the refusal to raise where
            it was not found, so that a server without a program still starts.
    """

    command: tuple[str, ...] | KartraMCPError
    environment: Mapping[str, str]
    folder: Callable[[], Path]
    turns: Turns
    _unfinished: set[anyio.CancelScope] = field(default_factory=set[anyio.CancelScope])

    async def program(self, deadline: Deadline) -> Program:
        done = await self._finished(["--version"], ToDo(deadline))
        said = (done.stdout + b"\n" + done.stderr).decode("utf-8", errors="replace")
        return read_version(done.exit_code, said)

    async def logged_in(self, deadline: Deadline) -> bool | None:
        """What `status` says of the login; None where that cannot be told."""
        try:
            return cli_output.logged_in(await self._value(["status"], ToDo(deadline)))
        except KartraMCPError as problem:
            return False if problem.code == "not_logged_in" else None

    async def connections(self, deadline: Deadline) -> tuple[Connection, ...]:
        pages = await self._pages(["connection", "list"], [], deadline)
        found = (read_connection(entry) for entry in pages.entries)
        return tuple(connection for connection in found if connection)

    async def connection(self, id_or_key: str, deadline: Deadline) -> Connection | None:
        value = await self._value(["connection", "get", _word(id_or_key)], ToDo(deadline))
        return read_connection(value)

    async def connector(self, deadline: Deadline) -> str | None:
        """The id of Kartra's connector, from which a connection is made; None where not found."""
        verb = ["search", "kartra", "--elementType=connector"]
        entries = cli_output.items(await self._value(verb, ToDo(deadline)))
        return next((found for entry in entries if (found := connector_id(entry))), None)

    async def actions(self, connection: str, deadline: Deadline) -> ActionList:
        """All actions of the connection, however the installed program pages.

        Raises:
            KartraMCPError: nothing could be listed.
        """
        listing = ["action", "list", f"--connectionId={connection}"]
        limited = [f"--limit={PAGE}"]
        try:
            pages = await self._pages(listing, limited, deadline)
        except KartraMCPError as problem:
            if problem.code in _NO_USE_ASKING_AGAIN:
                raise
            limited = []
            pages = await self._unlimited(listing, deadline)
        if pages.whole and len(pages.entries) != IGNORED_PAGE:
            return ActionList(pages.entries)
        searched = await self._searched([*listing, *limited], deadline, need=not pages.entries)
        lost = pages.lost or searched.lost
        return ActionList(joined([*pages.entries, *searched.entries]), complete=False, lost=lost)

    async def search(self, intent: str, connection: str, deadline: Deadline) -> list[str]:
        """The ids of the actions that fit a task in plain words, best first."""
        flags = [f"--connectionId={connection}", f"--intent={intent}"]
        value = await self._value(["action", "list", *flags], ToDo(deadline))
        return [_identity(entry) for entry in cli_output.items(value)]

    async def run(
        self, action: Action, arguments: Mapping[str, Any], connection: str, to_do: ToDo
    ) -> Reply:
        given = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        verb = ["action", "run", _word(action.id)]
        value = await self._value(
            [*verb, f"--connectionId={connection}", f"--input={given}"], to_do
        )
        return cli_output.run_reply(value)

    async def request(
        self, request: RawRequest, connection: str, to_do: ToDo
    ) -> cli_output.HTTPReply:
        words = ["request", _word(connection), request.path, *request_flags(request)]
        return cli_output.request_reply(await self._value(words, to_do))

    def end_all(self) -> None:
        """End also what was to be finished: the server itself ends."""
        for scope in tuple(self._unfinished):
            scope.cancel()

    async def _unlimited(self, listing: list[str], deadline: Deadline) -> Pages:
        """The list of a program that refuses `--limit`; nothing where it also wants an intent."""
        try:
            return await self._pages(listing, [], deadline)
        except KartraMCPError as problem:
            if problem.code in _NO_USE_ASKING_AGAIN:
                raise
            return Pages(())

    async def _pages(self, verb: list[str], flags: list[str], deadline: Deadline) -> Pages:
        """Every page of a list, until there is no cursor or a page brings nothing new."""
        entries: list[Any] = []
        seen: set[str] = set()
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            at = [f"--cursor={cursor}"] if cursor else []
            try:
                value = await self._value([*verb, *flags, *at], ToDo(deadline))
                fresh = [entry for entry in cli_output.items(value) if _is_new(entry, seen)]
            except KartraMCPError as problem:
                if cursor is None or problem.code in _NO_MORE_PAGES:
                    raise
                return Pages(tuple(entries), lost=True)
            entries += fresh
            cursor = cli_output.cursor(value)
            if cursor is None:
                return Pages(tuple(entries), whole=True)
            if not fresh:
                break
        return Pages(tuple(entries))

    async def _searched(self, listing: list[str], deadline: Deadline, *, need: bool) -> Pages:
        """The answers of all intents, asked in parallel; an intent that fails adds nothing.

        Raises:
            KartraMCPError: all failed, and nothing else brought any action (`need`).
        """
        answers: list[Any] = []
        failures: list[KartraMCPError] = []

        async def ask(intent: str) -> None:
            try:
                value = await self._value([*listing, f"--intent={intent}"], ToDo(deadline))
                answers.extend(cli_output.items(value))
            except KartraMCPError as problem:
                failures.append(problem)

        async with anyio.create_task_group() as asking:
            for intent in INTENTS:
                asking.start_soon(ask, intent)
        if need and len(failures) == len(INTENTS):
            raise failures[0]
        return Pages(tuple(answers), lost=bool(failures))

    async def _value(self, words: Sequence[str], to_do: ToDo) -> Any:
        done = await self._finished([*words, "--json"], to_do)
        if done.overflow:
            raise cli_output.unreadable("(more than 32 MB were printed; the program was ended)")
        printed = (done.exit_code, done.stdout, done.stderr)
        if len(done.stdout) + len(done.stderr) <= LARGE:
            return cli_output.read_value(*printed)
        return await anyio.to_thread.run_sync(cli_output.read_value, *printed)

    async def _finished(self, words: Sequence[str], to_do: ToDo) -> process.Finished:
        if isinstance(self.command, KartraMCPError):
            raise self.command.with_traceback(None)
        paced, write = to_do.paced, to_do.write
        async with self.turns.take(to_do.deadline, write=write, paced=paced):
            held = await to_do.record.begin() if to_do.record else ()
            return await self._start((*self.command, *words), to_do, held)

    async def _start(
        self, command: tuple[str, ...], to_do: ToDo, held: Sequence[int]
    ) -> process.Finished:
        started: list[bool] = []

        def on_start() -> None:
            started.append(True)
            if to_do.record:
                to_do.record.started()

        with anyio.CancelScope(shield=to_do.finish) as scope:
            self._unfinished.add(scope)
            try:
                return await process.run(
                    command,
                    env=self.environment,
                    cwd=self.folder(),
                    deadline=to_do.deadline.at,
                    on_start=on_start,
                    pass_fds=held,
                )
            except process.DeadlinePassed:
                raise timed_out(write=to_do.write and bool(started)) from None
            finally:
                self._unfinished.discard(scope)
        raise timed_out(write=to_do.write and bool(started))


def read_version(exit_code: int, said: str) -> Program:
    """Whether the program is Membrane's CLI, by what `--version` says.

    At least three programs are called `membrane`; the CLI's versions are 1.x since 2026, the
    vendor's plugin of the same name is 0.1.x.
    """
    text = cut(clean(said).strip(), 200)
    found = _VERSION.search(text)
    if _OTHER_PROGRAMS.search(text):
        return Program(found.group(0) if found else "", known=False, said=text)
    if exit_code != 0 or found is None:
        return Program(said=text)
    return Program(found.group(0), known=int(found.group(1)) >= 1, said=text)


def request_flags(request: RawRequest) -> list[str]:
    """The flags of `membrane request`, each value in one word with its flag."""
    flags = [f"--method={request.method}"]
    flags += [f"--header={name}: {value}" for name, value in request.headers.items()]
    if request.content_type and request.body is not None:
        flags.append(f"--header=Content-Type: {request.content_type}")
    flags += [f"--query={name}={value}" for name, value in request.query]
    flags += [f"--pathParam={name}={value}" for name, value in request.path_params.items()]
    if request.body is not None:
        flags.append(f"--data={request.body}")
        if not request.content_type.startswith("application/json"):
            flags.append("--rawData")
    return flags


def timed_out(*, write: bool) -> Failed:
    """The program was ended because its time was up."""
    return Failed(
        "timed_out",
        "The membrane program did not answer in time and was ended.",
        "It may have been done: look in Kartra, and do not simply repeat it."
        if write
        else "Repeat the call, or raise KARTRA_MCP_TIMEOUT.",
        executed=Executed.UNKNOWN if write else Executed.NO,
    )


def _word(text: str) -> str:
    """A value that becomes a word of its own may not look like a flag."""
    if text and not text.startswith("-"):
        return text
    raise Refused(
        "invalid_arguments",
        "An id that is empty or begins with a dash cannot be given to the program.",
        "Ask for kartra_status and use an id that is listed.",
    )


def _identity(entry: Any) -> str:
    return str(entry.get("id") or entry.get("key") or "") if is_object(entry) else ""


def _is_new(entry: Any, seen: set[str]) -> bool:
    identity = _identity(entry)
    if identity and identity in seen:
        return False
    seen.add(identity)
    return True


def joined(entries: Sequence[Any]) -> tuple[Any, ...]:
    """The entries of several lists, each action once: as it came first."""
    seen: set[str] = set()
    return tuple(entry for entry in entries if _is_new(entry, seen))
