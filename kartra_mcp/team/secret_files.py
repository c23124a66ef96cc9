"""Files of secrets that a team file names: their permissions and their content."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.files import read_small_text
from kartra_mcp.membrane.credentials import Secret

MAX_SECRET_BYTES = 16 * 1024
_OTHERS = 0o007
_GROUP_WRITES = 0o020
_MEND = "Run `chmod 600 {file}`; for a mounted secret set the mode to 0400 or 0440"


def read_secret(file: Path) -> Secret:
    """Return the only line of a file of a secret, without the line's end.

    Raises:
        RefusedError: it cannot be read, others can read or change it, or it is not one line. The
            content is in no message.
    """
    found = find_secret_fault(file)
    if found is not None:
        problem, mend = found
        raise RefusedError("invalid_arguments", f"{file} {problem}. Nothing was done.", f"{mend}.")
    return Secret(_read(file))


def find_secret_fault(file: Path) -> tuple[str, str] | None:
    """Return problem and mend of a file of a secret, or None if it can be used."""
    try:
        state = file.stat()  # follows links: mounted secrets are links
    except OSError:
        return "cannot be found", "Create it, or correct the path"
    if not stat.S_ISREG(state.st_mode):
        return "is not a file", "Correct the path"
    if os.name == "posix":
        if state.st_uid not in (0, os.geteuid()):
            return "belongs to another user", "Change its owner to this user or root"
        if state.st_mode & (_OTHERS | _GROUP_WRITES):
            mode = stat.S_IMODE(state.st_mode)
            return f"can be used by other users (mode {mode:04o})", _MEND.format(file=file)
    return _find_content_fault(file)


def _find_content_fault(file: Path) -> tuple[str, str] | None:
    try:
        text = _read(file)
    except (OSError, UnicodeDecodeError):
        return "cannot be read", "Let this user read it; it is a text of at most 16 KiB"
    if not text or not text.isprintable():
        return "is empty or not one line", "Write the secret as its only line"
    return None


def _read(file: Path) -> str:
    return read_small_text(file, MAX_SECRET_BYTES).rstrip("\r\n")
