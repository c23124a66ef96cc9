"""The store of a team's ledger: one schema of a PostgreSQL database for each account."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import psycopg

from kartra_mcp.core.deadline import bound_wait
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.timings import Clock, read_steady_clock
from kartra_mcp.ledger.clock_history import ClockHistory
from kartra_mcp.ledger.database import Query
from kartra_mcp.ledger.errors import LedgerDamagedError, LedgerRefusedError
from kartra_mcp.ledger.hash_chain import Head
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres import migrations
from kartra_mcp.ledger.postgres.connections import (
    COMMIT_SECONDS,
    Connections,
    commit,
)
from kartra_mcp.ledger.postgres.database import PostgresDatabase
from kartra_mcp.ledger.postgres.errors import (
    RolledBackError,
    TeamLedgerDamagedError,
    from_postgres_error,
)
from kartra_mcp.ledger.postgres.history import (
    SWEPT_KEY,
    HighWater,
    Timeline,
    require_same_history,
)
from kartra_mcp.ledger.postgres.integrity import verify_database
from kartra_mcp.ledger.postgres.rows import Row
from kartra_mcp.ledger.postgres.send_rights import SendRights
from kartra_mcp.ledger.records import ReplacedLedger, VerificationReport
from kartra_mcp.ledger.store import WAIT, ListReads, bound_wait_for_others
from kartra_mcp.ledger.transaction import Times, Transaction, make_transaction

WRITE_SECONDS, READ_SECONDS = 5.0, 30.0
"""Seconds for the statements of a transaction. A write keeps every other one waiting."""

VERIFY_SECONDS = 600.0
"""Seconds that a verification of every entry may take."""

_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_STATE = (
    "SELECT n, hash, line, line_hash, at, hash_then, clock, version, oldest_program, backend,"
    " timeline, swept, durable, oldest_running FROM {schema}.begin_transaction(?, ?, ?, ?, ?)"
)
_SET_HEAD = "UPDATE head SET n = ?, hash = ?"


@dataclass(frozen=True, slots=True)
class TeamClocks:
    """Clocks of a team's ledger.

    Attributes:
        wall: None for the clock of the database, which every replica shares.
        steady: seconds of a clock of this process that cannot be set.
    """

    wall: Clock | None = None
    steady: Clock = read_steady_clock


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Times and checks of a store.

    Attributes:
        rights: the seconds in which an intent may be sent, and may be answered.
        clocks: the clock of the database, unless a test needs another.
        wait: seconds to wait for other replicas' commits.
        durable: refuse a database that may lose a commit when its machine fails.
    """

    rights: SendRights = field(default_factory=SendRights)
    clocks: TeamClocks = field(default_factory=TeamClocks)
    wait: float = WAIT
    durable: bool = True


@dataclass(frozen=True, slots=True)
class _State:
    """State of the ledger at the begin of a transaction, as the database shows it."""

    head: Head
    line: Head
    newest_at: float | None
    hash_then: str | None
    clock: float
    steady: float
    version: int | None
    oldest_program: int | None
    backend: int
    timeline: Timeline
    is_durable: bool
    oldest_running: float | None

    @classmethod
    def read(cls, row: Row, steady: float) -> _State:
        n, hash_, line, line_hash, at, hash_then, clock, version, oldest, pid, *others = row
        timeline, swept, durable, oldest_running = others
        return cls(
            head=Head(n, hash_),
            line=Head() if line is None else Head(line, line_hash),
            newest_at=at,
            hash_then=hash_then,
            clock=clock,
            steady=steady,
            version=version,
            oldest_program=oldest,
            backend=pid,
            timeline=Timeline(timeline, swept or ""),
            is_durable=durable,
            oldest_running=oldest_running,
        )


