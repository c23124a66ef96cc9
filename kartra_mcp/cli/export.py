"""An export in its place: no file is another user's or overwritten."""

from __future__ import annotations

import os
from pathlib import Path

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.surroundings import surroundings


def write_export(text: str) -> None:
    """To stdout in UTF-8, byte for byte as in a file."""
    out = surroundings().stdout
    out.flush()
    out.buffer.write(text.encode())
    out.buffer.flush()


def save(file: Path, text: str, *, away_from: Path, force: bool) -> None:
    """Into a file of this user alone, whole or not at all.

    Raises:
        RefusedError: it is there already, stands among the ledger's own, or cannot be written.
    """
    if file.resolve().parent == away_from.resolve():
        raise _unwritable_error(file, "it would stand among the ledger's own files")
    place = file.with_name(f".{file.name}.{os.getpid()}") if force else file
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _unwritable_error(file, "it is there already, and --force was not said") from None
    except OSError as problem:
        raise _unwritable_error(file, str(problem.strerror)) from problem
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            out.write(text)
        place.replace(file)
    except BaseException as problem:
        place.unlink(missing_ok=True)
        if isinstance(problem, OSError):
            raise _unwritable_error(file, str(problem.strerror)) from problem
        raise


def _unwritable_error(file: Path, why: str) -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        f"{file} was not written: {why}.",
        "Name another file with --output.",
    )
