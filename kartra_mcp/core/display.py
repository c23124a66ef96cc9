"""Untrusted values on one line, local time and the OS user, for display."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.sanitize import strip_ansi, strip_control_chars, truncate

MAX_VALUE_CHARS = 1_000
"""Characters of one value that are shown."""


def display_value(value: Any, length: int = MAX_VALUE_CHARS) -> str:
    """A stranger's value as one line that cannot move the cursor or hide what it says."""
    return truncate(" ".join(strip_control_chars(strip_ansi(_format_plain(value))).split()), length)


def format_local_time(at: float | None) -> str:
    """`2026-11-23 17:06:00 CET`, as the person's clock has it."""
    if at is None:
        return "-"
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def get_os_user() -> str:
    """Who runs this, as the system knows them, whatever the environment says."""
    if sys.platform == "win32":
        return os.getlogin()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
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
