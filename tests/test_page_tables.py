"""Logins and sessions of the page in PostgreSQL: used once, shared, ended, protected."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import psycopg
import pytest

from kartra_mcp.core.principal import Principal
from kartra_mcp.identity.login import Login
from kartra_mcp.identity.login_exchange import LoginAttempt
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.migrations import migrate_service
from kartra_mcp.ledger.postgres.page_tables import PageTables
from kartra_mcp.web.team.page_store import DatabasePageStore
from kartra_mcp.web.team.records import SESSION_SECONDS, BegunLogin, StoredSession, hash_secret
from tests.ledger_stores import APP, TeamDatabase
from tests.team_people import ANN, BOB

ATTEMPT = LoginAttempt("state", "nonce", "verifier", 1_800_000_000.0, 0, ("mfa",))
BEGUN = BegunLogin(ATTEMPT, hash_secret("browser"), "/page/a/main/")
NOW = 1_800_000_000.0


@pytest.fixture
def database(team_database: TeamDatabase) -> TeamDatabase:
    migrate_service(team_database.server.dsn(), APP)
    with psycopg.connect(team_database.server.dsn()) as db:
        db.execute("TRUNCATE service.logins, service.sessions")
    return team_database


@pytest.fixture
def store(database: TeamDatabase) -> DatabasePageStore:
    return DatabasePageStore(PageTables(database.connections))


@pytest.fixture
def replica(database: TeamDatabase) -> Generator[DatabasePageStore]:
    """The store of another replica."""
    connections = Connections(database.server.dsn(APP))
    yield DatabasePageStore(PageTables(connections))
    connections.close()


def session(name: str, who: Principal = ANN, opened: float = NOW, flash: str = "") -> StoredSession:
    return StoredSession(hash_secret(name), Login(who, NOW - 5, "mfa"), opened, opened, flash)


def test_a_login_is_taken_once_and_by_any_replica(
    store: DatabasePageStore, replica: DatabasePageStore
):
    store.add_login(hash_secret("state"), BEGUN)
    assert replica.take_login(hash_secret("other")) is None
    assert replica.take_login(hash_secret("state")) == BEGUN
    assert store.take_login(hash_secret("state")) is None


def test_of_many_that_take_a_login_at_once_one_gets_it(store: DatabasePageStore):
    store.add_login(hash_secret("state"), BEGUN)
    ready = Barrier(4)

    def take(_: int) -> BegunLogin | None:
        ready.wait(20)
        return store.take_login(hash_secret("state"))

    with ThreadPoolExecutor(4) as pool:
        taken = [found for found in pool.map(take, range(4)) if found is not None]
    assert taken == [BEGUN]


def test_a_login_that_took_too_long_is_not_taken(store: DatabasePageStore, database: TeamDatabase):
    store.add_login(hash_secret("state"), BEGUN)
    with psycopg.connect(database.server.dsn()) as db:
        db.execute("UPDATE service.logins SET ends_at = clock_timestamp() - interval '1 second'")
    assert store.take_login(hash_secret("state")) is None


def test_a_session_is_the_same_on_another_replica(
    store: DatabasePageStore, replica: DatabasePageStore
):
    opened = session("cookie", flash="{}")
    store.open_session(opened)
    assert replica.find_session(opened.key) == opened
    replica.touch_session(opened.key, NOW + 60)
    replica.set_flash(opened.key, "")
    assert store.find_session(opened.key) == replace(opened, used_at=NOW + 60, flash="")
    replica.end_session(opened.key)
    assert store.find_session(opened.key) is None


def test_a_new_login_ends_the_session_before_it(store: DatabasePageStore):
    store.open_session(session("before"))
    store.open_session(session("after"), hash_secret("before"))
    assert store.find_session(hash_secret("before")) is None
    assert store.find_session(hash_secret("after")) is not None


def test_the_sessions_of_one_person_are_listed(store: DatabasePageStore):
    for name, who in (("one", ANN), ("two", ANN), ("three", BOB)):
        store.open_session(session(name, who))
    assert {one.key for one in store.list_sessions(ANN.key)} == {
        hash_secret("one"),
        hash_secret("two"),
    }


def test_a_session_that_is_over_is_removed_by_the_next_login(store: DatabasePageStore):
    store.open_session(session("old"))
    store.open_session(session("new", opened=NOW + SESSION_SECONDS + 1))
    assert store.find_session(hash_secret("old")) is None


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE service.sessions",
        "DROP TABLE service.logins",
        "UPDATE service.logins SET state = ''",
    ],
)
def test_the_role_of_the_service_has_no_other_rights(database: TeamDatabase, statement: str):
    with psycopg.connect(database.server.dsn(APP)) as db:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement.encode())
        db.rollback()


def test_the_tables_of_the_service_are_migrated_once(database: TeamDatabase):
    assert migrate_service(database.server.dsn(), APP) == []
