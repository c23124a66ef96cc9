"""Ground of the fault matrix: the pair of servers and the relays do what they are told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from matrix.messages import (
    BEGIN,
    BEGUN,
    COMMIT,
    COMMITTED,
    INTENT,
    LOCK,
    READY,
    REQUEST,
    RequestSplitter,
)
from matrix.pair import Pair
from matrix.relay import Passing, Relay
from polling import wait_for

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
BEGIN_CALL = "pg_temp.begin_transaction()"
PLAIN = "sslmode=disable&gssencmode=disable&connect_timeout=5"


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Generator[Pair]:
    made = Pair(tmp_path_factory.mktemp("pair"))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def relay(pair) -> Generator[Relay]:
    made = Relay(pair.primary.port, "postgres")
    yield made
    made.close()


def connect(relay: Relay) -> psycopg.Connection[Any]:
    return psycopg.connect(f"postgresql://postgres@127.0.0.1:{relay.port}/postgres?{PLAIN}")


def test_relay_names_the_messages_of_a_commit(relay) -> None:
    """As the ledger sends them: a batch that begins, and a script that changes and commits."""
    seen: list[set[str]] = []

    def note(passing: Passing) -> None:
        if passing.moment == "before":  # "after" may come later than the answer
            seen.append(set(passing.labels))

    with closing(connect(relay)) as db:
        db.autocommit = True
        db.execute("CREATE TEMP TABLE lines (n int, kind text)")
        db.execute("CREATE TEMP TABLE head (n int)")
        db.execute("CREATE FUNCTION pg_temp.begin_transaction() RETURNS int RETURN 1")
        db.execute(f"PREPARE select_begin_transaction_1(int) AS SELECT * FROM {BEGIN_CALL}")
        db.execute("PREPARE insert_lines_2 AS INSERT INTO lines VALUES ($1, $2)")
        relay.listener = note
        for begin, add in (
            (f"SELECT * FROM {BEGIN_CALL}", "INSERT INTO lines VALUES (1, 'intent')"),
            ("EXECUTE select_begin_transaction_1('1')", "EXECUTE insert_lines_2('1', 'intent')"),
        ):
            seen.clear()
            db.execute(f"BEGIN READ WRITE; {begin}".encode())
            db.execute(f"{add};UPDATE head SET n = 1;COMMIT".encode())
            db.execute(f"BEGIN READ ONLY; {begin}".encode())
            db.execute("ROLLBACK")
            assert seen[:5] == [{BEGIN, LOCK}, {BEGUN}, {READY}, {INTENT, COMMIT}, {COMMITTED}]
            assert seen[5:] == [{BEGIN}, {BEGUN}, {READY}]


def test_cut_relay_resets_and_refuses_until_healed(relay) -> None:
    with closing(connect(relay)) as db:
        db.execute("SELECT 1")
        relay.cut()
        with pytest.raises(psycopg.OperationalError):
            db.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        connect(relay)
    relay.heal()
    connect(relay).close()


def test_lost_answer_of_a_commit_leaves_the_row(pair, relay) -> None:
    """A COMMIT whose answer was lost is "perhaps": the ledger must not send on it."""
    pair.primary.run_sql("CREATE TABLE kept (n int)")

    def cut(passing: Passing) -> None:
        if COMMITTED in passing.labels and passing.moment == "before":
            relay.cut()

    with closing(connect(relay)) as db:
        db.execute("INSERT INTO kept VALUES (1)")
        relay.listener = cut
        with pytest.raises(psycopg.OperationalError):
            db.commit()
    assert pair.primary.run_sql("SELECT n FROM kept") == [(1,)]


def test_held_bytes_arrive_when_the_relay_heals(relay) -> None:
    done = threading.Event()

    def ask() -> None:
        with closing(connect(relay)) as db:
            db.execute("SELECT 1")
        done.set()

    relay.hold()
    asking = threading.Thread(target=ask)
    asking.start()
    assert not done.wait(0.3)
    relay.heal()
    assert done.wait(10)
    asking.join()


def test_cancelled_wait_for_the_standby_commits_with_a_warning(pair) -> None:
    """The fact behind "a WARNING during COMMIT counts as failure"."""
    told: list[str] = []
    with closing(psycopg.connect(pair.primary.dsn())) as db:
        db.add_notice_handler(lambda notice: told.append(f"{notice.severity} {notice.sqlstate}"))
        db.execute("CREATE TABLE perhaps (n int)")
        pair.hold_stream()
        committing = threading.Thread(target=db.commit)
        committing.start()
        wait_for(pair.cancel_waiting_commits)
        committing.join()
    pair.heal_stream()
    assert told == ["WARNING 01000"]


def test_whole_request_is_one_piece() -> None:
    cut = RequestSplitter()
    head = b"POST /act HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"
    assert cut.split(head + b"bo") == []
    (piece,) = cut.split(b"dy")
    assert (piece.labels, piece.data) == ({REQUEST}, head + b"body")


def test_reset_reaches_both_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", relay.port)) as client:
            far, _ = server.accept()
            with far:
                client.sendall(b"hello")
                assert far.recv(5) == b"hello"
                relay.reset()
                for end in (client, far):
                    with pytest.raises(ConnectionResetError):
                        _read_all(end)
        relay.close()


def _read_all(end: socket.socket) -> None:
    while end.recv(10):
        pass
    raise ConnectionResetError  # an end of file that was no reset cannot be told apart on macOS


def test_failover_of_a_synchronous_pair_keeps_what_was_acknowledged(tmp_path) -> None:
    """And a pair that waits for nobody forgets it: the stream was held back."""
    pair = Pair(tmp_path)
    try:
        pair.start()
        pair.primary.run_sql("CREATE TABLE kept (n int)")
        pair.primary.run_sql("INSERT INTO kept VALUES (1)")
        pair.primary.stop("immediate")
        pair.promote()
        assert pair.current.run_sql("SELECT n FROM kept") == [(1,)]
        pair.renew()
        pair.wait_for_standby(sync=False)
        pair.hold_stream()
        pair.primary.run_sql("INSERT INTO kept VALUES (2)")
        pair.primary.stop("immediate")
        pair.promote()
        assert pair.current.run_sql("SELECT n FROM kept") == [(1,)]
    finally:
        pair.close()
