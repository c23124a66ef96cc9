"""Plots of the measurements, as small SVG files next to docs/performance.md.

The same figures give the same file: no date, no random names, no fonts drawn as paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

SIZE = (5.6, 2.6)
"""Inches."""
STYLE = {
    "svg.hashsalt": "kartra-mcp",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
COLOURS = ("#4c72b0", "#dd8452", "#55a868")


@dataclass(frozen=True, slots=True)
class Bars:
    """Groups of bars on a logarithmic scale: a group per label, a bar per series."""

    name: str
    title: str
    below: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]

    def draw(self, axes: Any) -> None:
        wide = 0.8 / len(self.series)
        for number, (name, values) in enumerate(self.series.items()):
            at = [place + number * wide for place in range(len(values))]
            bars = axes.bar(at, values, wide * 0.95, label=name, color=COLOURS[number])
            axes.bar_label(bars, labels=[short(value) for value in values], padding=1)
        middle = wide * (len(self.series) - 1) / 2
        axes.set_xticks([place + middle for place in range(len(self.labels))], self.labels)
        axes.set_yscale("log")
        axes.margins(y=0.12)
        axes.legend(frameon=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One line from zero up."""

    name: str
    title: str
    below: str
    at: Sequence[float]
    values: Sequence[float]

    def draw(self, axes: Any) -> None:
        axes.plot(self.at, self.values, marker="o", markersize=3, color=COLOURS[0])
        axes.set_ylim(bottom=0)


@dataclass(frozen=True, slots=True)
class Lines:
    """Several lines, both scales logarithmic."""

    name: str
    title: str
    below: str
    at: Sequence[float]
    series: Mapping[str, Sequence[float]]

    def draw(self, axes: Any) -> None:
        for (name, values), colour in zip(self.series.items(), COLOURS, strict=False):
            axes.plot(self.at, values, marker="o", markersize=3, label=name, color=colour)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.legend(frameon=False)


Plot = Bars | Line | Lines


def drawn(plot: Plot, folder: Path) -> Path:
    """Draw the plot and return its file."""
    library: Any = import_module("matplotlib")
    figures: Any = import_module("matplotlib.figure")
    with library.rc_context(STYLE):
        figure = figures.Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        plot.draw(axes)
        axes.set_title(plot.title)
        axes.set_xlabel(plot.below)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{plot.name}.svg"
        figure.savefig(file, metadata={"Date": None})
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(map(str.rstrip, lines)) + "\n", encoding="utf-8", newline="\n")
    return file


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"  # noqa: PLR2004  three digits do
