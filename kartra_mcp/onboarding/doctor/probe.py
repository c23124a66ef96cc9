"""One run of the server's own steps to the account, on a copy of its state."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio

from kartra_mcp.app.composition import App, build_app
from kartra_mcp.catalogue.overview import list_unmatched_patterns
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import KartraMCPError, describe_exception
from kartra_mcp.core.sanitize import redact_command
from kartra_mcp.membrane.cli_client import CliClient
from kartra_mcp.membrane.client import ProgramInfo
from kartra_mcp.membrane.executable import PROGRAM
from kartra_mcp.onboarding.doctor import explanations
from kartra_mcp.onboarding.doctor.api_explanations import make_api_target
from kartra_mcp.onboarding.doctor.explanations import MembraneTarget
from kartra_mcp.onboarding.doctor.findings import (
    SERVER_STEPS,
    CheckResult,
    failed,
    passed,
    skipped,
    steps_after,
    warning,
)
from kartra_mcp.onboarding.doctor.node_check import (
    find_idle_program,
    is_on_short_path,
    look_for_node,
)
from kartra_mcp.processes import runner
from kartra_mcp.processes.signals import watch_termination
from kartra_mcp.settings import Settings

KEPT = ("served.json", "actions-*.json", "account.db*")

Tell = Callable[[CheckResult], None]
Busy = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Timings:
    """Time limits of the steps in seconds, each capped by the timeout of a call.

    All steps together take at most a minute.
    """

    version: float = 5.0
    look: float = 20.0
    login: float = 5.0
    read: float = 10.0


@dataclass(frozen=True, slots=True)
class ProgressSink:
    """Receives findings and progress. Also holds the program runner and the timings."""

    tell: Tell
    busy: Busy
    run_program: runner.Run = runner.run
    timings: Timings = Timings()

    def add_all(self, found: list[CheckResult]) -> None:
        for finding in found:
            self.tell(finding)


def run_checks(settings: Settings, line: ProgressSink) -> None:
    """Run every step from node to one read, until one fails.

    Raises:
        KeyboardInterrupt: the run was stopped; every program has ended.
    """
    try:
        stopped = anyio.run(_run_one, settings, line)
    except OSError as problem:
        fix = "Set a writable folder for temporary files: `TMPDIR=DIR`."
        message = f"No working folder for programs could be created ({problem.strerror})."
        line.add_all([failed("program", message, fix), *skipped(steps_after("program"), "program")])
        return
    if stopped:
        raise KeyboardInterrupt


async def _run_one(settings: Settings, line: ProgressSink) -> bool:
    stopped: list[bool] = []
    with _copy_state(settings, line.timings.read) as seen:
        made = build_app(seen, run_program=line.run_program)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_termination, partial(_stop, tasks.cancel_scope, stopped))
            made.tools.account.start(tasks)
            try:
                await _run_steps(settings, made, line)
            finally:
                tasks.cancel_scope.cancel()
                await made.close()
    return bool(stopped)


def _stop(scope: anyio.CancelScope, stopped: list[bool]) -> None:
    """Cancel the run, so that its programs end too."""
    stopped.append(True)
    scope.cancel()


@contextmanager
def _copy_state(settings: Settings, read: float) -> Generator[Settings]:
    """Yield settings that point at a copy of the state: the doctor changes nothing."""
    with tempfile.TemporaryDirectory(prefix="kartra-mcp-doctor-") as name:
        folder = Path(name)
        for pattern in KEPT if settings.sandbox else KEPT[:2]:
            for file in settings.state_dir.glob(pattern):
                with suppress(OSError):
                    shutil.copyfile(file, folder / file.name)
        yield replace(settings, state_dir=folder, timeout=min(settings.timeout, read))


async def _run_steps(settings: Settings, made: App, line: ProgressSink) -> None:
    line.busy("Looking for Node.js and Membrane's program")
    membrane = made.membrane
    if not isinstance(membrane, CliClient):
        line.tell(passed("node", "Node.js is not needed: Membrane's API is used."))
        version = await _get_version(settings, made, line.timings.version)
        await _check_program_and_account(settings, made, line, version)
        return
    command = membrane.command
    if isinstance(command, KartraMCPError) and settings.transport in ("api", "none"):
        line.add_all([failed("settings", command.message, command.remedy)])
        line.add_all(skipped(SERVER_STEPS, "settings"))
        return
    node = await look_for_node(settings, command, made.state.work_dir())
    if isinstance(command, KartraMCPError):
        found = explanations.check_node(node, settings.platform, program_runs=False)
        line.tell(found)
        if found.state == "failed":
            line.add_all(skipped(steps_after("node"), "node"))
            return
        line.tell(explanations.missing_program(command, find_idle_program(settings)))
        line.add_all(skipped(steps_after("program"), "program"))
        return
    version = await _get_version(settings, made, line.timings.version)
    runs = not isinstance(version, KartraMCPError) and version.is_membrane is True
    found = explanations.check_node(node, settings.platform, program_runs=runs)
    line.tell(found)
    if found.state == "failed":
        line.add_all(skipped(steps_after("node"), "node"))
        return
    await _check_program_and_account(settings, made, line, version)


async def _check_program_and_account(
    settings: Settings, made: App, line: ProgressSink, version: ProgramInfo | KartraMCPError
) -> None:
    way = _make_target(settings, made)
    short = way.api is not None or is_on_short_path(settings)
    proven = explanations.check_version(way, version, on_short_path=short)
    if proven and proven.state == "failed":
        line.add_all([proven, *skipped(steps_after("program"), "program")])
        return
    line.busy("Requesting the login, the connection and its actions from Membrane")
    served = await made.tools.account.refresh_now(_make_deadline(line.timings.look, settings))
    shown = proven or explanations.check_version_and_connections(
        way, version, served, on_short_path=short
    )
    line.tell(shown)
    if shown.state == "failed":
        line.add_all(skipped(steps_after("program"), "program"))
        return
    asked = served.login
    if served.confirmed_at is None and asked is None:
        asked = await made.membrane.is_logged_in(_make_deadline(line.timings.login, settings))
    found = explanations.check_login_and_account(way, served, asked=asked)
    line.add_all(found)
    await _measure_workspace(settings, made, line, found)
    if served.fetched_at:
        unmatched = list_unmatched_patterns(served.catalogue.entries.values(), made.tools.rules)
        line.add_all([warning("settings", one.message, one.remedy) for one in unmatched])
    if not any(finding.step == "read" for finding in found):
        line.busy("Reading once from the account")
        line.tell(await _read(made, way))


async def _measure_workspace(
    settings: Settings, made: App, line: ProgressSink, found: list[CheckResult]
) -> None:
    """Measure clock and tokens of a workspace that accepts the credentials."""
    logged_in = any(one.step == "login" and one.state == "ok" for one in found)
    if not logged_in or settings.api is None or not settings.uses_http_api:
        return
    from kartra_mcp.membrane.http_client import HttpClient
    from kartra_mcp.onboarding.doctor import api_measurements as measurements

    client = made.membrane
    if isinstance(client, HttpClient):
        line.busy("Measuring the clock and the tokens of the workspace")
        line.tell(measurements.check_api_clock(client))
        seconds = line.timings.login
        line.tell(
            await measurements.check_token_end(client, lambda: _make_deadline(seconds, settings))
        )


async def _get_version(
    settings: Settings, made: App, seconds: float
) -> ProgramInfo | KartraMCPError:
    try:
        return await made.membrane.get_program(_make_deadline(seconds, settings))
    except KartraMCPError as problem:
        return problem


async def _read(made: App, way: MembraneTarget) -> CheckResult:
    """Read once as a client would: by the tool's name, under the user's rules."""
    tools = made.tools
    entry = explanations.pick_safe_read(
        (await tools.account.catalogue()).entries.values(), tools.rules
    )
    if entry is None:
        return explanations.read_skipped()
    started = time.monotonic()
    try:
        await tools.call(
            entry.tool, {}, ClientContext("kartra-mcp doctor", received_at=time.time())
        )
    except KartraMCPError as problem:
        served = tools.account.snapshot.connection
        return explanations.read_failed(way, entry.tool, served.id if served else "", problem)
    except Exception as error:  # noqa: BLE001  as the server does: its text may be untrusted
        fix = "Please report it, with the version that `kartra-mcp --version` prints."
        return failed("read", f"An error in this server: {describe_exception(error)}.", fix)
    return passed("read", f"{entry.tool} answered in {time.monotonic() - started:.1f} s.")


def _make_deadline(seconds: float, settings: Settings) -> Deadline:
    return Deadline.after(min(seconds, settings.timeout))


def _make_target(settings: Settings, made: App) -> MembraneTarget:
    """Return the transport to Membrane, and the command that the user types for it."""
    if settings.sandbox:
        reset = f"`kartra-mcp sandbox reset{settings.cli_flags.replace(' --sandbox', '')}`"
        return MembraneTarget(
            "The embedded sandbox", PROGRAM, f"{reset} resets the embedded account."
        )
    membrane = made.membrane
    if not isinstance(membrane, CliClient) or isinstance(membrane.command, KartraMCPError):
        return MembraneTarget(made.tools.program, PROGRAM, api=make_api_target(settings))
    typed = shutil.which(PROGRAM, path=settings.environment.get("PATH", ""))
    command = shlex.join(redact_command(membrane.command))
    return MembraneTarget(command, PROGRAM if membrane.command == (typed,) else command)
