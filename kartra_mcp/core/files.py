"""Reading of files that the user names: of a bounded size, and never of a device or a pipe."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""O_NONBLOCK: opening a pipe without a writer would wait for ever."""


def read_small_text(file: Path, limit: int) -> str:
    """Return the text of a regular file of at most `limit` bytes.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
        UnicodeDecodeError: it is not UTF-8.
    """
    opened = os.open(file, _FLAGS)
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
            raise OSError(f"{file} is not a regular file of at most {limit} bytes")
        with os.fdopen(os.dup(opened), "rb") as stream:
            content = stream.read(limit + 1)
    finally:
        os.close(opened)
    if len(content) > limit:  # it grew meanwhile, or its size is not known
        raise OSError(f"{file} is larger than {limit} bytes")
    return content.decode("utf-8")
