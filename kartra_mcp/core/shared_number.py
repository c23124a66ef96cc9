"""A number in a file that all processes of one state folder read and change."""

from __future__ import annotations

import math
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from kartra_mcp.core.file_locks import POLL_INTERVAL, try_lock, unlock
from kartra_mcp.core.private_folder import make_private_folder

MAX_WAIT_SECONDS = 0.03
"""Longest wait for the lock: the caller is the event loop."""
_NUMBER = struct.Struct("<d")


class SharedNumber:
    """One number, changed under a lock; opened on first use. It is lost with the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def change(self, new: Callable[[float], float]) -> float | None:
        """Replace the number by `new` of it, and return that; None if that is not possible now.

        A process that was stopped while it held the lock must not stop the others.
        """
        try:
            file = self._open()
            if not _lock(file):
                return None
            try:
                value = new(_read(file))
                os.lseek(file, 0, os.SEEK_SET)
                os.write(file, _NUMBER.pack(value))
            finally:
                unlock(file)
        except OSError:
            return None
        return value

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        if self._file is None:
            make_private_folder(self._path.parent)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._file


def _lock(file: int) -> bool:
    until = time.monotonic() + MAX_WAIT_SECONDS
    while not try_lock(file, shared=False):
        if time.monotonic() >= until:
            return False
        time.sleep(POLL_INTERVAL)
    return True


def _read(file: int) -> float:
    os.lseek(file, 0, os.SEEK_SET)
    raw = os.read(file, _NUMBER.size)
    value = _NUMBER.unpack(raw)[0] if len(raw) == _NUMBER.size else 0.0
    return value if math.isfinite(value) else 0.0
