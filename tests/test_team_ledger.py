"""The team's ledger on a real PostgreSQL: what a commit is worth, and who may change what."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_stores import ACCOUNT, APP, KEY, Place, TeamDatabase, TeamPlace
from matrix.messages import COMMITTED, READY
from matrix.relay import Passing, Relay
from polling import wait_for

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed
from kartra_mcp.ledger import admission
from kartra_mcp.ledger.hash_chain import dump_canonical
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres import store as team_store
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.errors import CommitUncertainError
from kartra_mcp.ledger.postgres.store import PostgresStore, StoreOptions, open_team_ledger
from kartra_mcp.ledger.records import Answer
from kartra_mcp.policy.limits import Limits
from tests.ledger_intents import LIMITS, attempt, code, intent, run

ROOT = Path(__file__).parent.parent
FAST = StoreOptions(durable=False)


@pytest.fixture
def place(team_database: TeamDatabase) -> TeamPlace:
    return team_database.make_empty()


@pytest.fixture
def own(team_database: TeamDatabase) -> TeamPlace:
    """An account of its own, whose tables may be altered."""
    return team_database.make_account()


@pytest.fixture
def ledger(place: TeamPlace) -> Generator[Ledger]:
    with closing(place.open()) as made:
        yield made


UNSTORABLE = "a\x00b"
"""A text that PostgreSQL does not take, and SQLite does."""


def test_a_text_that_cannot_be_stored_is_a_fault_of_its_call_alone(ledger: Ledger):
    bad, good = ledger.beginning(intent(UNSTORABLE), LIMITS), ledger.beginning(intent(), LIMITS)
    ledger.commit([bad, good])
    assert code(bad.take_result) == "invalid_arguments"
    assert good.take_result().intent_id
    assert code(lambda: ledger.require_ended(UNSTORABLE)) == "invalid_arguments"
    assert ledger.verify().ok


def admit_all(*_: Any) -> None:
    """Admission by rules that are wrong."""


def store_of(ledger: Ledger) -> PostgresStore:
    store = ledger._store
    assert isinstance(store, PostgresStore)
    return store


def as_owner(place: TeamPlace, *statements: str, role: str = "postgres") -> None:
    """Run statements on the tables of an account."""
    with psycopg.connect(place.database.server.dsn(role)) as db:
        db.execute(f"SET LOCAL search_path = ledger_{place.account}".encode())
        for statement in statements:
            db.execute(statement.encode())


def rewrite(place: TeamPlace, *statements: str) -> None:
    """Change rows as a restore or a superuser does, past the triggers."""
    as_owner(place, "SET LOCAL session_replication_role = replica", *statements)


def refusal(of: Callable[[], object]) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        of()
    return refused.value


# A commit that is not plainly acknowledged


def cut_at(label: str) -> Callable[[Passing], None]:
    """Reset the connection when the server's answer of this kind arrives."""

    def listen(passing: Passing) -> None:
        if label in passing.labels and passing.moment == "before":
            passing.relay.reset()

    return listen


@contextmanager
def opened_through_relay(
    place: TeamPlace, listener: Callable[[Passing], None]
) -> Generator[Ledger]:
    relay = Relay(place.database.server.port, "postgres", listener)
    address = place.database.server.dsn(APP, port=relay.port)
    connections = Connections(f"{address}?sslmode=disable&gssencmode=disable")
    try:
        with closing(open_team_ledger(connections, ACCOUNT, KEY, options=FAST)) as ledger:
            yield ledger
    finally:
        connections.close()
        relay.close()


def test_a_write_whose_commit_lost_its_answer_is_recorded_and_refused(place: TeamPlace):
    wanted = intent()
    with opened_through_relay(place, cut_at(COMMITTED)) as ledger:
        problem = refusal(lambda: ledger.begin(wanted, LIMITS))
    assert isinstance(problem, CommitUncertainError)
    assert (problem.code, problem.executed) == ("ledger_unavailable", "no")
    with closing(place.open()) as other:
        # The attempt to record "refused, not sent" lost its answer too, and is recorded.
        shown: Any = other.get(wanted.id)
        assert shown["state"] in {"running", "refused"}


