"""Client for Membrane's program: one start per operation.

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

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.models import Action, ActionResult, Connection, RawRequest
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.core.threads import parse_off_loop
from kartra_mcp.membrane import cli_output
from kartra_mcp.membrane.client import CallOptions, ProgramInfo
from kartra_mcp.membrane.connections import (
    find_url,
    get_connector_id,
    parse_connect,
    parse_connection,
)
from kartra_mcp.membrane.limiter import CallLimiter, RunningCalls
from kartra_mcp.membrane.logged_runs import LoggedRuns
from kartra_mcp.membrane.pagination import (
    ActionList,
    FetchPage,
    element_id,
    list_actions,
    read_pages,
)
from kartra_mcp.membrane.responses import (
    ProxyResponse,
    RunLog,
    invalid_response_error,
    list_items,
    parse_login,
    parse_proxy_response,
    parse_run,
    timed_out_error,
)
from kartra_mcp.processes import runner

TIMED_OUT = "The membrane program did not answer in time and was ended."

_OTHER_PROGRAMS = re.compile(r"(?i)\b(?:agency|plugin|mctl|ads|catalog)\b")
_VERSION = re.compile(r"(?<![\d.])v?(\d+)\.(\d+)\.(\d+)(?!\.?\d)(?:-[\w.]+)?")


@dataclass(slots=True)
class CliClient:
    """Membrane through its program; one start per operation.

    Args:
        command: the absolute command with its first arguments; or the refusal to raise if it was
            not found, so that a server without the program still starts.
        environment: the variables that the program gets.
        folder: returns the working directory of the program.
        turns: concurrency and rate limits.
        run_program: runs an argv and returns the completed process.
    """

    command: tuple[str, ...] | KartraMCPError
    environment: Mapping[str, str]
    folder: Callable[[], Path]
    turns: CallLimiter
    run_program: runner.Run = runner.run
    _unfinished: RunningCalls = field(default_factory=RunningCalls)

    async def get_program(self, deadline: Deadline) -> ProgramInfo:
        done = await self._run(["--version"], CallOptions(deadline))
        output = (done.stdout + b"\n" + done.stderr).decode("utf-8", errors="replace")
        return parse_version(done.exit_code, output)

    async def is_logged_in(self, deadline: Deadline) -> bool | None:
        """Return the login state that `status` reports; None if it reports none."""
        try:
            return parse_login(await self._run_json(["status"], CallOptions(deadline)))
        except KartraMCPError as problem:
            return False if problem.code == "not_logged_in" else None

    async def list_connections(self, deadline: Deadline) -> tuple[Connection, ...]:
        found = await read_pages(self._ask(["connection", "list"], deadline), {})
        listed = (parse_connection(entry) for entry in found.entries)
        return tuple(connection for connection in listed if connection)

    async def get_connection(
        self, id_or_key: str, deadline: Deadline, wait: int = 0
    ) -> Connection | None:
        waiting = ["--wait", f"--timeout={wait}"] if wait else []
        verb = ["connection", "get", _positional(id_or_key), *waiting]
        return parse_connection(await self._run_json(verb, CallOptions(deadline)))

    async def connect(
        self, deadline: Deadline, *, connection: str = "", connector: str = "", another: str = ""
    ) -> Connection:
        """Reconnect a connection, or start a new one; see `MembraneClient`.

        `another` is the name of a connection besides those that the connector has already.
        """
        what = f"--connectionId={connection}" if connection else f"--connectorId={connector}"
        more = [f"--name={another}", "--allowMultipleConnections"] if another else []
        words = ["connect", what, *more, "--non-interactive", "--json"]
        done = await self._run(words, CallOptions(deadline, write=True, shielded=True))
        try:
            value = cli_output.parse_output(done.exit_code, done.stdout, done.stderr)
        except KartraMCPError as problem:
            output = (done.stdout + b"\n" + done.stderr).decode("utf-8", errors="replace")
            if problem.code != "unreadable_answer" or not find_url(output):
                raise
            value = {"uiUrl": find_url(output)}
        return parse_connect(value, connection)

    async def find_connector(self, deadline: Deadline) -> str | None:
        """Return the id of Kartra's connector, from which connections are created, or None."""
        verb = ["search", "kartra", "--elementType=connector"]
        entries = list_items(await self._run_json(verb, CallOptions(deadline)))
        return next((found for entry in entries if (found := get_connector_id(entry))), None)

    async def list_actions(self, connection: str, deadline: Deadline) -> ActionList:
        listing = ["action", "list", f"--connectionId={connection}"]
        return await list_actions(self._ask(listing, deadline))

    async def search(self, intent: str, connection: str, deadline: Deadline) -> list[str]:
        """Return the ids of the actions that match a task in plain words, best first."""
        flags = [f"--connectionId={connection}", f"--intent={intent}"]
        value = await self._run_json(["action", "list", *flags], CallOptions(deadline))
        return [element_id(entry) for entry in list_items(value)]

    async def run(
        self, action: Action, arguments: Mapping[str, Any], connection: str, to_do: CallOptions
    ) -> ActionResult:
        given = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        verb = ["action", "run", _positional(action.id)]
        value = await self._run_json(
            [*verb, f"--connectionId={connection}", f"--input={given}"], to_do
        )
        return parse_run(value)

    async def request(
        self, request: RawRequest, connection: str, to_do: CallOptions
    ) -> ProxyResponse:
        words = ["request", _positional(connection), request.path, *request_flags(request)]
        return parse_proxy_response(await self._run_json(words, to_do))

    async def run_logs(
        self, connection: str, intent: str, since: float, deadline: Deadline
    ) -> tuple[RunLog, ...]:
        """Return nothing: runs of the program carry no intent id."""
        del connection, intent, since, deadline
        return ()

    async def logged_runs(self, connection: str, since: float, deadline: Deadline) -> LoggedRuns:
        """Refuse: runs of the program carry no intent id."""
        del connection, since, deadline
        raise RefusedError(
            "not_possible",
            "Membrane's program gives no run logs that can be compared with a ledger.",
            "Set credentials for Membrane's API (docs/api.md).",
        )

    async def refuses_token(self, ended_at: float, deadline: Deadline) -> bool | None:
        """Return None: the program has its own login."""
        del ended_at, deadline
        return None

    def cancel_all(self) -> None:
        self._unfinished.cancel_all()

    async def close(self) -> None:
        """Do nothing: no connection stays open between two starts."""

    def _ask(self, verb: list[str], deadline: Deadline) -> FetchPage:
        """Return a function that fetches one page of a list verb."""

        async def ask(parameters: Mapping[str, str]) -> Any:
            flags = [f"--{name}={value}" for name, value in parameters.items()]
            return await self._run_json([*verb, *flags], CallOptions(deadline))

        return ask

    async def _run_json(self, words: Sequence[str], to_do: CallOptions) -> Any:
        done = await self._run([*words, "--json"], to_do)
        if done.overflow:
            raise invalid_response_error("(output above 32 MB; the program was ended)")
        return await parse_off_loop(
            len(done.stdout) + len(done.stderr),
            cli_output.parse_output,
            done.exit_code,
            done.stdout,
            done.stderr,
        )

    async def _run(self, words: Sequence[str], to_do: CallOptions) -> runner.CompletedProcess:
        if isinstance(self.command, KartraMCPError):
            raise self.command.with_traceback(None)
        paced, write = to_do.rate_limited, to_do.write
        async with self.turns.slot(to_do.deadline, write=write, paced=paced):
            begun = await to_do.write_record.begin() if to_do.write_record else None
            held = begun.inherit_fds if begun else ()
            return await self._start((*self.command, *words), to_do, held)

    async def _start(
        self, command: tuple[str, ...], to_do: CallOptions, held: Sequence[int]
    ) -> runner.CompletedProcess:
        started: list[bool] = []

        def on_start() -> None:
            started.append(True)
            if to_do.write_record:
                to_do.write_record.mark_started()

        with self._unfinished.track(to_do.shielded):
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
                raise timed_out_error(TIMED_OUT, write=to_do.write and bool(started)) from None
        raise timed_out_error(TIMED_OUT, write=to_do.write and bool(started))


def parse_version(exit_code: int, output: str) -> ProgramInfo:
    """Decide from the output of `--version` if the program is Membrane's CLI.

    At least three programs are called `membrane`. The CLI's versions are 1.x since 2026; the
    vendor's plugin of the same name is 0.1.x.
    """
    text = truncate(strip_control_chars(output).strip(), 200)
    found = _VERSION.search(text)
    if _OTHER_PROGRAMS.search(text):
        return ProgramInfo(found.group(0) if found else "", is_membrane=False, output=text)
    if exit_code != 0 or found is None:
        return ProgramInfo(output=text)
    return ProgramInfo(found.group(0), is_membrane=int(found.group(1)) >= 1, output=text)


def request_flags(request: RawRequest) -> list[str]:
    """Return the flags of `membrane request`, each value in one word with its flag."""
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


def _positional(text: str) -> str:
    """Return a value that becomes a word of its own.

    Raises:
        RefusedError: it is empty or looks like a flag, which the program would obey.
    """
    if text and not text.startswith("-"):
        return text
    raise RefusedError(
        "invalid_arguments",
        "The id is empty or begins with a dash. Nothing was started.",
        "Call kartra_status and use an id that it lists.",
    )
