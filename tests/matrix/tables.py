"""The results of stories as tables of text, for the terminal and for docs/team/matrix.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matrix.faults import FAULTS
from matrix.points import POINTS
from matrix.story import Result

DOCUMENT = Path(__file__).parents[2] / "docs" / "team" / "matrix.md"
HOLDS, MISSED, NONE = "holds", "not reached", "–"
NOT_JUDGED = "**not judged**"


def cell(result: Result | None) -> str:
    if result is None:
        return NONE
    if result.reached and not result.is_judged:
        return NOT_JUDGED
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


def scripts(results: Sequence[Result]) -> str:
    rows = [["story", "result"], *([one.fault, cell(one)] for one in sorted(results, key=str))]
    return render(rows)


def seeded(results: Mapping[str, Result | None]) -> str:
    """A row for each seeded fault, with the properties that caught it."""
    rows = [["fault in the protocol", "story", "caught by the properties"]]
    for name, one in results.items():
        rows.append([name, one.title if one else NONE, _catch(one)])
    return render(rows)


def _catch(result: Result | None) -> str:
    if result is None or not result.is_judged:
        return NOT_JUDGED
    if result.dead:
        return "**a patch was never called**"
    return ", ".join(sorted({str(one.number) for one in result.violations})) or "**nothing**"


def write(name: str, table: str) -> None:
    """Put a table between its marks in docs/team/matrix.md."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    DOCUMENT.write_text(f"{before}{begin}{table}\n{end}{after}", "utf-8")


def render(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
