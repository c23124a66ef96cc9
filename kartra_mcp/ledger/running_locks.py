"""One file lock per running intent, held by the server and inherited by the program it started.

A lock ends with its last holder, however that process ends. A free lock therefore proves that
nothing of the intent is running; a recorded process id would not, as ids are reused.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kartra_mcp.core.file_locks import is_locked, try_lock
from kartra_mcp.ledger.errors import unavailable_error

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


@dataclass(slots=True)
class RunningIntent:
    """A running intent. Pass `lock_fd` to its program; close it in a `finally`."""

    intent_id: str
    lock_fd: int

    def close(self) -> None:
        """Release this process's hold; the lock lasts as long as the program has the descriptor."""
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1


@dataclass(frozen=True, slots=True)
class IntentLocks:
    """The folder of lock files. An intent is settled only while the write lock is held."""

    folder: Path

    def hold(self, intent_id: str) -> RunningIntent:
        """Create and lock the file of a new intent.

        Raises:
            RefusedError: `ledger_unavailable`; the file system has no locks.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        path = self._lock_path(intent_id)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if not try_lock(file, shared=False):
            os.close(file)
            raise unavailable_error("file locks do not work in its folder")
        return RunningIntent(intent_id, file)

    def is_held(self, intent_id: str) -> bool:
        """Return True while the owner of this intent or its program lives."""
        try:
            file = os.open(self._lock_path(intent_id), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return is_locked(file)
        finally:
            os.close(file)

    def remove(self, intent_id: str) -> None:
        with suppress(OSError):
            self._lock_path(intent_id).unlink(missing_ok=True)

    def is_any_held(self) -> bool:
        return any(self.is_held(path.stem) for path in self.folder.glob("*.lock"))

    def _lock_path(self, intent_id: str) -> Path:
        assert _NAME.fullmatch(intent_id), intent_id  # noqa: S101  made by `make_intent_id`
        return self.folder / f"{intent_id}.lock"