@pytest.mark.parametrize(("kind", "most"), [("transaction", 4), ("lead", 5)])
def test_begin_and_finish_take_a_few_trips_to_the_database(place: TeamPlace, kind: str, most: int):
    """Two each: begin with reads, and commit; the names of a lead are read before the others."""
    trips: list[Passing] = []

    def listen(passing: Passing) -> None:
        if passing.labels & {READY, COMMITTED} and passing.moment == "before":
            trips.append(passing)

    with opened_through_relay(place, listen) as ledger:
        for target in ("1", "2"):
            trips.clear()
            run(ledger, intent(target, target_kind=kind, arguments_digest=target))
    assert len(trips) == most


def test_a_write_plans_no_statement_again(place: TeamPlace):
    """Bug: at 100,000 lines the server planned one read of each write anew, for as long as all."""
    plans = "SELECT name, custom_plans FROM pg_prepared_statements WHERE custom_plans > 0"
    connections = Connections(place.database.server.dsn(APP))
    try:
        with closing(open_team_ledger(connections, ACCOUNT, KEY, options=FAST)) as ledger:
            for target in ("1", "2", "3"):
                run(ledger, intent(target))
            with ledger._store.write_transaction() as transaction:
                prepared = transaction.fetch_all("SELECT name FROM pg_prepared_statements")
                assert {"select_parts", "insert_lines"} <= {
                    row["name"].rpartition("_")[0] for row in prepared
                }
                found = {tuple(row) for row in transaction.fetch_all(plans)}
    finally:
        connections.close()
    assert {name.rpartition("_")[0] for name, _ in found} <= {"select_begin_transaction"}


CANCEL = (
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
    " WHERE wait_event = 'SyncRep' AND usename = %s"
)


def commit_until_it_waits(place: TeamPlace) -> None:
    warned: list[Any] = []
    with psycopg.connect(place.database.server.dsn(), autocommit=True) as db:
        db.add_notice_handler(warned.append)
        db.execute("SET synchronous_commit = on")
        while not warned:
            db.execute("SELECT pg_logical_emit_message(TRUE, 'test', '')")


@contextmanager
def missing_standby(place: TeamPlace) -> Generator[None]:
    server = place.database.server
    server.reload(synchronous_standby_names="nowhere")
    with ThreadPoolExecutor(1) as pool:
        # The setting takes effect when the server's checkpointer has read it.
        probe = pool.submit(commit_until_it_waits, place)
        wait_for(waits_for_standby(place, "postgres"))
        server.run_sql(CANCEL, "postgres")
        probe.result()
    try:
        yield
    finally:
        server.run_sql("ALTER SYSTEM RESET synchronous_standby_names")
        server.run_sql("SELECT pg_reload_conf()")
        wait_for(lambda: not waits_for_standby(place, APP)())


def begin_aside(ledger: Ledger, wanted: Any) -> Future[RefusedError]:
    pool = ThreadPoolExecutor(1)
    waiting = pool.submit(refusal, lambda: ledger.begin(wanted, LIMITS))
    pool.shutdown(wait=False)
    return waiting


def waits_for_standby(place: TeamPlace, role: str) -> Callable[[], bool]:
    sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = %s"
    return lambda: bool(place.database.server.run_sql(sql, role))


def test_a_warning_during_commit_counts_as_failure(place: TeamPlace, ledger: Ledger):
    """Its wait for the standby was cancelled: one server has it, which a failover forgets."""
    ledger.require_writable()
    wanted = intent()
    with missing_standby(place):
        waiting = begin_aside(ledger, wanted)
        wait_for(waits_for_standby(place, APP))
        while not waiting.done():  # also the record of what was not sent waits
            place.database.server.run_sql(CANCEL, APP)
        problem = waiting.result()
    assert isinstance(problem, CommitUncertainError)
    assert "warned" in problem.why
    shown: Any = ledger.get(wanted.id)
    assert shown["state"] == "refused"


