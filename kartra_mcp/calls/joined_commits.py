"""Commits of the calls of one event loop: those that wait together go to a thread together.

A thread of its own for each write would cost more processor time than the write, and threads that
wait for one lock take the interpreter from the event loop again and again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.errors import unavailable_error
from kartra_mcp.ledger.group_commit import MAX_GROUP, PendingWrite
from kartra_mcp.ledger.ledger import Ledger

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Waiting:
    """A write; `turn` is set when it was committed, or when its call commits the next group.

    `is_patient`: it waits for a group that another write begins.
    """

    write: PendingWrite[Any]
    is_patient: bool
    turn: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class JoinedCommits:
    """The writes of the calls of one server; the call that waits longest commits for the others."""

    ledger: Ledger
    _waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    _is_busy: bool = False

    async def run(self, write: PendingWrite[T], patience: float = 0.0) -> T:
        """Commit a write, to its end even if the caller is cancelled; return its result.

        Args:
            write: by `Ledger.beginning` or `Ledger.finishing`.
            patience: seconds to wait for another write, to share its commit.

        Raises:
            RefusedError: `ledger_unavailable`, if nothing was committed; or the write's own.
        """
        with anyio.CancelScope(shield=True):
            await self._commit(_Waiting(write, bool(patience)), patience)
        return write.take_result()

    async def _commit(self, mine: _Waiting, patience: float) -> None:
        self._waiting.append(mine)
        if patience:
            with anyio.move_on_after(patience):
                await mine.turn.wait()
            mine.is_patient = False
        if self._is_busy:
            with anyio.move_on_after(self.ledger.wait_seconds(settles=mine.write.settles)):
                await mine.turn.wait()
            if not mine.turn.is_set() and mine in self._waiting:
                self._waiting.remove(mine)
                mine.write.error = unavailable_error("other calls are still writing to it")
                return
            await mine.turn.wait()
        if mine in self._waiting:
            self._is_busy = True
            await self._commit_group()

    async def _commit_group(self) -> None:
        """Commit the writes that wait; then let the oldest of those that came since go on."""
        group: list[_Waiting] = []
        try:
            await anyio.lowlevel.checkpoint()  # calls that are ready in this turn come along
            group = self._waiting[:MAX_GROUP]
            del self._waiting[:MAX_GROUP]
            await run_in_thread(self.ledger.commit, [one.write for one in group])
        finally:
            for one in group:
                one.turn.set()
            following = next((one for one in self._waiting if not one.is_patient), None)
            self._is_busy = following is not None
            if following is not None:
                following.turn.set()
