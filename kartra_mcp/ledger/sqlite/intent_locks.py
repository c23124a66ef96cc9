"""One file lock per running intent, held by the server and inherited by the program it started.

A lock ends with its last holder, however that process ends. A free lock therefore proves that
nothing of the intent is running; a recorded process id would not, as ids are reused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kartra_mcp.core.file_locks import is_locked, try_lock
from kartra_mcp.ledger.errors import unavailable_error
from kartra_mcp.ledger.projection import list_running
from kartra_mcp.ledger.records import Intent
from kartra_mcp.ledger.running import RunningIntent, grant_right
from kartra_mcp.ledger.transaction import Transaction

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


def is_intent_id(text: str) -> bool:
    """Return whether a text can be the id of an intent, and so the name of its lock file."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class IntentLocks:
    """The folder of lock files. An intent is settled only while the write lock is held."""

    folder: Path

    def hold(self, transaction: Transaction, intent: Intent) -> tuple[Intent, RunningIntent]:
        """Lock the file of a new intent. The lock ends with its owner; so does a program.

        What is sent over HTTP may arrive after that, so that its line has the end of its right.
        """
        granted, running = grant_right(intent, transaction.now), self.lock(intent.id)
        running.attempt = granted.attempt
        running.send_until = intent.right.deadline if intent.right else None
        return granted, running

    def lock(self, intent_id: str) -> RunningIntent:
        """Create and lock the file of a new intent.

        Raises:
            RefusedError: `ledger_unavailable`; the file system has no locks.
        """
        path, how = self._lock_path(intent_id), os.O_RDWR | os.O_CREAT | os.O_EXCL
        try:
            file = os.open(path, how, 0o600)
        except FileNotFoundError:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            file = os.open(path, how, 0o600)
        if not try_lock(file, shared=False):
            os.close(file)
            raise unavailable_error("file locks do not work in its folder")
        return RunningIntent(intent_id, file)

    def is_held(self, transaction: Transaction, intent_id: str) -> bool:
        """Return True while the owner of this intent or its program lives."""
        del transaction  # the kernel knows it, not the ledger
        return self.is_locked(intent_id)

    def list_ended(self, transaction: Transaction, own: Container[str]) -> list[str]:
        """List the running intents whose lock is free; of its own it needs no look."""
        running = list_running(transaction.db)
        return [x for x in running if x not in own and not self.is_locked(x)]

    def is_locked(self, intent_id: str) -> bool:
        try:
            file = os.open(self._lock_path(intent_id), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return is_locked(file)
        finally:
            os.close(file)

    def remove(self, intent_id: str, *, unless_held: bool = False) -> None:
        """Remove the file of an intent that has ended; with `unless_held` only if it is free."""
        if unless_held and self.is_locked(intent_id):
            return
        with suppress(OSError):
            os.unlink(self._lock_path(intent_id))  # noqa: PTH108  for each write

    def is_any_held(self) -> bool:
        return any(self.is_locked(path.stem) for path in self.folder.glob("*.lock"))

    def _lock_path(self, intent_id: str) -> str:
        assert is_intent_id(intent_id), intent_id  # noqa: S101  made by `make_intent_id`
        return f"{self.folder}{os.sep}{intent_id}.lock"  # no `Path`, which is slower than the lock
