"""The table of docs/frameworks.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clients.drive import pinned

from frameworks.roster import ROOT, Example

PAGE = ROOT / "docs" / "frameworks.md"
BEGIN, END = "<!-- begin runs -->\n", "<!-- end runs -->"
HEAD = (
    "| Program | Versions | Revision | Asked by | Yes | No | The model alone | Date |",
    "|---|---|---|---|---|---|---|---|",
)
YES, NOTHING = "one refund, `{consent}`", "nothing"


def make_row(example: Example, results: Mapping[str, str]) -> str:
    """Return the row of one program that passed; `results` has `revision` and `date`."""
    versions = "<br>".join(
        f"{package.partition('==')[0]} {pinned(package)}" for package in example.packages
    )
    cells = (
        f"`{example.file}`",
        versions,
        results["revision"],
        example.asks,
        YES.format(consent=example.consent),
        NOTHING,
        NOTHING,
        results["date"],
    )
    return f"| {' | '.join(cells)} |"


def write(rows: Mapping[str, str], page: Path = PAGE) -> None:
    """Replace the rows of these programs; the others stay as they are."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    table, _, after = rest.partition(END)
    kept = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    lines = [*HEAD, *({**kept, **rows}.values())]
    text = "\n".join(lines) + "\n"
    page.write_text(f"{before}{BEGIN}{text}{END}{after}", "utf-8")
