"""Output of an export: never into another user's file, never over an existing one by accident."""

from __future__ import annotations

import os
from pathlib import Path

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.surroundings import surroundings


def write_export(text: str) -> None:
    """Write to stdout in UTF-8, byte for byte as in a file."""
    out = surroundings().stdout
    out.flush()
    out.buffer.write(text.encode())
    out.buffer.flush()


def save(file: Path, text: str, *, away_from: Path, force: bool) -> None:
    """Write a file that only this user can read, whole or not at all.

    Raises:
        RefusedError: the file exists, is in the ledger's folder, or cannot be written.
    """
    if file.resolve().parent == away_from.resolve():
        raise _unwritable_error(file, "it would be in the ledger's own folder")
    place = file.with_name(f".{file.name}.{os.getpid()}") if force else file
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _unwritable_error(file, "it exists; --force replaces it") from None
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
