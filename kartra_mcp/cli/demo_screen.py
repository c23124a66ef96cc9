"""The screen of the demos: one step as a table, and how a demo that stopped is reported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import TypeGuard

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kartra_mcp.cli.demo_steps import DemoFailedError, DemoStep
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.processes.signals import raise_interrupt, termination_handler

MAX_WIDTH = 96


def rehearse(prefix: str, work: Callable[[Console, str], None]) -> int:
    """Run a demo in a folder of its own; return 0 if it ended as shown, 1 if it was stopped."""
    screen = Console(highlight=False)
    screen.width = min(screen.width, MAX_WIDTH)
    try:
        with (
            termination_handler(raise_interrupt),
            tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder,
        ):
            work(screen, folder)
    except KeyboardInterrupt:
        return _report_stopped("Stopped. Nothing is left behind.")
    except Exception as problem:  # noqa: BLE001  every error ends the demo
        return _report_stopped(_find_reason(problem))
    return EXIT_OK


def show_step(screen: Console, number: int, step: DemoStep) -> None:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, min_width=8, style="dim")
    table.add_column(overflow="fold")
    table.add_row("  wish", Text(step.wish))
    table.add_row("  call", Text(step.call, style="cyan"))
    table.add_row("  answer", Text(step.answer))
    table.add_row("  effect", Text(step.effect, style="green" if step.changed else "bold"))
    screen.print(Text(f"\n{number}. {step.title}", style="bold"))
    screen.print(table)


def _find_reason(problem: Exception) -> str:
    """Return the first cause: task groups wrap the errors of their tasks."""
    while _is_group(problem):
        problem = problem.exceptions[0]
    if isinstance(problem, DemoFailedError):
        return f"The demo stopped: the server responded unexpectedly: {problem}."
    return f"The demo stopped: {type(problem).__name__}: {problem}"


def _is_group(problem: Exception) -> TypeGuard[ExceptionGroup[Exception]]:
    return isinstance(problem, ExceptionGroup)


def _report_stopped(why: str) -> int:
    Console(stderr=True, highlight=False).print(f"\n{why}", style="bold red", markup=False)
    return EXIT_FAILED
