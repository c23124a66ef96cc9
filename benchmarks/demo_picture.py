"""`make screenshots`: the first steps of `kartra-mcp demo` as a terminal, into docs/pictures.

The picture is the command's own output. Dates and ids differ in each run, so they are replaced by
fixed ones of the same length: an equal demo gives an equal file. Its colors follow the reader's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from html import unescape
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from benchmarks.client import ROOT, Broken

FILE = ROOT / "docs" / "pictures" / "demo.svg"
WIDTH = 88
"""Columns: the text is still legible in a README's column."""
FIRST, LAST = "1. ", "6. "
"""Beginnings of the first step that is shown, and of the first that is not."""
PROMPT = "$ kartra-mcp demo"
CUT = "[…]"

FIXED: Mapping[str, str] = {
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d": "2026-11-24 10:15:00",
    r"(?<=here since )\d{4}-\d\d-\d\d": "2026-03-26",
    r'(?<=confirmation_id=")[\w-]{24}': "an-id-that-each-run-gets",
    r"\bint_[0-9a-f]{16}": "int_0123456789abcdef",
}
"""Texts that differ in each run, and those that stand for them."""

ANSI = [(0, 0, 0), (163, 36, 29), (18, 110, 54), (130, 80, 0), (9, 88, 175), (120, 40, 140)]
LIGHT = TerminalTheme(
    (246, 248, 250), (28, 36, 40), [*ANSI, (0, 98, 112), (110, 118, 124)], [(90, 90, 90)] * 8
)
BRIGHT = [(0, 0, 0), (255, 123, 114), (86, 211, 100), (227, 179, 65), (121, 192, 255)]
DARK = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [*BRIGHT, (210, 168, 255), (86, 212, 221), (177, 186, 196)],
    [(110, 118, 129)] * 8,
)

SVG = """\
<svg role="img" aria-labelledby="title desc" viewBox="0 0 {width} {height}" \
xmlns="http://www.w3.org/2000/svg">
<title id="title">kartra-mcp demo in a terminal</title>
<desc id="desc">Its first five steps. Dates and ids are replaced by fixed ones.</desc>
<style>
.paper {{ fill: LIGHTPAPER; }}
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; }}
{styles}
@media (prefers-color-scheme: dark) {{
.paper {{ fill: DARKPAPER; }}
DARKSTYLES
}}
</style>
<defs>{lines}</defs>
<rect class="paper" width="100%" height="100%" rx="10"/>
<g transform="translate({terminal_x}, 24)"><g class="{unique_id}-matrix">
{matrix}
</g></g>
</svg>
"""


def main() -> int:
    try:
        shown = select(printed())
    except Broken as problem:
        print(f"demo picture: {problem}", file=sys.stderr)
        return 1
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(drawn(shown), encoding="utf-8", newline="\n")
    print(f"demo picture: {FILE.relative_to(ROOT)}")
    return 0


def printed() -> str:
    """Return the demo's output, with the colors of a terminal of this width."""
    terminal = {"COLUMNS": str(WIDTH), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    ended = subprocess.run(
        [sys.executable, "-m", "kartra_mcp", "demo"],
        env={**kept, **terminal},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if ended.returncode:
        raise Broken(f"kartra-mcp demo failed: {ended.stderr}")
    return ended.stdout


def select(output: str) -> list[Text]:
    """Return the lines that are shown, with fixed dates and ids."""
    lines = [Text.from_ansi(fixed(line)) for line in output.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.plain.startswith((FIRST, LAST))]
    if len(starts) != len((FIRST, LAST)):
        raise Broken("the demo did not print its steps")
    return [Text(PROMPT, style="bold"), Text(CUT), *lines[slice(*starts)], Text(CUT)]


def fixed(line: str) -> str:
    """Replace what differs in each run; the length stays, so that every line breaks as before."""
    for pattern, text in FIXED.items():
        line = re.sub(pattern, text, line)
    return line


def drawn(lines: list[Text]) -> str:
    """Return the picture, with the colors of light and dark pages."""
    papers = {
        "LIGHTPAPER": LIGHT.background_color.hex,
        "DARKPAPER": DARK.background_color.hex,
        "DARKSTYLES": _export(lines, DARK, "{styles}").strip(),
    }
    made = _export(lines, LIGHT, SVG)
    for name, value in papers.items():
        made = made.replace(name, value)
    return made


def _export(lines: list[Text], theme: TerminalTheme, code_format: str) -> str:
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(Text("\n").join(lines), soft_wrap=True)
        return console.export_svg(theme=theme, code_format=code_format, unique_id="demo")


def words_in(picture: str) -> list[str]:
    """Return every word of a picture's terminal, in order."""
    _, _, matrix = picture.partition('<g class="demo-matrix">')
    return unescape(re.sub(r"<[^>]*>", " ", matrix)).replace("\xa0", " ").split()


if __name__ == "__main__":
    sys.exit(main())
