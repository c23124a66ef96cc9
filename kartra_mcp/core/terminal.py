"""The user's terminal: output is sanitized, input comes from the terminal only."""

from __future__ import annotations

import getpass
import io
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kartra_mcp.core.display import display_value
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.surroundings import surroundings

DEFAULT_WIDTH = 120
"""Columns of output whose width is unknown: a pipe, a file."""


def console(*, errors: bool = False) -> Console:
    """Return the console; bold and dim only on a terminal, and not under NO_COLOR."""
    around = surroundings()
    stream = around.stderr if errors else around.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    make = partial(Console, file=stream, markup=False, emoji=False, _environ=around.environment)
    made = make(highlight=False)
    if made.no_color:
        made = make(color_system=None)
    if not made.is_terminal:
        made.width = max(made.width, DEFAULT_WIDTH)
    return made


def print_line(text: str, style: str = "") -> None:
    console().print(Text(text, style), soft_wrap=True)


def print_error(text: str) -> None:
    console(errors=True).print(Text(text), soft_wrap=True)


def print_fields(rows: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, one per line; wrapped text stays in the column of the values."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(display_value(name.replace("_", " "))), Text(display_value(value)))
    console().print(Padding(grid, (0, 2), expand=False))


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; cells may have several lines, each already sanitized."""
    made = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    for title in titles:
        made.add_column(Text(title), overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    console().print(made)


@contextmanager
def spinner(text: str, *, errors: bool = False) -> Generator[Callable[[str], None]]:
    """Show that work is in progress; the text may change meanwhile.

    On a terminal the text is animated and removed at the end; elsewhere only the first text is
    printed.
    """
    made = console(errors=errors)
    if not made.is_terminal:
        made.print(Text(text), soft_wrap=True)
        yield lambda _: None
        return
    with made.status(Text(text)) as shown:
        yield lambda now: shown.update(Text(now))


@contextmanager
def progress_bar(text: str) -> Generator[Callable[[float, float], None]]:
    """Show how many of how many items are done, with rate and time left, on stderr.

    Only on a terminal; it is removed at the end.
    """
    made = console(errors=True)
    if not made.is_terminal:
        yield lambda _done, _total: None
        return
    from rich.progress import (  # not for commands without one
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            rate = task.finished_speed or task.speed
            return Text("" if rate is None else f"{rate:.1f}/s")

    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(RateColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=made, transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def is_interactive() -> bool:
    """Return True if the user can be asked here: neither end is a pipe or a file."""
    return surroundings().is_terminal


def require_interactive(what: str) -> None:
    """Raise unless the user can be asked here."""
    if not is_interactive():
        raise not_interactive_error(what)


def prompt(question: str) -> str:
    """Read a line.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C.
        EOFError: the input ended.
    """
    while True:
        try:
            return surroundings().read_line(question).strip()
        except UnicodeDecodeError:
            print_line("The input is not text in this terminal's encoding.")


def prompt_secret(question: str) -> str:
    """Read a line without echo; refused if echo cannot be turned off."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return surroundings().read_secret(question)
        except getpass.GetPassWarning:
            raise not_interactive_error("A PIN can be typed") from None
        except UnicodeDecodeError:
            raise RefusedError(
                "invalid_arguments",
                "The input is not text in this terminal's encoding.",
                "Type it again in a terminal with the right encoding.",
            ) from None


def not_interactive_error(what: str) -> RefusedError:
    return RefusedError(
        "not_allowed",
        f"{what} only on a real terminal: the input or output here is a pipe or a file.",
        "Run the command yourself in a terminal window.",
    )
