"""One transaction on the ledger: its time, its reads, and the entries that it adds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kartra_mcp.ledger import projection
from kartra_mcp.ledger.clock_history import ClockHistory
from kartra_mcp.ledger.database import Database, Query
from kartra_mcp.ledger.errors import ClockBehindError
from kartra_mcp.ledger.hash_chain import Head, LedgerEntry, make_entry

_SET_META = (
    "INSERT INTO meta (key, value) VALUES (?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
MAX_CLOCK_LAG = 60.0
"""Seconds that the clock may be behind the newest entry; writes are refused beyond."""


@dataclass(frozen=True, slots=True)
class Times:
    """Times at the begin of a transaction, in seconds.

    `wall` is the clock of the ledger, `newest` the time of the newest entry (`wall` without one),
    `steady` a clock of this process that cannot be set.
    """

    wall: float
    newest: float
    steady: float


@dataclass(slots=True)
class Transaction:
    """One read or one commit.

    Attributes:
        now: the wall clock, but never earlier than the newest entry.
        steady: the steady clock.
        earliest: `now` without recent forward steps of the wall clock. Use it for a time that must
            have passed: the end of a block, of a lock, of the day of a cap.
        behind: seconds that the wall clock is behind the newest entry.
        added: number of entries that were appended.
        is_settled: the intents whose owner and program have ended were looked for.
        prefetch: runs reads that follow in one trip to a server; None where none is needed.
    """

    db: Database
    now: float
    steady: float
    earliest: float
    head: Head
    history: ClockHistory
    behind: float = 0.0
    added: int = 0
    is_settled: bool = False
    prefetch: Callable[[Sequence[Query]], None] | None = None

    def append(self, kind: str, body: Mapping[str, Any]) -> LedgerEntry:
        """Add an entry to the chain and bring the table of intents up to it."""
        line = make_entry(self.head, self.now, kind, body)
        self.db.execute(
            "INSERT INTO lines (n, at, kind, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (line.n, line.at, line.kind, line.body, line.prev, line.hash),
        )
        projection.apply(self.db, line)
        self.head = Head(line.n, line.hash)
        self.added += 1
        return line

    def is_within(self, at: float, seconds: float) -> bool:
        """Return True if both clocks agree that less than `seconds` have passed since `at`."""
        elapsed = self.history.elapsed_since(at, self.steady)
        # A time in the future means that the clock went back: its age is unknown.
        return 0 <= self.now - at < seconds and (elapsed is None or elapsed < seconds)

    def age(self, at: float) -> float:
        """Return the seconds since an entry, by the clock by which fewer have passed."""
        elapsed = self.history.elapsed_since(at, self.steady)
        if elapsed is not None:
            return min(self.now - at, elapsed)
        # Another process wrote it: after a step if it is later than the time without steps.
        return (self.earliest if self.earliest >= at else self.now) - at

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """Undo what the block wrote if it raises, and nothing else of the transaction."""
        before = self.head, self.added, self.is_settled
        self.db.execute("SAVEPOINT part")
        try:
            yield
            self.db.execute("RELEASE part")  # may report a change that was not sent before
        except BaseException:
            self.db.execute("ROLLBACK TO part")
            self.db.execute("RELEASE part")
            self.head, self.added, self.is_settled = before
            raise

    def require_clock(self) -> None:
        """Raise `ledger_unavailable` if the wall clock is behind the newest entry."""
        if self.behind > MAX_CLOCK_LAG:
            raise ClockBehindError(self.behind, self.now)

    def fetch_one(self, sql: str, *values: Any) -> Any:
        return self.db.execute(sql, values).fetchone()

    def fetch_all(self, sql: str, *values: Any) -> list[Any]:
        return self.db.execute(sql, values).fetchall()

    def read(self, query: Query) -> list[Any]:
        return self.db.execute(*query).fetchall()

    def run(self, sql: str, *values: Any) -> None:
        self.db.execute(sql, values)

    def meta(self, key: str) -> str | None:
        row = self.fetch_one("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else row[0]

    def set_meta(self, key: str, value: str) -> None:
        self.run(_SET_META, key, value)


def make_transaction(db: Database, head: Head, times: Times, history: ClockHistory) -> Transaction:
    """Return the transaction that was begun on `db`, with the time that its rules use."""
    now = max(times.wall, times.newest)
    return Transaction(
        db,
        now,
        times.steady,
        history.earliest(now, times.steady),
        head,
        history,
        behind=max(times.newest - times.wall, 0.0),
    )
