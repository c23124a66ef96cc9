"""Write the generated parts of README and docs: `python tools/readme.py`, or `make fix`.

Each part is between `<!-- begin NAME -->` and `<!-- end NAME -->`. `tests/test_docs.py` compares
them, so that no page contradicts the code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.catalogue.command_tools import list_command_tools
from kartra_mcp.core.error_codes import ERROR_CODES
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.kartra import commands
from kartra_mcp.policy.gates import GATE_TEXTS
from kartra_mcp.server.guide import render_guide
from kartra_mcp.settings import OPTIONS, Option, read_settings

ROOT = Path(__file__).parents[1]
PAGES: Mapping[str, tuple[str, ...]] = {
    "README.md": ("actions", "own tools"),
    "docs/guide.md": ("areas",),
    "docs/settings.md": ("settings",),
    "docs/errors.md": ("codes",),
    "docs/commands.md": ("commands",),
}
"""Each page and its generated parts."""


def main() -> int:
    for page in PAGES:
        text = written(page)
        (ROOT / page).write_text(text, encoding="utf-8", newline="\n")
    return 0


def written(page: str) -> str:
    """Return a page with each generated part as the code has it now."""
    text = (ROOT / page).read_text(encoding="utf-8")
    made = parts()
    for name in PAGES[page]:
        text = replace_part(text, name, made[name])
    return text


def replace_part(text: str, name: str, part: str) -> str:
    """Return a page's text with one generated part replaced."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    between = re.compile(f"(?s)(?<={re.escape(begin)}\n).*?(?={re.escape(end)})")
    if not between.search(text):
        raise SystemExit(f"the page has no part {name!r}: {begin} … {end}")
    return between.sub(lambda _: part, text)


def parts() -> dict[str, str]:
    """Return the generated parts by name."""
    return {
        "actions": actions(),
        "own tools": own_tools(),
        "settings": settings(),
        "codes": codes(),
        "commands": command_tools(),
        "areas": render_guide(),
    }


def actions() -> str:
    """Return the table of published actions: tool, risk, default gate, undo."""
    gates = read_settings(environment={"HOME": "/"}).gates
    rows = sorted(map(_action, commands.PUBLISHED_KEYS), key=lambda row: (row[0], row[1]))
    shown = [
        (f"`{tool}`", _risk(most, least), _gate(gates, most, least), undo)
        for most, tool, least, undo in rows
    ]
    return table(("Tool", "Risk", "Needs by default", "Undo"), shown)


def own_tools() -> str:
    """Return the server's own tools, each with the first sentence of its description."""
    rows = [
        (f"`{tool.name}`", _risk(tool.risk, tool.min_risk), first_sentence(tool.description))
        for tool in BUILTIN_TOOLS.values()
    ]
    return table(("Tool", "Risk", "What it does"), rows)


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.]) ", text, maxsplit=1)[0]


def command_tools() -> str:
    """Return the table of command tools; those that no published action covers come first."""
    published = {commands.find_command(key) for key in commands.PUBLISHED_KEYS}
    tools = sorted(
        list_command_tools(()).values(), key=lambda tool: (tool.command in published, tool.tool)
    )
    rows = [
        (
            f"`{tool.tool}`",
            _risk(tool.risk, tool.min_risk),
            tool.action.description,
            "yes" if tool.command in published else "",
        )
        for tool in tools
    ]
    return table(("Tool", "Risk", "What it does", "Published action"), rows)


def settings() -> str:
    """Return the table of all settings."""
    rows = [(f"`{s.variable}`", s.help, default(s)) for s in OPTIONS]
    return table(("Variable", "Meaning", "Default"), rows)


def codes() -> str:
    """Return the table of all error codes."""
    shown = [(f"`{code}`", ERROR_CODES[code].help) for code in sorted(ERROR_CODES)]
    return table(("Code", "What to do"), shown)


def default(setting: Option) -> str:
    """Return a setting's default as the table shows it."""
    match setting.default:
        case None | ():
            return "not set"
        case bool(on):
            return "on" if on else "off"
        case float(number):
            return f"{number:g}"
        case other:
            return str(other)


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table in Markdown."""
    cells = [list(head), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|---" * len(cells[0]) + "|", *lines[1:]]) + "\n"


def _action(key: str) -> tuple[Risk, str, Risk, str]:
    row = commands.COMMANDS[commands.find_command(key)]
    undo = row.undo[:1].upper() + row.undo[1:]
    return row.risk, "kartra_" + key.replace("-", "_"), row.lowest_risk, undo


def _risk(most: Risk, least: Risk) -> str:
    return most.label if most is least else f"{least.label} or {most.label}"


def _gate(gates: Mapping[Risk, Gate], most: Risk, least: Risk) -> str:
    text = GATE_TEXTS[gates[most]].requirement
    lowest = GATE_TEXTS[gates[least]].requirement
    return text if gates[most] is gates[least] else f"{lowest}, or {text}"


if __name__ == "__main__":
    sys.exit(main())
