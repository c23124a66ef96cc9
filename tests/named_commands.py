"""Commands that a text names: found in backquotes or a code block, and parsed but not run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import command_line

from kartra_mcp.argument_parser import parse_entry

_WORDS = {
    "CLIENT": "cursor",
    "NUMBER": "7",
    "INTENT": "int_1",
    "FILE": "file",
    "COMMAND": "tools",
    "--SETTING": "--rate",
    "VALUE": "5",
    "TOOL": "kartra_get_lead",
}
_ENV = {"PATH": "/usr/bin:/bin"}
_LAST = "--not-a-flag-of-any-command"


def commands_in(text: str) -> list[str]:
    """Return the commands of this package in a text, as they are written there."""
    quoted = re.findall(r"`(kartra-mcp [^`]+)`", text)
    whole = [text] if re.match(r"kartra-mcp [a-z]+ \S", text) and "`" not in text else []
    return [" ".join(command.split()) for command in (*quoted, *whole)]


def commands_in_page(page: str) -> list[str]:
    """Return the commands of a Markdown page: quoted ones, and the lines of its blocks."""
    quoted = commands_in(re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    blocks = re.findall(r"```\w*\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    shown = [re.split(r"\s+#|\s{2,}", line)[0] for line in lines if line.startswith("kartra-mcp ")]
    return [*quoted, *(re.sub(r"(INTENT) (?!failed).*", r"\1", command) for command in shown)]


def known_flags(commands: Iterable[str]) -> set[str]:
    """Return the flags in the help of these commands."""
    helps = (command_line.run([*name.split(), "--help"], env=_ENV).stdout for name in commands)
    return {flag for text in helps for flag in re.findall(r"--[a-z][a-z-]*", text)}


def usage_fault(command: str, folder: Path) -> str:
    """Return what the parser does not understand, or "". Nothing runs: a wrong flag ends it."""
    words = _fill(command)
    if words[-1] in {"--help", "--version"}:
        return "" if _run(words, folder)[0] == 0 else command
    if words[:1] == ["serve"] and "--http" not in words:
        return " ".join(parse_entry(words[1:])[1])
    code, err = _run([*words, _LAST], folder)
    alone = f"not understood: {_LAST}. Nothing was done."
    return "" if (code, alone in err) == (2, True) else err


def _fill(command: str) -> list[str]:
    """Return the words after the program's name, with a value for each placeholder."""
    text = re.sub(r"(?<=[\w-])\{[^}]*\}", " --sandbox --state-dir /nowhere", command)
    number = "7" if " approve " in text else "cursor" if "install " in text else "int_1"
    text = re.sub(r"\{[^}]*\}", number, text)
    return [_WORDS.get(word, word) for word in shlex.split(text)[1:]]


def _run(words: list[str], folder: Path) -> tuple[int, str]:
    env = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    done = command_line.run(words, env=env)
    return done.returncode, done.stderr
