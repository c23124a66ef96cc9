"""Untrusted values on one line, local time and the OS user, for display."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.sanitize import clean, cut, without_ansi

LONGEST = 1_000
"""Characters of one value that are shown."""


def tidy(value: Any, length: int = LONGEST) -> str:
    """A stranger's value as one line that cannot move the cursor or hide what it says."""
    return cut(" ".join(clean(without_ansi(_plain(value))).split()), length)


def local_time(at: float | None) -> str:
    """`2026-11-23 17:06:00 CET`, as the person's clock has it."""
    if at is None:
        return "-"
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def os_user() -> str:
    """Who runs this, as the system knows them, whatever the environment says."""
    if sys.platform == "win32":
        return os.getlogin()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_object(value):
        return "; ".join(f"{name}: {_plain(inner)}" for name, inner in value.items())
    if is_array(value):
        return " | ".join(map(_plain, value)) or "-"
    return str(value)
