"""Reading of files that the user names: of a bounded size, and never of a device or a pipe."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""O_NONBLOCK: opening a pipe without a writer would wait for ever."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


def read_small_text(file: Path, limit: int) -> str:
    """Return the text of a regular file of at most `limit` bytes.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_small_file(file, limit).decode("utf-8")


def read_small_file(file: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
    """
    return _read_opened(os.open(file, _FLAGS), file, limit)


def read_file_inside(folder: Path, parts: Sequence[str], limit: int) -> bytes:
    """Return the content of a regular file below a folder, by its path there.

    No part may be a link: each is opened inside the one before, so that a link that replaces it
    meanwhile leads nowhere.

    Raises:
        OSError: as `read_small_file`; or a part is a link.
    """
    if os.open not in os.supports_dir_fd:  # Windows
        file = folder.joinpath(*parts)
        if file.resolve() != folder.resolve().joinpath(*parts):
            raise OSError(f"{file} is a link")
        return read_small_file(file, limit)
    within = os.open(folder, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER | _NO_LINK, dir_fd=within)
            os.close(within)
            within = inner
        opened = os.open(parts[-1], _FLAGS | _NO_LINK, dir_fd=within)
    finally:
        os.close(within)
    return _read_opened(opened, folder.joinpath(*parts), limit)


def _read_opened(opened: int, file: Path, limit: int) -> bytes:
    """Return the content of an opened file, and close it."""
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
    return content
