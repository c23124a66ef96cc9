"""The figures as a table on the terminal and as parts of docs/performance.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from benchmarks.client import ROOT
from benchmarks.plots import Plot, drawn
from benchmarks.stats import Row

FILE = ROOT / "docs" / "performance.md"
PICTURES = FILE.with_suffix("")
HEAD = ("Measured", "Median", "Middle half", "Promised")


@dataclass(frozen=True, slots=True)
class Measured:
    """A case that ran."""

    name: str
    title: str
    about: str
    rows: Sequence[Row]
    machine: str
    plots: Sequence[Plot] = ()

    def missed(self) -> list[str]:
        return [
            f"{self.name}: {' '.join(filter(None, _plain(row)))}" for row in self.rows if row.missed
        ]


def on_terminal(measured: Measured) -> str:
    """Format a table with aligned columns."""
    table = [("", *HEAD[1:]), *(_plain(row) for row in measured.rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in table]
    return "\n".join([measured.title, *("  " + line for line in lines)])


def write(measured: Measured) -> None:
    """Replace a case's part of the page and draw its plots; keep the other parts."""
    for plot in measured.plots:
        drawn(plot, PICTURES)
    text = FILE.read_text(encoding="utf-8")
    FILE.write_text(written(text, measured), encoding="utf-8", newline="\n")


def written(text: str, measured: Measured) -> str:
    begin, end = (f"<!-- {word} {measured.name} -->" for word in ("begin", "end"))
    between = re.compile(f"(?s){re.escape(begin)}\n.*?{re.escape(end)}\n")
    part = f"{begin}\n{in_markdown(measured)}{end}\n"
    if between.search(text):
        return between.sub(lambda _: part, text)
    return f"{text.rstrip()}\n\n{part}"


def in_markdown(measured: Measured) -> str:
    rows = [HEAD, *(row.cells() for row in measured.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    table = [lines[0], "|---" + "|---:" * (len(HEAD) - 1) + "|", *lines[1:]]
    made_by = f"`make bench CASES={measured.name}`: {measured.machine}."
    pictures = [f"![{plot.title}]({PICTURES.name}/{plot.name}.svg)" for plot in measured.plots]
    seen = [*pictures, ""] if pictures else []
    head = [f"## {measured.title}", "", measured.about, ""]
    return "\n".join([*head, *table, "", *seen, made_by, ""])


def machine() -> str:
    """Describe the machine that the figures depend on, without any name."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    versions = f"Python {platform.python_version()}, mcp {version('mcp')}"
    return f"{system}, {versions}{_load()}"


def _load() -> str:
    """Return the load average of the last minute, our processes included."""
    return f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


def _plain(row: Row) -> tuple[str, ...]:
    return tuple(cell.replace("**", "") for cell in row.cells())


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
