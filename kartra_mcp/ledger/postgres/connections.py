"""Connections to the database of a team: a pool, waits that end, and the notices of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TypeVar

import psycopg
import psycopg_pool
from psycopg.abc import PQGen

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.timings import read_steady_clock
from kartra_mcp.ledger.errors import unavailable_error
from kartra_mcp.ledger.postgres.errors import CommitUncertainError, DatabaseTimeoutError
from kartra_mcp.ledger.postgres.rows import BoolDumper, Row, make_rows

R = TypeVar("R")

CONNECT_SECONDS = 3
SILENCE_MS = 5_000
"""Milliseconds without an acknowledgement by TCP after which a connection is given up."""

COMMIT_SECONDS = 5.0
"""Seconds to wait for the answer of a COMMIT: a standby that is gone would hold it for ever."""

MAX_CONNECTIONS = 8
PREPARE_AFTER = 1
"""Executions of a statement after which it is prepared: planning it takes longer than running."""

_STALE_TRIES = MAX_CONNECTIONS + 1
_DEFAULT_WAIT = 10.0


class BoundedConnection(psycopg.Connection[Row]):
    """A connection whose every wait ends: a server that hangs must not hold a call for ever.

    `statement_timeout` is not enough: the server does not apply it while a COMMIT waits for its
    standby, and TCP stays alive while a process of the server is stopped.
    """

    ends_at: float | None = None
    """End of the waits on the monotonic clock; None for `_DEFAULT_WAIT` seconds each."""

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Run a step of the protocol. psycopg calls this for every statement.

        Raises:
            DatabaseTimeoutError: it did not end in time; the connection cannot be used any more.
        """
        limit = _DEFAULT_WAIT if timeout is None else timeout
        end = time.monotonic() + limit if self.ends_at is None else self.ends_at
        try:
            return super().wait(gen, interval, max(end - time.monotonic(), 0.0))
        except psycopg.OperationalError:
            if time.monotonic() < end or self.closed:
                raise
            self.pgconn.finish()
            raise DatabaseTimeoutError("the server did not answer in time") from None

    def note_backend(self, pid: int) -> None:
        """Let statements be prepared if nothing between gives each transaction another server.

        Args:
            pid: process of the server that runs this transaction.
        """
        is_direct = pid == self.info.backend_pid
        self.prepare_threshold = PREPARE_AFTER if is_direct else None


class Connections:
    """The pool of one process for every ledger in one database.

    Args:
        conninfo: URI or key words; a password belongs into a file that it names, or here.
    """

    def __init__(self, conninfo: str) -> None:
        self._lock = threading.Lock()
        self._is_open = False
        self._answered_at = read_steady_clock()
        self._pool = psycopg_pool.ConnectionPool(
            conninfo,
            connection_class=BoundedConnection,
            kwargs={
                "autocommit": True,
                "prepare_threshold": None,  # until `note_backend` allows it
                "row_factory": make_rows,
                "connect_timeout": CONNECT_SECONDS,
                "tcp_user_timeout": SILENCE_MS,
                "keepalives_idle": 10,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "target_session_attrs": "read-write",
                "application_name": "kartra-mcp",
            },
            min_size=0,
            max_size=MAX_CONNECTIONS,
            open=False,
            configure=_configure,
            name="kartra-mcp-ledger",
        )

    @contextmanager
    def begin(
        self, batch: str, wait: float, work: float
    ) -> Generator[tuple[BoundedConnection, Row]]:
        """Lend a connection on which `batch` began a transaction; end the transaction at the end.

        A connection that the server closed while it was idle is replaced: nothing was executed.

        Args:
            batch: statements that begin a transaction and have no other effect.
            wait: seconds for a connection and for the batch, which may wait for other writers.
            work: seconds for all statements that follow until `commit`.

        Yields:
            The connection, and the row of the last statement of the batch.

        Raises:
            psycopg.Error: the database cannot be used.
        """
        self._open()
        connection, row = self._begin(batch, time.monotonic() + wait)
        connection.ends_at = time.monotonic() + work
        try:
            yield connection, row
        finally:
            self._give_back(connection)

    @property
    def silent_seconds(self) -> float:
        """Seconds since the database answered last; at first, since this pool was made."""
        return read_steady_clock() - self._answered_at

    def probe(self, seconds: float) -> bool:
        """Return whether the database answers within so many seconds."""
        try:
            with self.begin("SELECT 1 AS ok", seconds, seconds):
                return True
        except (psycopg.Error, KartraMCPError):
            return False

    def close(self) -> None:
        with self._lock:
            if self._is_open:
                self._pool.close()
                self._is_open = False

    def _open(self) -> None:
        with self._lock:
            if not self._is_open:
                self._pool.open()
                self._is_open = True

    def _begin(self, batch: str, ends_at: float) -> tuple[BoundedConnection, Row]:
        for _ in range(_STALE_TRIES):
            connection = self._take(ends_at)
            try:
                connection.ends_at = ends_at
                row = _run_batch(connection, batch)
            except BaseException as problem:
                closed = connection.closed
                self._give_back(connection)
                if isinstance(problem, psycopg.OperationalError) and closed and _has_time(ends_at):
                    continue
                raise
            self._answered_at = read_steady_clock()
            return connection, row
        raise unavailable_error("its database closes every connection")

    def _take(self, ends_at: float) -> BoundedConnection:
        try:
            return self._pool.getconn(max(ends_at - time.monotonic(), 0.001))
        except psycopg_pool.PoolTimeout:
            raise DatabaseTimeoutError("no connection in time") from None

    def _give_back(self, connection: BoundedConnection) -> None:
        if not connection.closed and connection.info.transaction_status:
            connection.ends_at = time.monotonic() + 1.0
            with suppress(psycopg.Error):
                connection.execute(b"ROLLBACK")
        connection.ends_at = None
        self._pool.putconn(connection)


def commit(connection: BoundedConnection, changes: str, seconds: float) -> None:
    """Run the last changes and commit; return only if the server acknowledged it and was silent.

    Raises:
        psycopg.IntegrityError, psycopg.DataError: a change was refused; nothing was committed.
        CommitUncertainError: it may be recorded all the same.
    """
    notices: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        notices.append(diagnostic.severity_nonlocalized or "")

    connection.ends_at = time.monotonic() + seconds
    connection.add_notice_handler(note)
    try:
        connection.execute(f"{changes}COMMIT".encode())
    except (psycopg.IntegrityError, psycopg.DataError):
        raise  # of a change before the COMMIT, which the server then skipped
    except psycopg.Error:
        raise CommitUncertainError("its database did not confirm the commit") from None
    finally:
        connection.remove_notice_handler(note)
    if notices:
        # The wait for the standby was cancelled: the commit is on one server only, which a
        # failover would forget.
        raise CommitUncertainError("its database warned while it committed")


def _configure(connection: BoundedConnection) -> None:
    connection.adapters.register_dumper(bool, BoolDumper)


def _run_batch(connection: BoundedConnection, batch: str) -> Row:
    cursor = connection.execute(batch.encode())
    while cursor.nextset():
        pass
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  the last statement of a batch returns one row
    return row


def _has_time(ends_at: float) -> bool:
    return time.monotonic() < ends_at
