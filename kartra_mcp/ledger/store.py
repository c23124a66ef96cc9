"""The store of one ledger: transactions on it, and what the rules need to know of its kind.

`ledger.sqlite.store.SQLiteStore` keeps one user's ledger in a file; `ledger.postgres.store.
PostgresStore` keeps that of a team. The rules run over either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from kartra_mcp.core.deadline import bound_wait
from kartra_mcp.ledger.database import Query
from kartra_mcp.ledger.records import ReplacedLedger, VerificationReport
from kartra_mcp.ledger.running import IntentOwners
from kartra_mcp.ledger.transaction import Transaction

WAIT = 3.5
"""Seconds to wait for other writers, and no longer than the call has left."""

SETTLING_WAIT = 1.0
"""Seconds to wait for recording an outcome after the deadline of its call."""


ListReads = Callable[[float], Sequence[Query]]
"""Lists reads that a transaction will need which begins at about this time."""


class LedgerStore(Protocol):
    """A ledger on disk or on a server, shared by processes. Safe for concurrent threads."""

    @property
    def owners(self) -> IntentOwners:
        """Return the owners of the running intents."""
        ...

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """Return the errors whose cause may be the store, and not the call that met them."""
        ...

    def identify(self, connection: str) -> str:
        """Return the account that the identity of a write belongs to.

        A team names its accounts, so that a connection that is made anew is still the same account.
        For one user it is the connection's id: nothing else tells two accounts apart.
        """
        ...

    def require_certain(self) -> None:
        """Raise `ledger_unavailable` while nothing may be written here."""
        ...

    def account_fault(self) -> str:
        """Return why an intact ledger is not that of this kind of account, or ""."""
        ...

    def wait_seconds(self, *, settles: bool) -> float:
        """Return how long a write may wait for others: within the time of its call."""
        ...

    def write_transaction(
        self, *, settles: bool = False, looks: bool = False, reads: ListReads | None = None
    ) -> AbstractContextManager[Transaction]:
        """Run one exclusive, atomic commit.

        Args:
            settles: it records the outcome of a running write, which a clock that was set back
                meanwhile must not prevent.
            looks: it records what a look or a user found, which a database that was switched to
                another server must not prevent: an unknown write can stop the lost ones from being
                recorded, by which writes open again.
            reads: reads that it will need, which a store to which each trip costs time runs as it
                begins.

        Raises:
            RefusedError: `ledger_unavailable`; nothing was committed, or, as the error states,
                it is not certain. In both cases nothing may be sent.
        """
        ...

    def read_transaction(self) -> AbstractContextManager[Transaction]:
        """Run reads on one consistent snapshot."""
        ...

    def lead_key(self) -> bytes:
        """Return the key of the hashes of leads; it is never in the ledger itself."""
        ...

    def verify(self) -> VerificationReport:
        """Verify every entry, the head, and every table that derives from the entries."""
        ...

    def replace_damaged(self) -> ReplacedLedger:
        """Replace a damaged ledger by an empty one that names it.

        Raises:
            RefusedError: it is sound, is in use, or is of a kind that is never replaced.
        """
        ...

    def close(self) -> None: ...


def bound_wait_for_others(wait: float, *, settles: bool) -> float:
    """Return how long a write may wait: within the time of its call, but long enough to settle."""
    return max(bound_wait(wait), SETTLING_WAIT if settles else 0.0)
