"""Scripts of the team's ledger: their literals, and the statements that a connection prepares."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_intents import intent, run
from ledger_stores import APP, KEY, TeamDatabase
from psycopg.pq import TransactionStatus

from kartra_mcp.ledger.postgres import scripts
from kartra_mcp.ledger.postgres.connections import BoundedConnection, Connections
from kartra_mcp.ledger.postgres.rows import make_rows
from kartra_mcp.ledger.postgres.scripts import Statement, Statements, quote
from kartra_mcp.ledger.postgres.store import StoreOptions, open_team_ledger

PREPARED = "SELECT name FROM pg_prepared_statements ORDER BY prepare_time, name"
WAIT = 20.0


@pytest.fixture
def connection(team_database: TeamDatabase) -> Generator[BoundedConnection]:
    made = BoundedConnection.connect(
        team_database.server.dsn(APP), autocommit=True, row_factory=make_rows
    )
    with closing(made):
        made.note_backend(made.info.backend_pid, "pg_temp")
        yield made


def names(connection: BoundedConnection) -> list[str]:
    return [row[0] for row in connection.execute(PREPARED)]


def found(connection: BoundedConnection, *statements: Statement) -> list[Any]:
    """The first value of each read."""
    return [rows[0][0] for rows in connection.run(statements)]


# Literals


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_text_arrives_as_it_is(connection: BoundedConnection, text: str):
    """Also beside another literal, which a quote or a backslash would run into."""
    plain = found(connection, (f"SELECT {quote(text)}::text || {quote(text)}", ()))
    assert found(connection, ("SELECT ?::text || ?", (text, text))) == plain == [text * 2]


@pytest.mark.parametrize("is_standard", ["on", "off"])
def test_a_backslash_is_one_whatever_the_server_makes_of_it(
    connection: BoundedConnection, is_standard: str
):
    connection.execute(f"SET standard_conforming_strings = {is_standard}".encode())
    connection.execute("SET backslash_quote = off")
    for text in ("\\", "\\'", "'\\", "a\\n'b", "\\\\"):
        assert found(connection, ("SELECT ?::text", (text,))) == [text]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bigint", 2**62),
        ("bigint", -5),
        ("integer", True),
        ("integer", False),
        ("double precision", 1_796_030_866.791),
        ("double precision", 1e22),
        ("double precision", 5e-324),
        ("text", None),
    ],
)
def test_a_value_has_the_type_of_its_place(connection: BoundedConnection, kind: str, value: Any):
    assert found(connection, (f"SELECT CAST(? AS {kind})", (value,))) == [value]


def test_a_text_with_nul_is_refused_and_prepares_nothing(connection: BoundedConnection):
    with pytest.raises(psycopg.DataError):
        connection.run([("SELECT ?::text", ("a\0b",))])
    with pytest.raises(TypeError, match="bytes"):
        connection.run([("SELECT 1", ()), ("SELECT ?::text", (b"",))])
    assert names(connection) == []
    assert found(connection, ("SELECT 1", ()), ("SELECT ?::text", ("a",))) == [1, "a"]


def test_marks_in_literals_are_no_values():
    made = Statements()
    sql = "SELECT '?', 'it''s :name', a::text FROM lines WHERE a = :a AND b = ? OR c = :a"
    with pytest.raises(KeyError):
        made.bind([(sql, {"a": 1})])
    assert made.bind([("SELECT '?' || ':a', :a, :b, :a", {"a": 1, "b": "x"})]) == (
        "SELECT '?' || ':a', '1', 'x', '1'"
    )


# Prepared statements


def test_a_statement_is_prepared_once_under_a_name_that_shows_what_it_is(
    connection: BoundedConnection,
):
    connection.run([("CREATE TEMP TABLE lines (n int)", ())])
    add: Statement = ("INSERT INTO lines (n) VALUES (?)", (1,))
    for _ in range(2):
        connection.run([("BEGIN", ()), add, add, ("SELECT n FROM lines", ()), ("COMMIT", ())])
    assert names(connection) == ["insert_lines_1", "select_lines_2"]
    assert found(connection, ("SELECT count(n) FROM lines", ())) == [4]


def test_a_pooler_that_may_change_the_server_gets_no_prepared_statement(
    connection: BoundedConnection,
):
    connection.note_backend(connection.info.backend_pid + 1, "pg_temp")
    assert found(connection, ("SELECT ?::int", (5,))) == [5]
    assert names(connection) == []


def test_a_script_that_failed_prepares_again_what_it_may_not_have_prepared(
    connection: BoundedConnection,
):
    before: Statement = ("SELECT ?::int + 1", (1,))
    after: Statement = ("SELECT ?::int + 2", (1,))
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.run([("BEGIN", ()), before, ("SELECT 1 / ?::int", (0,)), after])
    connection.run([("ROLLBACK", ())])
    for _ in range(2):
        assert found(connection, before, after) == [2, 3]
    assert connection.info.transaction_status == TransactionStatus.IDLE


def test_a_column_that_another_version_added_breaks_no_statement(connection: BoundedConnection):
    """A prepared `SELECT *` would fail until its connection ends."""
    connection.run([("CREATE TEMP TABLE kept (a int)", ())])
    statement: Statement = ("SELECT k.* FROM kept k", ())
    connection.run([statement])
    connection.run([("ALTER TABLE kept ADD COLUMN b int", ())])
    connection.run([("INSERT INTO kept (a, b) VALUES (1, 2)", ())])
    ((row,),) = connection.run([statement])
    assert (row["a"], row["b"], len(row)) == (1, 2, 2)


def test_a_connection_prepares_a_bounded_number(
    connection: BoundedConnection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scripts, "MAX_PREPARED", 3)
    for number in range(5):
        assert found(connection, (f"SELECT {number} + ?", (1,))) == [number + 1]
    assert len(names(connection)) == 3


def test_the_pool_reads_every_character(team_database: TeamDatabase):
    """Its connections name the encoding for which texts are quoted."""
    batch: list[Statement] = [("SHOW client_encoding", ())]
    with (
        closing(Connections(team_database.server.dsn(APP))) as connections,
        connections.begin(batch, WAIT, WAIT) as (_, shown),
    ):
        assert shown[0][0][0] == "UTF8"


def test_a_statement_that_one_account_prepared_reads_and_writes_the_one_that_runs_it(
    team_database: TeamDatabase,
):
    """Accounts share connections: only the search path of a transaction tells them apart."""
    places = [team_database.make_account() for _ in range(2)]
    connections = Connections(team_database.server.dsn(APP))
    options = StoreOptions(durable=False)
    with closing(connections):
        ledgers = [open_team_ledger(connections, x.account, KEY, options=options) for x in places]
        wanted = [[intent(number) for number in numbers] for numbers in ((1, 2, 3), (11, 12, 13))]
        for one, other in zip(*wanted, strict=True):
            run(ledgers[0], one)
            run(ledgers[1], other)
        seen = [[entry["target"] for entry in ledger.export()] for ledger in ledgers]
        assert seen == [["1", "2", "3"], ["11", "12", "13"]]
        assert all(ledger.verify().ok for ledger in ledgers)
        with connections.begin([("SELECT name FROM pg_prepared_statements", ())], WAIT, WAIT) as (
            connection,
            found,
        ):
            assert connection.statements.are_kept
            kept = [row[0] for row in found[0]]
            path = connection.run([("SELECT current_setting('search_path')", ())])[0][0][0]
    assert sum(name.startswith("insert_lines") for name in kept) == 1
    assert path == f'"ledger_{places[0].account}", pg_temp', "that of the first, kept for it alone"