def test_a_missing_standby_holds_no_call_for_ever(
    place: TeamPlace, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(team_store, "COMMIT_SECONDS", 0.1)
    ledger.require_writable()
    with missing_standby(place):
        problem = refusal(lambda: ledger.begin(intent(), LIMITS))
        assert isinstance(problem, CommitUncertainError)
        with closing(place.open(wait=0.2)) as other:
            assert code(lambda: other.begin(intent("2"), LIMITS)) == "ledger_unavailable"
            assert other.entry_count() == 0
    with closing(place.open()) as other:
        assert other.entry_count() >= 1, "the commit ended when the standby was needed no more"


# The database refuses what the program let through


def test_an_index_refuses_a_second_refund_though_the_rules_admit_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    run(ledger, intent("1"), "unknown")
    ledger.begin(intent("2"), LIMITS)
    monkeypatch.setattr(admission, "admission_refusal", admit_all)
    for target in ("1", "2"):
        assert attempt(ledger, target) == "in_progress"
    assert attempt(ledger, "3") == "runs"
    assert len(ledger.export()) == 3
    assert ledger.verify().ok


def test_a_row_that_the_index_refuses_undoes_no_other_write_of_its_group(
    place: TeamPlace, monkeypatch: pytest.MonkeyPatch
):
    targets = ["1", "2", "3", "4"]
    ready = Barrier(len(targets) + 1)
    with closing(place.open(wait=20.0)) as ledger:
        ledger.begin(intent("1"), LIMITS)
        monkeypatch.setattr(admission, "admission_refusal", admit_all)

        def begin(target: str) -> str:
            ready.wait(20)
            return attempt(ledger, target)

        with ThreadPoolExecutor(len(targets)) as pool:
            with place.hold_turn():
                begun = [pool.submit(begin, target) for target in targets]
                ready.wait(20)
            found = [one.result(30) for one in begun]
        assert found == ["in_progress", "runs", "runs", "runs"]
        assert {entry["target"] for entry in ledger.export()} == {"1", "2", "3", "4"}
        assert len(ledger.export()) == 4


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE lines SET body = '{}'",
        "DELETE FROM lines",
        "TRUNCATE lines",
        "INSERT INTO lines VALUES (9, 0, 'start', '{}', '', '')",
        "INSERT INTO lines VALUES (3, 0, 'start', '{}', 'another', '')",
        "INSERT INTO lines VALUES (2, 0, 'a', '', '', '') ON CONFLICT (n) DO UPDATE SET body = ''",
    ],
)
@pytest.mark.parametrize("role", [APP, "postgres"])
def test_lines_are_only_added(role: str, statement: str, place: TeamPlace, ledger: Ledger):
    run(ledger, intent())
    with pytest.raises(psycopg.Error):
        as_owner(place, statement, role=role)
    assert ledger.verify().count == 2


FALSE_OPERATORS = """
CREATE SCHEMA other;
CREATE FUNCTION other.never(bigint, bigint) RETURNS boolean RETURN FALSE;
CREATE FUNCTION other.never(integer, integer) RETURNS boolean RETURN FALSE;
CREATE FUNCTION other.never(text, text) RETURNS boolean RETURN FALSE;
CREATE OPERATOR other.<> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = other.never);
CREATE OPERATOR other.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = other.never);
CREATE OPERATOR other.= (LEFTARG = text, RIGHTARG = text, FUNCTION = other.never);
CREATE OPERATOR other.> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = other.never);
GRANT USAGE ON SCHEMA other TO PUBLIC
"""


def test_triggers_use_no_operator_that_a_search_path_names(own: TeamPlace):
    """They name the schema of each: whoever may create an operator could switch them off."""
    schema, path = f"ledger_{own.account}", "SET LOCAL search_path = other, pg_catalog"
    add_line = f"INSERT INTO {schema}.lines VALUES (9, 0, 'start', '{{}}', '', '')"
    end = f"UPDATE {schema}.intents SET state = 'failed'"
    with closing(own.open()) as ledger:
        ledger.begin(intent("1"), LIMITS)
        as_owner(own, FALSE_OPERATORS)
        try:
            with pytest.raises(psycopg.IntegrityError, match="only follow"):
                as_owner(own, path, add_line, role=APP)
            as_owner(own, path, end, role=APP)
        finally:
            as_owner(own, "DROP SCHEMA other CASCADE")
    assert own.fetch("SELECT state FROM parts") == [("failed",)]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE lines",
        "ALTER TABLE lines DISABLE TRIGGER ALL",
        "SET LOCAL session_replication_role = replica",
        "DELETE FROM intents",
        "DELETE FROM head",
        "DELETE FROM approvals",
        "UPDATE schema_version SET number = 9",
        "CREATE TABLE more (n INTEGER)",
    ],
)
def test_the_role_of_the_service_changes_no_table(statement: str, place: TeamPlace):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_owner(place, statement, role=APP)