class PostgresStore:
    """The ledger of one account, shared by every replica.

    Args:
        connections: the pool of this process.
        account: name of the account; its tables are in the schema `ledger_<account>`.
        lead_key: key of the hashes of leads, the same in each replica.
        options: times and checks that differ from the usual ones.
    """

    faults: tuple[type[Exception], ...] = (psycopg.Error, OSError, LedgerDamagedError)

    def __init__(
        self,
        connections: Connections,
        account: str,
        lead_key: bytes,
        *,
        options: StoreOptions | None = None,
    ) -> None:
        options = options or StoreOptions()
        self.account = account
        self.owners = options.rights
        self._connections = connections
        self._schema = migrations.quote_schema(account)
        self._state = _STATE.format(schema=self._schema)
        self._lead_key = lead_key
        self._clocks = options.clocks
        self._wait = options.wait
        self._durable = options.durable
        self._history = ClockHistory()
        self._high_water = HighWater()

    def identify(self, connection: str) -> str:
        del connection  # the ledger is that of one account
        return self.account

    def require_certain(self) -> None:
        """Do nothing: an account of a team names its database."""

    def account_fault(self) -> str:
        return ""

    def lead_key(self) -> bytes:
        return self._lead_key

    def wait_seconds(self, *, settles: bool) -> float:
        return bound_wait_for_others(self._wait, settles=settles)

    @contextmanager
    def write_transaction(
        self, *, settles: bool = False, looks: bool = False, reads: ListReads | None = None
    ) -> Generator[Transaction]:
        """Run one exclusive, atomic commit: the row of the head is locked first.

        Args:
            settles: it records what happened, which neither a clock that went back nor a new
                timeline of the database must prevent.
            looks: it records what a look or a user found, which a new timeline must not prevent.
            reads: reads of the trip to the server that begins the transaction.

        Raises:
            CommitUncertainError: it may be recorded; nothing may be sent on it.
            RefusedError: `ledger_unavailable`; nothing was committed.
        """
        wait = self.wait_seconds(settles=settles)
        first = () if reads is None else reads(self._estimate_clock())
        begun = self._begin(wait, WRITE_SECONDS, writes=True, reads=first)
        with begun as (database, state):
            transaction = self._make_transaction(database, state)
            if not settles:
                transaction.require_clock()
            if not (settles or looks):
                state.timeline.require_swept()
            yield transaction
            if transaction.added:
                transaction.run(_SET_HEAD, transaction.head.count, transaction.head.hash)
            seconds = max(bound_wait(COMMIT_SECONDS), 1.0)
            commit(database.connection, database.take_changes(), seconds)
            self._history.note(transaction.now, transaction.steady)
            self._high_water.note(transaction.head)

    @contextmanager
    def read_transaction(self) -> Generator[Transaction]:
        """Run reads on one consistent snapshot."""
        with self._begin(bound_wait(self._wait), READ_SECONDS) as (database, state):
            yield self._make_transaction(database, state)

    def read_timeline(self) -> Timeline:
        """Return the timeline of the database, and the one of the last sweep of the run logs."""
        with self._begin(bound_wait(self._wait), READ_SECONDS) as (_, state):
            return state.timeline

    def record_sweep(self, timeline: Timeline, who: str) -> None:
        """Record that the run logs were swept for writes that the ledger lacks; writes open.

        Args:
            timeline: as `read_timeline` returned it before the sweep began.
            who: the persons who decided it.

        Raises:
            LedgerRefusedError: the timeline changed since then; the sweep counts for nothing.
        """
        with self.write_transaction(settles=True) as transaction:
            row = transaction.fetch_one("SELECT current_timeline() AS timeline")
            replace(timeline, swept=row["timeline"]).require_swept()
            transaction.set_meta(SWEPT_KEY, timeline.current)
            transaction.append("sweep", {"timeline": timeline.current, "who": who})

    def verify(self) -> VerificationReport:
        """Verify every entry, the head, the rights of the tables, and what derives from them."""
        try:
            with self._begin(self._wait, VERIFY_SECONDS) as (database, state):
                transaction = self._make_transaction(database, state)
                report = verify_database(transaction.db)
                refused = _find_refusal(transaction, state.timeline)
        except TeamLedgerDamagedError as problem:
            return VerificationReport(0, False, None, problem.why)
        except RolledBackError as problem:
            return VerificationReport(0, False, None, refused=problem.why)
        return replace(report, ok=report.ok and not refused, refused=refused)

    def replace_damaged(self) -> ReplacedLedger:
        """Refuse: a program alone never begins a new ledger for a team.

        Raises:
            RefusedError: always.
        """
        raise RefusedError(
            "not_allowed",
            "The ledger of a team is never replaced. Nothing was changed.",
            "An admin should run `kartra-mcp team verify`, and restore the database.",
        )

    def close(self) -> None:
        """Do nothing: the pool belongs to every ledger of the process."""

    @contextmanager
    def _begin(
        self, wait: float, work: float, *, writes: bool = False, reads: Sequence[Query] = ()
    ) -> Generator[tuple[PostgresDatabase, _State]]:
        """Begin a transaction and read the state of the ledger, in one trip to the server.

        Args:
            wait: seconds to wait for a connection and for other writers.
            work: seconds for the statements of the transaction.
            writes: lock the head, and allow changes.
            reads: run after them in the same trip.
        """
        seen, steady = self._high_water.seen, self._clocks.steady()
        path = f"{self._schema}, pg_temp"
        values = (path, writes, _to_ms(wait), _to_ms(work), seen.count)
        batch = [(_WRITE if writes else _READ, ()), (self._state, values), *reads]
        try:
            with self._connections.begin(batch, wait, work) as (connection, found):
                state = _State.read(found[0][0], steady)
                connection.note_backend(state.backend, path)
                self._require_usable(state)
                require_same_history(seen, state.head, state.hash_then)
                self._high_water.note(state.head)
                yield PostgresDatabase(connection, zip(reads, found[1:], strict=True)), state
        except psycopg.Error as problem:
            raise from_postgres_error(problem) from problem
        except TeamLedgerDamagedError:
            raise
        except LedgerDamagedError as problem:
            raise TeamLedgerDamagedError(problem.why) from problem

    def _estimate_clock(self) -> float:
        """Return the ledger's clock by what this process saw of it."""
        estimate = self._history.estimate(self._clocks.steady())
        return time.time() if estimate is None else estimate

    def _require_usable(self, state: _State) -> None:
        migrations.require_version(state.version, state.oldest_program)
        if self._durable and not state.is_durable:
            raise LedgerRefusedError(
                "its database runs with fsync or full_page_writes off, and may lose a commit",
                "An admin should switch both on, then repeat the call.",
            )
        if state.line != state.head:
            raise TeamLedgerDamagedError(
                f"it ends at line {state.line.count}, its head at line {state.head.count}"
            )

    def _make_transaction(self, database: PostgresDatabase, state: _State) -> Transaction:
        wall = state.clock if self._clocks.wall is None else self._clocks.wall()
        wall = round(wall, 3)
        newest = wall if state.newest_at is None else state.newest_at
        times = Times(wall, newest, state.steady)
        transaction = make_transaction(database, state.head, times, self._history)
        transaction.prefetch = database.prefetch
        transaction.is_settled = not self._may_have_ended(transaction, state.oldest_running)
        return transaction

    def _may_have_ended(self, transaction: Transaction, oldest: float | None) -> bool:
        """Return whether the end of the oldest running intent may have come."""
        life = self.owners.send_seconds + self.owners.answer_seconds
        return oldest is not None and transaction.earliest >= oldest + life


def _to_ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)


def _find_refusal(transaction: Transaction, timeline: Timeline) -> str:
    """Return why an intact ledger refuses writes now, or ""."""
    try:
        transaction.require_clock()
        timeline.require_swept()
    except LedgerRefusedError as problem:
        return problem.why
    return ""


def open_team_ledger(
    connections: Connections,
    account: str,
    lead_key: bytes,
    *,
    options: StoreOptions | None = None,
) -> Ledger:
    """Return the ledger of an account; nothing is opened before its first use.

    Arguments as of `PostgresStore`.
    """
    return Ledger(PostgresStore(connections, account, lead_key, options=options))
