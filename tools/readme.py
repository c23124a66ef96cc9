"""Writes the generated parts of README and docs: `python tools/readme.py`, or `make fix`.

Each part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`. `tests/test_docs.py`
compares them, so that no page can say what the code does not do.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.core.errors import CODES
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.kartra import commands
from kartra_mcp.settings import OPTIONS, Option, read_settings

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kartra_mcp"
PAGES: Mapping[str, tuple[str, ...]] = {
    "README.md": ("actions", "own tools", "settings"),
    "docs/errors.md": ("codes",),
}
"""Each page and its generated parts."""

GATES: Mapping[Gate, str] = {
    Gate.ALLOW: "runs at once",
    Gate.FLAG: "needs `confirm: true`",
    Gate.PREVIEW: "shows a preview first",
    Gate.HUMAN: "needs a person's answer",
    Gate.DENY: "not offered",
}

REMEDIES: Mapping[str, str] = {
    "already_done": "Nothing. It was done before, and was not done again. For a second equal part "
    "of a refund, tell the assistant that you mean a second one (`repeat: true`).",
    "answered_by_host": "Your client answered the question itself, in under a second. Use one that "
    "shows it to you, or set `KARTRA_MCP_APPROVAL=outside` and the gate `human`.",
    "approval_required": "Open the address in the answer in your browser, or run its "
    "`kartra-mcp approve NUMBER` in a terminal; then let the assistant repeat the call.",
    "cap_reached": "A limit of yours. The answer says which, what is left and when there is room "
    "again.",
    "catalogue_unavailable": "Membrane did not answer with a list of actions. Try again; then ask "
    "for `kartra_status`.",
    "confirmation_expired": "The preview is older than ten minutes. Ask for a new one.",
    "confirmation_mismatch": "The confirmation belongs to another call, account or policy, or its "
    "summary was altered. Ask for a new preview.",
    "confirmation_required": "Read what would happen. If you agree, tell the assistant so; it "
    "repeats the call as the answer says.",
    "confirmation_used": "Each preview counts once. Look with `kartra_ledger` what the first call "
    "did.",
    "connection_not_ready": "Let the assistant ask `kartra_connect`, or run `kartra-mcp setup` or "
    "the `membrane connect --connectionId=…` of the answer. Do not make a new connection.",
    "declined": "You said no. The same is blocked for ten minutes, so that nobody talks you round.",
    "dismissed": "The question was closed, or nobody answered it within four minutes. If you "
    "closed it, the same is blocked for ten minutes.",
    "facts_changed": "The account changed after the preview. Look at the new one and decide again.",
    "forbidden_request": "The raw request was refused and not sent. Use the action's own tool.",
    "in_progress": "The same is running in another call. Wait for that to end.",
    "input_too_large": "Send less in one call.",
    "internal_error": "A fault in this server. If it was a write, look in Kartra before repeating "
    "it; then report it.",
    "invalid_arguments": "The answer names each wrong field and what was expected.",
    "kartra_error": "Kartra refused. The answer says what Kartra's error means and what to do.",
    "ledger_unavailable": "Nothing that writes runs until the ledger can be written. The answer "
    "says why: a full disk, a folder without write permission, another program, or damage.",
    "membrane_error": "Membrane failed. If `executed` is `unknown`, look in Kartra before "
    "repeating a write.",
    "no_connection": "Let the assistant ask `kartra_connect`, or run `kartra-mcp setup` in a "
    "terminal; or correct KARTRA_MCP_CONNECTION.",
    "not_allowed": "Your own gates, allow or deny list forbid it. Change the setting if you want "
    "it.",
    "not_enough_time": "Too little of the call's time was left to start a write; nothing was "
    "done. Repeat it, or raise KARTRA_MCP_TIMEOUT.",
    "not_logged_in": "Run `kartra-mcp setup` or `membrane login --tenant` in a terminal; with "
    "Membrane's API, correct its credentials (docs/api.md).",
    "outcome_unknown": "An earlier call may have done this. Settle that one with "
    "`kartra_reconcile`, or look in Kartra.",
    "program_missing": "Run `npm install -g @membranehq/cli`, or set KARTRA_MCP_MEMBRANE to the "
    "program's full path.",
    "rate_limited": "Too many calls; this one was not executed. Wait a second and repeat it.",
    "read_only": "KARTRA_MCP_READ_ONLY is on. Turn it off if you want writes.",
    "result_expired": "The rest of a long result is kept for a short time only. Repeat the call "
    "that brought it.",
    "several_connections": "Set KARTRA_MCP_CONNECTION to the id of the account that you mean. The "
    "server never picks between two.",
    "timed_out": "No answer in time. A write may have been done all the same: look in Kartra "
    "before repeating it.",
    "unknown_tool": "The assistant used a name that is not in the list. Let it list the tools "
    "again.",
    "unreadable_answer": "The program answered something else than expected. If it was a write, "
    "look in Kartra before repeating it.",
    "wrong_program": "The `membrane` that was found is another program. Set KARTRA_MCP_MEMBRANE "
    "to the full path of Membrane's.",
}
"""One line for each code that an answer carries so far: what a person does about it."""


def main() -> int:
    for page in PAGES:
        text = written(page)
        (ROOT / page).write_text(text, encoding="utf-8", newline="\n")
    return 0


def written(page: str) -> str:
    """A page with each of its generated parts as the code has it now."""
    text = (ROOT / page).read_text(encoding="utf-8")
    made = parts()
    for name in PAGES[page]:
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        between = re.compile(f"(?s)(?<={re.escape(begin)}\n).*?(?={re.escape(end)})")
        if not between.search(text):
            raise SystemExit(f"{page} has no part {name!r}: {begin} … {end}")
        text = between.sub(lambda _, part=made[name]: part, text)
    return text


def parts() -> dict[str, str]:
    """The generated parts by their names."""
    return {
        "actions": actions(),
        "own tools": own_tools(),
        "settings": settings(),
        "codes": codes(),
    }


def actions() -> str:
    """The published actions: tool, risk, gate by default, how to undo it."""
    gates = read_settings(environment={"HOME": "/"}).gates
    rows = sorted(map(_action, commands.PUBLISHED_KEYS), key=lambda row: (row[0], row[1]))
    shown = [
        (f"`{tool}`", _risk(most, least), _gate(gates, most, least), undo)
        for most, tool, least, undo in rows
    ]
    return table(("Tool", "Risk", "By default it", "Undo"), shown)


def own_tools() -> str:
    """The server's own tools, each with the first sentence of its description."""
    rows = [
        (f"`{tool.name}`", _risk(tool.risk, tool.min_risk), first_sentence(tool.description))
        for tool in BUILTIN_TOOLS.values()
    ]
    return table(("Tool", "Risk", "What it does"), rows)


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.]) ", text, maxsplit=1)[0]


