"""Untrusted values on one line, JSON, local time and the OS user, for display."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.sanitize import strip_ansi, strip_control_chars, truncate
from kartra_mcp.core.surroundings import surroundings

MAX_VALUE_CHARS = 1_000
"""Characters of one value that are shown."""
_PLAIN = re.compile(r"[\w:\\/.+-]+")
"""A word that PowerShell takes as it is; a folder such as `Ann (work)` is not one."""
_LEDGER_COMMAND = re.compile(r"`(kartra-mcp (?:approve|bulk|ledger|page)\b[^`]*)`")
_MEMBRANE_COMMAND = re.compile(r"`membrane (?=(?:login|connect|connection|search|status)\b)")


def display_value(value: Any, length: int = MAX_VALUE_CHARS) -> str:
    """Return an untrusted value as one line that cannot move the cursor or hide its content."""
    # Blanks first: a separator that is removed as invisible would join two words.
    line = " ".join(strip_ansi(_format_plain(value)).split())
    return truncate(" ".join(strip_control_chars(line).split()), length)


def add_ledger_flags(text: str, flags: str) -> str:
    """Return a text whose commands on a ledger, each between backticks, select this one.

    `flags` are those of the settings, each after a space: without them, a command that the user
    copies reads another ledger than the server's.
    """
    return _LEDGER_COMMAND.sub(
        lambda found: found[0] if not flags or flags in found[1] else f"`{found[1]}{flags}`", text
    )


def name_membrane(text: str, command: str) -> str:
    """Return a text whose commands of Membrane's program, each between backticks, are found.

    `command` starts the program in a terminal; "" where its name alone does.
    """
    if not command:
        return text
    return _MEMBRANE_COMMAND.sub(lambda _: f"`{command} ", text)


def format_command(words: Sequence[str], platform: str) -> str:
    """Quote a command for a POSIX shell, or on Windows for PowerShell.

    A bundle's folder has spaces in its path (`Claude Extensions`), and PowerShell runs a quoted
    path only after `&`.
    """
    quoted = [quote_word(word, platform) for word in words]
    return " ".join(["&", *quoted] if quoted[0].startswith('"') else quoted)


def quote_word(word: str, platform: str) -> str:
    """Quote one word of a command for a POSIX shell, or on Windows for PowerShell."""
    if platform != "win32":
        return shlex.quote(word)
    return word if _PLAIN.fullmatch(word) else quote_for_powershell(word)


def quote_for_powershell(word: str) -> str:
    """Return a word in double quotes, in which PowerShell expands nothing."""
    return '"' + re.sub(r'([`$"])', r"`\1", word) + '"'


def format_local_time(at: float | None) -> str:
    """Return a time such as `2026-11-23 17:06:00 CET`, by the local clock."""
    if at is None:
        return "-"
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def get_os_user() -> str:
    """Return the OS user as the system reports it, whatever the environment contains."""
    if sys.platform == "win32":
        try:
            return os.getlogin()
        except OSError:  # a service has no login session
            return "unknown"
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError, OSError):  # a container's user without an entry; no such file
        return f"uid {os.getuid()}"


def _format_plain(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_object(value):
        return "; ".join(f"{name}: {_format_plain(inner)}" for name, inner in value.items())
    if is_array(value):
        return " | ".join(map(_format_plain, value)) or "-"
    return str(value)


def print_json(value: Any) -> None:
    """Print ASCII only: untrusted input cannot send control characters to the terminal."""
    surroundings().stdout.write(json.dumps(value, indent=2) + "\n")
