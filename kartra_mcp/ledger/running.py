"""An intent that runs: the right of one process to execute it, and how others learn of its end."""

from __future__ import annotations

import os
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Protocol

from kartra_mcp.ledger.records import Intent
from kartra_mcp.ledger.transaction import Transaction


@dataclass(slots=True)
class RunningIntent:
    """A running intent; close it in a `finally`.

    Attributes:
        intent_id: id of the intent.
        lock_fd: descriptor of the file lock to pass to its program; -1 where no lock exists.
        attempt: id of the one attempt to send it, "" where a lock proves that it runs.
        send_until: end of the right to send, on the steady clock of this process; None for none.
        line: number of its entry, and `hash` its hash.
        begun_at: time of its entry, by the ledger's clock.
    """

    intent_id: str
    lock_fd: int = -1
    attempt: str = ""
    send_until: float | None = None
    line: int = 0
    hash: str = ""
    begun_at: float = 0.0

    def close(self) -> None:
        """Release this process's hold; the lock lasts as long as the program has the descriptor."""
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1


def grant_right(intent: Intent, at: float) -> Intent:
    """Return an intent that begins at `at`, with the end of the right that its client wants."""
    right = intent.right
    if right is None:
        return intent
    ends = round(at + right.seconds, 3)
    return replace(intent, attempt=right.attempt, fence=right.fence, send_until=ends)


class IntentOwners(Protocol):
    """The one owner of each running intent. Its right is never taken over, extended or shared."""

    def hold(self, transaction: Transaction, intent: Intent) -> tuple[Intent, RunningIntent]:
        """Make this process the owner of a new intent; return it as it is to be recorded.

        Raises:
            RefusedError: `ledger_unavailable`.
        """
        ...

    def is_held(self, transaction: Transaction, intent_id: str) -> bool:
        """Return True while the owner of this intent, or its program, may still send it."""
        ...

    def list_ended(self, transaction: Transaction, own: Container[str]) -> list[str]:
        """List the running intents whose owner and program have ended, oldest first.

        Args:
            transaction: the commit that records their end.
            own: ids of those whose lock this process holds.
        """
        ...

    def remove(self, intent_id: str, *, unless_held: bool = False) -> None:
        """Remove the store's mark of an owner that has ended; with `unless_held` only if it has."""
        ...