ALTERED = {
    "a line": "UPDATE lines SET body = replace(body, 'Course', 'Coarse') WHERE n = 1",
    "a derived row": "UPDATE intents SET state = 'failed'",
    "a trigger": "ALTER TABLE lines DISABLE TRIGGER lines_stay",
    "an index": "DROP INDEX parts_one_unsettled",
    "a newest line that is gone": "DELETE FROM lines WHERE n = 2",
}


@pytest.mark.parametrize("name", ALTERED)
def test_verify_names_what_was_altered(name: str, own: TeamPlace):
    with closing(own.open()) as ledger:
        run(ledger, intent())
    rewrite(own, ALTERED[name])
    with closing(own.open()) as other:
        report = other.verify()
    assert (report.ok, bool(report.why)) == (False, True), report
    assert report.broken == (1 if name == "a line" else None)


# History that goes back


BACK = ("DELETE FROM lines WHERE n > 2", "DELETE FROM intents", "DELETE FROM parts")
OTHER_LINE = "UPDATE lines SET hash = repeat('e', 64) WHERE n = 4"


@pytest.mark.parametrize("how", ["less", "another history"])
def test_a_database_that_went_back_is_noticed(how: str, own: TeamPlace):
    with closing(own.open()) as ledger:
        run(ledger, intent("1"))
        run(ledger, intent("2"))
        if how == "less":
            rewrite(
                own, *BACK, "UPDATE head SET n = 2, hash = (SELECT hash FROM lines WHERE n = 2)"
            )
        else:
            rewrite(own, OTHER_LINE, "UPDATE head SET hash = repeat('e', 64)")
        problem = refusal(lambda: ledger.begin(intent("3"), LIMITS))
        assert "went back" in problem.message
        assert "kartra-mcp team settle" in problem.remedy
        assert not ledger.verify().ok
    with closing(own.open()) as fresh:
        assert fresh.entry_count() == (2 if how == "less" else 4), "a new process cannot know"


def test_a_new_timeline_stops_writes_until_the_run_logs_were_swept(own: TeamPlace):
    with closing(own.open()) as ledger:
        lost = intent("1")
        ledger.begin(lost, LIMITS)
        rewrite(own, "UPDATE meta SET value = '1/1' WHERE key = 'swept_timeline'")
        problem = refusal(lambda: ledger.begin(intent("2"), LIMITS))
        assert "kartra-mcp team settle" in problem.remedy
        assert "run logs were not swept" in ledger.verify().refused
        ledger.finish(lost.id, Answer("succeeded", Executed.YES))
        store = store_of(ledger)
        timeline = store.read_timeline()
        assert not timeline.is_swept
        later = replace(timeline, current="1/2")
        assert code(lambda: store.record_sweep(later, "ada and ben")) == "ledger_unavailable"
        store.record_sweep(timeline, "ada and ben")
        assert store.read_timeline().is_swept
        assert attempt(ledger, "2") == "runs"
        assert ledger.verify().ok
        rewrite(own, "UPDATE meta SET value = '1/1' WHERE key = 'swept_timeline'")
        assert "timeline does not match" in ledger.verify().why


# The right to send


def test_a_line_has_the_attempt_and_its_end_by_the_clock_of_the_database(ledger: Ledger):
    wanted = intent()
    running = ledger.begin(wanted, LIMITS)
    (entry,) = ledger.export()
    assert entry["attempt"] == running.attempt
    assert entry["send_until"] == pytest.approx(entry["at"] + 30, abs=0.01)
    assert entry["expires_at"] == pytest.approx(entry["at"] + 150, abs=0.01)
    assert running.lock_fd == -1
    assert running.send_until is not None


class Clock:
    at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


def test_an_owner_that_slept_still_reports_its_outcome(place: TeamPlace):
    clock, wanted = Clock(), intent()
    with closing(place.open(clock)) as owner, closing(place.open(clock)) as other:
        running = owner.begin(wanted, LIMITS)
        clock.at += 149
        assert attempt(other) == "in_progress"
        place.let_go(running, clock)
        assert attempt(other) == "outcome_unknown"
        owner.finish(wanted.id, Answer("succeeded", Executed.YES))
        assert attempt(other) == "already_done"
        late = code(lambda: owner.finish(wanted.id, Answer("failed", Executed.NO)))
        assert late == "internal_error"
        assert other.verify().ok


