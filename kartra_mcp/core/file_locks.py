"""Kernel file locks between processes: exclusive, shared, and a test for either.

A lock belongs to an open file, not to a process: a program that inherits the descriptor holds the
lock for as long as it lives, even if the server dies. Errors are not worded for the user here: a
wait that took too long is a `TimeoutError`, everything else the system's `OSError`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

POLL_INTERVAL = 0.003
"""Seconds between two attempts to take a lock."""

if sys.platform == "win32":
    import msvcrt

    def try_lock(file: int, *, shared: bool) -> bool:
        # Windows has no shared lock of this kind, and refuses to rename an open file anyway.
        if shared:
            return True
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

    def is_locked(file: int) -> bool:
        return not try_lock(file, shared=False)
else:
    import fcntl

    def try_lock(file: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)

    def is_locked(file: int) -> bool:
        # Shared: two concurrent tests must not take each other for an owner.
        return not try_lock(file, shared=True)


@contextmanager
def exclusive_lock(path: Path, wait: float) -> Generator[None]:
    """Hold an exclusive lock among all processes of this user.

    Raises:
        TimeoutError: another process held it for `wait` seconds.
        OSError: the file cannot be opened.
    """
    file = _open(path)
    try:
        until = time.monotonic() + wait
        while not try_lock(file, shared=False):
            if time.monotonic() >= until:
                raise TimeoutError
            time.sleep(POLL_INTERVAL)
        yield
    finally:
        os.close(file)


def try_shared_lock(path: Path) -> int | None:
    """Return a descriptor that holds a shared lock; None while another process holds it alone."""
    return _open_locked(path, shared=True)


def try_exclusive_lock(path: Path) -> int | None:
    """Return a descriptor that holds an exclusive lock; None while another process holds any."""
    return _open_locked(path, shared=False)


def _open_locked(path: Path, *, shared: bool) -> int | None:
    file = _open(path)
    if try_lock(file, shared=shared):
        return file
    os.close(file)
    return None


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
