"""The results of stories as tables of text, for the terminal and for docs/team/matrix.md."""

from __future__ import annotations

from collections.abc import Sequence

from matrix.faults import FAULTS
from matrix.points import POINTS
from matrix.story import Result

HOLDS, MISSED, NONE = "holds", "not reached", "–"


def cell(result: Result | None) -> str:
    if result is None:
        return NONE
    if result.violations:
        return "**" + ", ".join(sorted({str(one.number) for one in result.violations})) + "**"
    return HOLDS if result.reached else MISSED


def matrix(results: Sequence[Result]) -> str:
    """A row for each fault and a column for each point; a number is a violated property."""
    found = {(one.fault, one.point): one for one in results}
    faults = [fault.name for fault in FAULTS if any(one.fault == fault.name for one in results)]
    points = [point for point in POINTS if any(one.point == point for one in results)]
    rows = [["", *points]]
    rows += [[fault, *(cell(found.get((fault, point))) for point in points)] for fault in faults]
    return render(rows)


def render(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