def settings() -> str:
    """Every setting."""
    rows = [(f"`{s.variable}`", s.help, default(s)) for s in OPTIONS]
    return table(("Variable", "Meaning", "Default"), rows)


def codes() -> str:
    """Every error code in use."""
    shown = [(f"`{code}`", REMEDIES.get(code, "")) for code in sorted(codes_in_use())]
    return table(("Code", "What to do"), shown)


def codes_in_use() -> set[str]:
    """Every code that stands in a file which the program imports, the list of all codes aside."""
    texts = [
        path.read_text(encoding="utf-8")
        for path in imported()
        if path != PACKAGE / "core" / "errors.py"
    ]
    return {word for text in texts for word in re.findall(r'"([a-z_]+)"', text)} & CODES


def imported(start: str = "cli/main") -> set[Path]:
    """The core's files that this one imports, on the way or later, itself included."""
    found: set[Path] = set()
    left = [PACKAGE / f"{start}.py"]
    while left:
        path = left.pop()
        if path in found or not path.is_file() or PACKAGE / "sandbox" in path.parents:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                left += _files(node.module, [name.name for name in node.names])
    return found


def _files(module: str, names: Iterable[str]) -> list[Path]:
    """Where the module itself stands, and each name that may be a module in it."""
    package, *inside = module.split(".")
    if package != PACKAGE.name:
        return []
    place = PACKAGE.joinpath(*inside)
    return [place.with_suffix(".py"), *(place / f"{name}.py" for name in names)]


def default(setting: Option) -> str:
    """A setting's default, as the table says it."""
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
    """A table in Markdown."""
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
    said = GATES[gates[most]]
    return said if gates[most] is gates[least] else f"{GATES[gates[least]]}, or {said}"


if __name__ == "__main__":
    sys.exit(main())
