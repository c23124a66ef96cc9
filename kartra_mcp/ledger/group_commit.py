"""Group commit: writes that wait for the ledger at the same time share one commit.

A commit waits for the disk three times. Without this, the calls of one server would wait one after
the other, and a bulk run would be as slow as its disk.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from kartra_mcp.ledger.errors import unavailable_error
from kartra_mcp.ledger.store import LedgerStore, ListReads
from kartra_mcp.ledger.transaction import Transaction

T = TypeVar("T")

MAX_GROUP = 32


class PendingWrite(Generic[T]):
    """One write that waits for its commit; `done` is set when that has ended.

    Args:
        work: reads and appends; it runs in any thread, and its errors undo only itself.
        conclude: makes the result after the commit, in its thread; given the error, it raises.
        settles: as in `write_transaction`.
        reads: as in `write_transaction`.
    """

    def __init__(
        self,
        work: Callable[[Transaction], None],
        conclude: Callable[[BaseException | None], T],
        *,
        settles: bool = False,
        reads: ListReads | None = None,
    ) -> None:
        self.work, self.settles, self.reads = work, settles, reads
        self.error: BaseException | None = None
        self.done = threading.Event()
        self._conclude = conclude
        self._results: list[T] = []

    def run(self, transaction: Transaction, faults: tuple[type[Exception], ...]) -> None:
        """Run the work inside a savepoint: its error undoes this write and no other.

        A fault of the store is raised: it ends the commit of the whole group.
        """
        try:
            with transaction.savepoint():
                self.run_alone(transaction)
        except faults:
            raise
        except Exception as problem:  # noqa: BLE001  it is raised where the result is taken
            self.error = problem

    def conclude(self) -> None:
        """Make the result, once; errors are raised where it is taken."""
        try:
            self._results.append(self._conclude(self.error))
        except Exception as problem:  # noqa: BLE001  see above
            self.error = problem

    def run_alone(self, transaction: Transaction) -> None:
        """Run the work of a group of one: its error ends the transaction."""
        if not self.settles:
            transaction.require_clock()
        self.work(transaction)

    def take_result(self) -> T:
        """Return the result of a write that has ended.

        Raises:
            RefusedError: `ledger_unavailable`, if nothing was committed; or the work's own.
        """
        if self.error is not None:
            raise self.error
        return self._results[0]


class GroupCommit:
    """The writes of one process, committed together where they wait together."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._waiting: deque[PendingWrite[Any]] = deque()
        self._turn = threading.Lock()

    def run(self, writes: Sequence[PendingWrite[Any]]) -> None:
        """Commit writes; each has its error or none, and what it wrote is on disk."""
        self._waiting.extend(writes)
        settles = any(write.settles for write in writes)
        if self._turn.acquire(timeout=self._store.wait_seconds(settles=settles)):
            try:
                # More may wait before them than one group holds.
                while not all(write.done.is_set() for write in writes):
                    self._commit_group()
            finally:
                self._turn.release()
            return
        for write in writes:
            if self._withdraw(write):
                write.error = unavailable_error("other calls are still writing to it")
            else:
                write.done.wait()  # it is part of a commit that has begun, and that ends

    def _withdraw(self, write: PendingWrite[Any]) -> bool:
        """Return whether the write was taken back before a commit took it."""
        try:
            self._waiting.remove(write)
        except ValueError:
            return False
        return True

    def _take_group(self) -> list[PendingWrite[Any]]:
        """Take the oldest writes that wait; others may be withdrawn at the same time."""
        group: list[PendingWrite[Any]] = []
        with suppress(IndexError):
            while len(group) < MAX_GROUP:
                group.append(self._waiting.popleft())
        return group

    def _commit_group(self) -> None:
        """Commit the oldest writes that wait; the thread that holds the turn does it for all."""
        group = self._take_group()
        try:
            settles = any(write.settles for write in group)
            reads = group[0].reads if len(group) == 1 else None  # of others, changes come before
            with self._store.write_transaction(settles=settles, reads=reads) as transaction:
                if len(group) == 1:
                    group[0].run_alone(transaction)
                for write in group if len(group) > 1 else ():
                    write.run(transaction, self._store.faults)
        except BaseException as problem:  # the commit: none of the writes is on disk
            for write in group:
                write.error = write.error or problem
            if not isinstance(problem, Exception):
                raise
        finally:
            for write in group:
                write.done.set()
