"""Programs that setup runs: each in its own empty folder, each ended by Ctrl-C."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import anyio

from kartra_mcp.app import membrane_factory
from kartra_mcp.core.errors import KartraMCPError, UpstreamError
from kartra_mcp.core.models import Executed
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.membrane import executable
from kartra_mcp.membrane.cli_client import CliClient
from kartra_mcp.membrane.limiter import CallLimiter
from kartra_mcp.onboarding.setup.report import SetupContext
from kartra_mcp.processes import interactive, runner
from kartra_mcp.processes.signals import (
    raise_interrupt,
    set_termination_handler,
    watch_termination,
)
from kartra_mcp.settings import Settings

T = TypeVar("T")


def run_client(setup: SetupContext, ask: Callable[[CliClient], Awaitable[T]]) -> T:
    """Run calls to Membrane and return their result.

    Raises:
        KartraMCPError: a call failed.
        KeyboardInterrupt: the user stopped; the program has ended.
    """
    settings = setup.settings
    command = membrane_factory.membrane_command(settings)
    env = membrane_factory.membrane_env(settings, command)
    with _empty_folder(settings) as folder:
        limiter = CallLimiter(settings.max_children)
        membrane = CliClient(command, env, lambda: folder, limiter, setup.run_program)
        return _run_async(lambda: ask(membrane), membrane.cancel_all)


def run(
    setup: SetupContext, command: Sequence[str], words: Sequence[str], seconds: float
) -> runner.CompletedProcess:
    """Run a program to its end without showing its output.

    Raises:
        RefusedError: the program could not be started.
        UpstreamError: the program was ended after the time limit.
        KeyboardInterrupt: the user stopped; the program has ended.
    """
    return _run(setup, [*command, *words], seconds, _make_env(setup.settings, command))


def run_npm(
    setup: SetupContext, npm: Sequence[str], words: Sequence[str], seconds: float
) -> runner.CompletedProcess:
    """Run npm, which alone receives npm's own settings."""
    settings = setup.settings
    env = {**interactive.filter_npm_env(settings.environment), **_make_env(settings, npm)}
    return _run(setup, [*npm, *words], seconds, env)


def _run(
    setup: SetupContext, command: Sequence[str], seconds: float, env: Mapping[str, str]
) -> runner.CompletedProcess:
    with _empty_folder(setup.settings) as folder:

        async def started() -> runner.CompletedProcess:
            deadline = anyio.current_time() + seconds
            return await setup.run_program(command, env=env, cwd=folder, deadline=deadline)

        try:
            return _run_async(started)
        except runner.ProcessTimeout:
            raise _timeout_error(command[0], seconds) from None


def run_interactive(
    settings: Settings, command: Sequence[str], words: Sequence[str], seconds: float
) -> int:
    """Run a program on the user's terminal to its end; return its exit code."""
    env = _make_env(settings, command)
    with _empty_folder(settings) as folder:
        try:
            return interactive.run_interactive(
                [*command, *words], env=env, cwd=folder, seconds=seconds
            )
        except runner.ProcessTimeout:
            raise _timeout_error(command[0], seconds) from None


def _make_env(settings: Settings, command: Sequence[str]) -> dict[str, str]:
    path = settings.environment.get("PATH", "")
    needed = executable.search_path(command, path, settings.platform, settings.home)
    return {**interactive.interactive_env(settings.environment, settings.platform), "PATH": needed}


@contextmanager
def _empty_folder(settings: Settings) -> Generator[Path]:
    """Yield an empty working folder: configuration in the current one may be untrusted."""
    state = StateDir(settings.state_dir)
    try:
        yield state.work_dir()
    finally:
        state.close()


def _timeout_error(name: str, seconds: float) -> UpstreamError:
    return UpstreamError(
        "timed_out",
        f"{Path(name).name} took longer than {seconds:.0f} seconds and was ended.",
        "Run `kartra-mcp setup` again; it continues where this stopped.",
        executed=Executed.UNKNOWN,
    )


@dataclass(slots=True)
class _Outcome(Generic[T]):
    value: list[T] = field(default_factory=list[T])
    problem: Exception | None = None
    stopped: bool = False


def _run_async(work: Callable[[], Awaitable[T]], stop: Callable[[], None] = lambda: None) -> T:
    """Run asynchronous work that signals can stop; raise KeyboardInterrupt if one did."""
    outcome = _Outcome[T]()
    try:
        anyio.run(_run_until_stopped, work, stop, outcome)
    finally:
        set_termination_handler(raise_interrupt)  # the event loop has replaced it
    if outcome.stopped:
        raise KeyboardInterrupt
    if outcome.problem:
        raise outcome.problem
    return outcome.value[0]


async def _run_until_stopped(
    work: Callable[[], Awaitable[T]], stop: Callable[[], None], outcome: _Outcome[T]
) -> None:
    def end() -> None:
        outcome.stopped = True
        stop()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_termination, end)
        try:
            outcome.value.append(await work())
        except (KartraMCPError, runner.ProcessTimeout) as problem:
            outcome.problem = problem
        tasks.cancel_scope.cancel()