# Connections


def test_idle_connections_that_the_server_closed_are_replaced(place: TeamPlace, ledger: Ledger):
    run(ledger, intent("1"))
    ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
    place.database.server.run_sql(ends, APP)
    assert attempt(ledger, "2") == "runs"


def test_no_error_names_the_address_or_the_password():
    address = "postgresql://somebody:hunter2@127.0.0.1:9/secretdb"
    connections = Connections(address)
    try:
        with closing(open_team_ledger(connections, ACCOUNT, KEY)) as ledger:
            problem = refusal(lambda: ledger.begin(intent(), LIMITS))
    finally:
        connections.close()
    told = json.dumps(problem.as_dict())
    assert problem.code == "ledger_unavailable"
    assert not any(word in told for word in ("hunter2", "somebody", "127.0.0.1", "secretdb"))


def test_a_server_that_may_lose_commits_is_refused(place: TeamPlace):
    with closing(open_team_ledger(place.database.connections, ACCOUNT, KEY)) as ledger:
        assert "fsync" in refusal(lambda: ledger.begin(intent(), LIMITS)).message


def test_accounts_have_ledgers_of_their_own(place: TeamPlace, own: TeamPlace):
    with closing(place.open()) as one, closing(own.open()) as other:
        run(one, intent("1"))
        assert attempt(other, "1") == "runs"
        assert (one.entry_count(), other.entry_count()) == (2, 1)


def test_an_account_without_tables_names_the_command_that_makes_them(place: TeamPlace):
    with closing(replace(place, account="nobody").open()) as ledger:
        assert "team migrate" in refusal(lambda: ledger.begin(intent(), LIMITS)).remedy


ALONE = """
import sys
from pathlib import Path
from kartra_mcp.app import composition
from kartra_mcp.ledger.sqlite.store import open_ledger
ledger = open_ledger(Path(sys.argv[1]))
ledger.append_note("start", {})
assert ledger.verify().ok
print(*(name for name in sys.modules if name.startswith(("psycopg", "kartra_mcp.ledger.postgres"))))
"""


def test_the_ledger_of_one_user_loads_nothing_of_the_team(tmp_path: Path):
    words = [sys.executable, "-c", ALONE, str(tmp_path)]
    told = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.split() == []


# The SQL that both stores share


PATHS = ("$.a", "$.b.c", "$.a.b")
VALUES = st.recursive(
    st.text(max_size=4) | st.sampled_from(["😀", "\ud800", "\\ud800", "\\\\u0000", "x'y"]),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)


def is_text(body: Any) -> bool:
    """Return whether PostgreSQL can hold every text of a JSON value."""
    try:
        return b"\\u0000" not in json.dumps(body, ensure_ascii=False).encode()
    except UnicodeError:
        return False


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), st.sampled_from(PATHS))
def test_json_extract_finds_what_it_finds_in_sqlite(place: TeamPlace, body: Any, path: str):
    text = dump_canonical(body)
    with closing(place.open()) as ledger, ledger._store.read_transaction() as transaction:
        (found,) = transaction.fetch_all("SELECT json_extract(?, ?) AS found", text, path)
    value: Any = body
    for name in path[2:].split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str) and is_text(body):
        assert found["found"] == value
    elif isinstance(value, str):
        assert "\ufffd" in found["found"] or found["found"] == value
    elif value is None:
        assert found["found"] is None
    with closing(sqlite3.connect(":memory:")) as db:
        (there,) = db.execute("SELECT json_extract(?, ?) IS NULL", (text, path)).fetchone()
    assert bool(there) == (found["found"] is None)


def test_caps_and_exports_need_no_negative_limit(ledger_place: Place):
    with closing(ledger_place.open()) as ledger:
        for target in "123":
            run(ledger, intent(target))
        assert len(ledger.export()) == 3
        assert len(ledger.list_recent(2)) == 2
        limits = Limits(cap_day_count=3)
        assert code(lambda: ledger.begin(intent("4"), limits)) == "cap_reached"
