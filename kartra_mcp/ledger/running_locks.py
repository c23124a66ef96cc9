"""Kernel file locks: the turn to write, who has the ledger open, and one lock per running intent.

A lock belongs to an open file, not to a process: the program that inherits the descriptor of a
running intent holds the lock for as long as it lives, whatever becomes of the server.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kartra_mcp.ledger.errors import unavailable

POLL = 0.003
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int, *, shared: bool) -> bool:
        # Windows knows no shared lock of this kind, and lets nobody rename an open file anyway.
        if shared:
            return True
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _is_locked(file: int) -> bool:
        return not _try_lock(file, shared=False)
else:
    import fcntl

    def _try_lock(file: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _is_locked(file: int) -> bool:
        # Shared: two that only look never take each other for an owner.
        return not _try_lock(file, shared=True)


@contextmanager
def turn(path: Path, wait: float) -> Generator[None]:
    """Alone among all processes of this user; refused after `wait` seconds."""
    file = _opened(path)
    try:
        until = time.monotonic() + wait
        while not _try_lock(file, shared=False):
            if time.monotonic() >= until:
                raise unavailable("another kartra-mcp has been writing to it for too long")
            time.sleep(POLL)
        yield
    finally:
        os.close(file)


def join(path: Path) -> int | None:
    """A shared hold on this file until the descriptor is closed; None while someone is alone."""
    return _held_open(path, shared=True)


def alone(path: Path) -> int | None:
    """A hold that nobody shares; None while anyone else has one."""
    return _held_open(path, shared=False)


@dataclass(slots=True)
class Running:
    """An intent that runs. Hand `lock_fd` to its program; close it in a `finally`."""

    intent_id: str
    lock_fd: int

    def close(self) -> None:
        """Let go; the lock stays held for as long as the program has the descriptor."""
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1


@dataclass(frozen=True, slots=True)
class RunningLocks:
    """The folder of lock files. Settled only while the ledger's turn is held."""

    folder: Path

    def hold(self, intent_id: str) -> Running:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        path = self._path(intent_id)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if not _try_lock(file, shared=False):
            os.close(file)
            raise unavailable("the system gives no file locks in its folder")
        return Running(intent_id, file)

    def held(self, intent_id: str) -> bool:
        """Whether the owner of this intent or its program still lives."""
        try:
            file = os.open(self._path(intent_id), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return _is_locked(file)
        finally:
            os.close(file)

    def remove(self, intent_id: str) -> None:
        with suppress(OSError):
            self._path(intent_id).unlink(missing_ok=True)

    def any_held(self) -> bool:
        return any(self.held(path.stem) for path in self.folder.glob("*.lock"))

    def _path(self, intent_id: str) -> Path:
        assert _NAME.fullmatch(intent_id), intent_id  # noqa: S101  made by `new_intent_id`
        return self.folder / f"{intent_id}.lock"


def _held_open(path: Path, *, shared: bool) -> int | None:
    file = _opened(path)
    if _try_lock(file, shared=shared):
        return file
    os.close(file)
    return None


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
