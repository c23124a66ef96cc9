"""Connections to the database of a team: a pool, waits that end, and the notices of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
import psycopg_pool
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.timings import read_steady_clock
from kartra_mcp.ledger.errors import unavailable_error
from kartra_mcp.ledger.postgres.errors import CommitUncertainError, DatabaseTimeoutError
from kartra_mcp.ledger.postgres.rows import Row, make_rows, read_rows
from kartra_mcp.ledger.postgres.scripts import Statement, Statements

R = TypeVar("R")

CONNECT_SECONDS = 3
SILENCE_MS = 5_000
"""Milliseconds without an acknowledgement by TCP after which a connection is given up."""

COMMIT_SECONDS = 5.0
"""Seconds to wait for the answer of a COMMIT: a standby that is gone would hold it for ever."""

MAX_CONNECTIONS = 8

_STALE_TRIES = MAX_CONNECTIONS + 1
_DEFAULT_WAIT = 10.0


class BoundedConnection(psycopg.Connection[Row]):
    """A connection whose every wait ends: a server that hangs must not hold a call for ever.

    `statement_timeout` is not enough: the server does not apply it while a COMMIT waits for its
    standby, and TCP stays alive while a process of the server is stopped.
    """

    ends_at: float | None = None
    """End of the waits on the monotonic clock; None for `_DEFAULT_WAIT` seconds each."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.statements = Statements()
        self._path: str | None = None

    def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements in one trip to the server; return the rows of each that is a read.

        A cursor of psycopg for each would cost more processor time than the server takes.

        Raises:
            psycopg.Error: of the first statement that failed; those after it did not run.
        """
        try:
            script = self.statements.bind(statements)
            self.pgconn.send_query(script.encode())
            results = self.wait(generators.execute(self.pgconn))
            found = self._list_rows(results)
        except BaseException:
            self.statements.forget()
            raise
        self.statements.confirm()
        return found

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

    def _list_rows(self, results: Sequence[PGresult]) -> list[list[Row]]:
        transformer, found = Transformer(self), list[list[Row]]()
        for result in results:
            if result.status == ExecStatus.TUPLES_OK:
                found.append(read_rows(result, transformer))
            elif result.status != ExecStatus.COMMAND_OK:
                raise error_from_result(result)
        return found

    def note_backend(self, pid: int, path: str) -> None:
        """Keep state on the server if nothing between gives each transaction another one.

        Args:
            pid: process of the server that runs this transaction.
            path: search path of its ledger.
        """
        self.statements.are_kept = pid == self.pgconn.backend_pid
        if self._path is None and self.statements.are_kept:
            self._path = path

    def keep_path(self) -> None:
        """Keep the search path of the first ledger that it served, once, between transactions.

        `begin_transaction` sets that of any other ledger for its transaction.
        """
        if self._path:
            path, self._path = self._path, ""
            # VALUES, as a SELECT would be prepared for this one time.
            self.run([("VALUES (set_config('search_path', ?, FALSE))", (path,))])


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
                "prepare_threshold": None,  # a pooler may stand between
                "client_encoding": "UTF8",  # literals are quoted for it
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
            name="kartra-mcp-ledger",
        )

    @contextmanager
    def begin(
        self, batch: Sequence[Statement], wait: float, work: float
    ) -> Generator[tuple[BoundedConnection, list[list[Row]]]]:
        """Lend a connection on which `batch` began a transaction; end the transaction at the end.

        A connection that the server closed while it was idle is replaced: nothing was executed.

        Args:
            batch: statements that begin a transaction and have no other effect.
            wait: seconds for a connection and for the batch, which may wait for other writers.
            work: seconds for all statements that follow until `commit`.

        Yields:
            The connection, and the rows of each read of the batch.

        Raises:
            psycopg.Error: the database cannot be used.
        """
        self._open()
        connection, found = self._begin(batch, time.monotonic() + wait)
        connection.ends_at = time.monotonic() + work
        try:
            yield connection, found
        finally:
            self._give_back(connection)

    @property
    def silent_seconds(self) -> float:
        """Seconds since the database answered last; at first, since this pool was made."""
        return read_steady_clock() - self._answered_at

    def probe(self, seconds: float) -> bool:
        """Return whether the database answers within so many seconds."""
        try:
            with self.begin([("SELECT 1", ())], seconds, seconds):
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

    def _begin(
        self, batch: Sequence[Statement], ends_at: float
    ) -> tuple[BoundedConnection, list[list[Row]]]:
        for _ in range(_STALE_TRIES):
            connection = self._take(ends_at)
            try:
                connection.ends_at = ends_at
                found = connection.run(batch)
            except BaseException as problem:
                closed = connection.closed
                self._give_back(connection)
                if isinstance(problem, psycopg.OperationalError) and closed and _has_time(ends_at):
                    continue
                raise
            self._answered_at = read_steady_clock()
            return connection, found
        raise unavailable_error("its database closes every connection")

    def _take(self, ends_at: float) -> BoundedConnection:
        try:
            return self._pool.getconn(max(ends_at - time.monotonic(), 0.001))
        except psycopg_pool.PoolTimeout:
            raise DatabaseTimeoutError("no connection in time") from None

    def _give_back(self, connection: BoundedConnection) -> None:
        status = connection.pgconn.transaction_status
        connection.ends_at = time.monotonic() + 1.0
        with suppress(psycopg.Error):
            if status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN):
                connection.run([("ROLLBACK", ())])
            elif status == TransactionStatus.IDLE:
                connection.keep_path()
        connection.ends_at = None
        self._pool.putconn(connection)


def commit(connection: BoundedConnection, changes: Sequence[Statement], seconds: float) -> None:
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
        connection.run([*changes, ("COMMIT", ())])
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


def _has_time(ends_at: float) -> bool:
    return time.monotonic() < ends_at
