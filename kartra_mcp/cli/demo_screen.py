"""The screen of the demos: one step as a table, and how a demo that stopped is reported."""

from __future__ import annotations

from typing import TypeGuard

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kartra_mcp.cli.demo_steps import DemoFailedError, DemoStep
from kartra_mcp.core.exit_codes import EXIT_FAILED

MAX_WIDTH = 96


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


def find_reason(problem: Exception) -> str:
    """Return the first cause: task groups wrap the errors of their tasks."""
    while _is_group(problem):
        problem = problem.exceptions[0]
    if isinstance(problem, DemoFailedError):
        return f"The demo stopped: the server responded unexpectedly: {problem}."
    return f"The demo stopped: {type(problem).__name__}: {problem}"


def _is_group(problem: Exception) -> TypeGuard[ExceptionGroup[Exception]]:
    return isinstance(problem, ExceptionGroup)


def report_stopped(why: str) -> int:
    Console(stderr=True, highlight=False).print(f"\n{why}", style="bold red", markup=False)
    return EXIT_FAILED
