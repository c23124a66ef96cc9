"""Group commit: writes that wait for the ledger at the same time share one commit.

A commit waits for the disk three times. Without this, the calls of one server would wait one after
the other, and a bulk run would be as slow as its disk.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from kartra_mcp.ledger.errors import unavailable_error
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.ledger.transaction import Transaction

T = TypeVar("T")

MAX_GROUP = 32


class _Request(Generic[T]):
    """One write that waits; `done` is set when its commit has ended."""

    def __init__(self, work: Callable[[Transaction], T], *, settles: bool) -> None:
        self.work, self.settles = work, settles
        self.results: list[T] = []
        self.error: BaseException | None = None
        self.done = threading.Event()

    def run(self, transaction: Transaction, faults: tuple[type[Exception], ...]) -> None:
        """Run the work inside a savepoint: its error undoes this request and no other.

        A fault of the store is raised: it ends the commit of the whole group.
        """
        try:
            with transaction.savepoint():
                if not self.settles:
                    transaction.require_clock()
                self.results.append(self.work(transaction))
        except faults:
            raise
        except Exception as problem:  # noqa: BLE001  it is raised in the thread that asked
            self.error = problem

    def take_result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.results[0]


class GroupCommit:
    """The writes of one process, committed together where they wait together."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._waiting: deque[_Request[Any]] = deque()
        self._turn = threading.Lock()

    def run(self, work: Callable[[Transaction], T], *, settles: bool = False) -> T:
        """Return the result of `work`, committed; what it wrote is on disk.

        Args:
            work: reads and appends; it runs in any thread, and its errors undo only itself.
            settles: as in `write_transaction`.

        Raises:
            RefusedError: `ledger_unavailable`; nothing was committed.
        """
        request = _Request(work, settles=settles)
        self._waiting.append(request)
        if self._turn.acquire(timeout=self._store.wait_seconds(settles=settles)):
            try:
                while not request.done.is_set():  # more may wait before it than one group holds
                    self._commit_group()
            finally:
                self._turn.release()
        elif self._withdraw(request):
            raise unavailable_error("other calls are still writing to it")
        else:
            request.done.wait()  # it is part of a commit that has begun, and that ends
        return request.take_result()

    def _withdraw(self, request: _Request[Any]) -> bool:
        """Return whether the request was taken back before a commit took it."""
        try:
            self._waiting.remove(request)
        except ValueError:
            return False
        return True

    def _commit_group(self) -> None:
        """Commit the oldest requests that wait; the thread that holds the turn does it for all."""
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]
        try:
            with self._store.write_transaction(
                settles=any(r.settles for r in group)
            ) as transaction:
                for request in group:
                    request.run(transaction, self._store.faults)
        except BaseException as problem:  # the commit: none of the requests is on disk
            for request in group:
                request.error = request.error or problem
            if not isinstance(problem, Exception):
                raise
        finally:
            for request in group:
                request.done.set()
