"""Membrane through its program: one start a verb.

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
from typing import Any

import anyio
import anyio.to_thread

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError, RefusedError, UpstreamError
from kartra_mcp.core.models import Action, ActionResult, Connection, Executed, RawRequest
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.membrane import cli_output
from kartra_mcp.membrane.client import Program, ToDo
from kartra_mcp.membrane.connections import address_in, connector_id, read_connection, read_started
from kartra_mcp.membrane.limiter import Turns, Unfinished
from kartra_mcp.membrane.pagination import ActionList, Ask, all_actions, identity_of, pages
from kartra_mcp.membrane.responses import (
    HTTPReply,
    RunLog,
    items,
    logged_in,
    request_reply,
    run_reply,
    unreadable,
)
from kartra_mcp.processes import runner

LARGE = 256 * 1024
"""Bytes of output beyond which it is read in a thread, so that the server goes on meanwhile."""

_OTHER_PROGRAMS = re.compile(r"(?i)\b(?:agency|plugin|mctl|ads|catalog)\b")
_VERSION = re.compile(r"(?<![\d.])v?(\d+)\.(\d+)\.(\d+)(?!\.?\d)(?:-[\w.]+)?")


@dataclass(slots=True)
class CLI:
    """Membrane through its program; one start a verb.

    Args:
        command: the program, absolute, with its first arguments; or the refusal to raise where
            it was not found, so that a server without a program still starts.
        run_program: argv in, finished process out.
    """

    command: tuple[str, ...] | KartraMCPError
    environment: Mapping[str, str]
    folder: Callable[[], Path]
    turns: Turns
    run_program: runner.Run = runner.run
    _unfinished: Unfinished = field(default_factory=Unfinished)

    async def program(self, deadline: Deadline) -> Program:
        done = await self._finished(["--version"], ToDo(deadline))
        said = (done.stdout + b"\n" + done.stderr).decode("utf-8", errors="replace")
        return read_version(done.exit_code, said)

    async def logged_in(self, deadline: Deadline) -> bool | None:
        """What `status` says of the login; None where that cannot be told."""
        try:
            return logged_in(await self._value(["status"], ToDo(deadline)))
        except KartraMCPError as problem:
            return False if problem.code == "not_logged_in" else None

    async def connections(self, deadline: Deadline) -> tuple[Connection, ...]:
        found = await pages(self._ask(["connection", "list"], deadline), {})
        listed = (read_connection(entry) for entry in found.entries)
        return tuple(connection for connection in listed if connection)

    async def connection(
        self, id_or_key: str, deadline: Deadline, wait: int = 0
    ) -> Connection | None:
        waiting = ["--wait", f"--timeout={wait}"] if wait else []
        verb = ["connection", "get", _word(id_or_key), *waiting]
        return read_connection(await self._value(verb, ToDo(deadline)))

    async def connect(
        self, deadline: Deadline, *, connection: str = "", connector: str = ""
    ) -> Connection:
        what = f"--connectionId={connection}" if connection else f"--connectorId={connector}"
        words = ["connect", what, "--non-interactive", "--json"]
        done = await self._finished(words, ToDo(deadline, write=True, finish=True))
        try:
            value = cli_output.read_value(done.exit_code, done.stdout, done.stderr)
        except KartraMCPError as problem:
            said = (done.stdout + b"\n" + done.stderr).decode("utf-8", errors="replace")
            if problem.code != "unreadable_answer" or not address_in(said):
                raise
            value = {"uiUrl": address_in(said)}
        return read_started(value, connection)

    async def connector(self, deadline: Deadline) -> str | None:
        """The id of Kartra's connector, from which a connection is made; None where not found."""
        verb = ["search", "kartra", "--elementType=connector"]
        entries = items(await self._value(verb, ToDo(deadline)))
        return next((found for entry in entries if (found := connector_id(entry))), None)

    async def actions(self, connection: str, deadline: Deadline) -> ActionList:
        listing = ["action", "list", f"--connectionId={connection}"]
        return await all_actions(self._ask(listing, deadline))

    async def search(self, intent: str, connection: str, deadline: Deadline) -> list[str]:
        """The ids of the actions that fit a task in plain words, best first."""
        flags = [f"--connectionId={connection}", f"--intent={intent}"]
        value = await self._value(["action", "list", *flags], ToDo(deadline))
        return [identity_of(entry) for entry in items(value)]

    async def run(
        self, action: Action, arguments: Mapping[str, Any], connection: str, to_do: ToDo
    ) -> ActionResult:
        given = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        verb = ["action", "run", _word(action.id)]
        value = await self._value(
            [*verb, f"--connectionId={connection}", f"--input={given}"], to_do
        )
        return run_reply(value)

    async def request(self, request: RawRequest, connection: str, to_do: ToDo) -> HTTPReply:
        words = ["request", _word(connection), request.path, *request_flags(request)]
        return request_reply(await self._value(words, to_do))

    async def run_logs(
        self, connection: str, intent: str, since: float, deadline: Deadline
    ) -> tuple[RunLog, ...]:
        """None: the program's runs carry no mark of ours."""
        del connection, intent, since, deadline
        return ()

    def end_all(self) -> None:
        self._unfinished.end_all()

    async def close(self) -> None:
        """Nothing stays open between two starts."""

    def _ask(self, verb: list[str], deadline: Deadline) -> Ask:
        """One page of a list verb."""

        async def ask(parameters: Mapping[str, str]) -> Any:
            flags = [f"--{name}={value}" for name, value in parameters.items()]
            return await self._value([*verb, *flags], ToDo(deadline))

        return ask

    async def _value(self, words: Sequence[str], to_do: ToDo) -> Any:
        done = await self._finished([*words, "--json"], to_do)
        if done.overflow:
            raise unreadable("(more than 32 MB were printed; the program was ended)")
        printed = (done.exit_code, done.stdout, done.stderr)
        if len(done.stdout) + len(done.stderr) <= LARGE:
            return cli_output.read_value(*printed)
        return await anyio.to_thread.run_sync(cli_output.read_value, *printed)

    async def _finished(self, words: Sequence[str], to_do: ToDo) -> runner.CompletedProcess:
        if isinstance(self.command, KartraMCPError):
            raise self.command.with_traceback(None)
        paced, write = to_do.paced, to_do.write
        async with self.turns.take(to_do.deadline, write=write, paced=paced):
            begun = await to_do.record.begin() if to_do.record else None
            held = begun.descriptors if begun else ()
            return await self._start((*self.command, *words), to_do, held)

    async def _start(
        self, command: tuple[str, ...], to_do: ToDo, held: Sequence[int]
    ) -> runner.CompletedProcess:
        started: list[bool] = []

        def on_start() -> None:
            started.append(True)
            if to_do.record:
                to_do.record.started()

        with self._unfinished.kept(to_do.finish):
            try:
                return await self.run_program(
                    command,
                    env=self.environment,
                    cwd=self.folder(),
                    deadline=to_do.deadline.at,
                    on_start=on_start,
                    pass_fds=held,
                )
            except runner.ProcessTimeout:
                raise timed_out(write=to_do.write and bool(started)) from None
        raise timed_out(write=to_do.write and bool(started))


def read_version(exit_code: int, said: str) -> Program:
    """Whether the program is Membrane's CLI, by what `--version` says.

    At least three programs are called `membrane`; the CLI's versions are 1.x since 2026, the
    vendor's plugin of the same name is 0.1.x.
    """
    text = truncate(strip_control_chars(said).strip(), 200)
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


def timed_out(*, write: bool) -> UpstreamError:
    """The program was ended because its time was up."""
    return UpstreamError(
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
    raise RefusedError(
        "invalid_arguments",
        "An id that is empty or begins with a dash cannot be given to the program.",
        "Ask for kartra_status and use an id that is listed.",
    )
