"""Migrations of a team's database: once, unaltered, and with two versions side by side."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

import psycopg
import pytest
from ledger_stores import ACCOUNT, APP, KEY, TeamDatabase, TeamPlace
from postgres_server import PostgresServer, running_postgres

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.errors import LedgerRefusedError
from kartra_mcp.ledger.hash_chain import Head, make_entry
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.migrations import (
    Migration,
    get_version,
    load_migrations,
    migrate,
    parse_migration,
    quote_schema,
    require_version,
)
from kartra_mcp.ledger.postgres.store import StoreOptions, open_team_ledger
from tests.ledger_intents import LIMITS, attempt, intent, run

NEXT = get_version() + 1
OLDEST = 3
"""The oldest version with every table on which `migrate` grants rights."""
NOTE = make_entry(Head(), 1_700_000_000.0, "start", {})
ADD_NOTE = (
    f"INSERT INTO lines VALUES (1, {NOTE.at}, 'start', '{{}}', '{NOTE.prev}', '{NOTE.hash}');"
    f"UPDATE head SET n = 1, hash = '{NOTE.hash}'"
).encode()
EXPAND = "-- Add a column.\n-- compatible: {}\nALTER TABLE approvals ADD COLUMN quorum INTEGER;\n"


@pytest.fixture
def own(team_database: TeamDatabase) -> TeamPlace:
    return team_database.make_account()


def next_migration(compatible: int, text: str = EXPAND) -> tuple[Migration, ...]:
    """The migrations of a newer program."""
    added = parse_migration(f"{NEXT:04}_add_quorum.sql", text.format(compatible))
    return (*load_migrations(), added)


def apply(place: TeamPlace, migrations: tuple[Migration, ...] | None = None) -> list[int]:
    dsn = place.database.server.dsn()
    return migrate(dsn, [place.account], APP, migrations)[place.account]


def test_files_are_numbered_without_a_gap():
    found = load_migrations()
    assert [one.number for one in found] == list(range(1, get_version() + 1))
    assert all(one.oldest_program <= one.number for one in found)


def test_processes_that_migrate_at_once_apply_it_once(team_database: TeamDatabase):
    ready = Barrier(4)

    def apply_once(_: int) -> list[int]:
        ready.wait(20)
        return migrate(team_database.server.dsn(), ["together"], APP)["together"]

    with ThreadPoolExecutor(4) as pool:
        found = sorted(pool.map(apply_once, range(4)))
    assert found == [[], [], [], list(range(1, get_version() + 1))]


def test_an_altered_migration_is_refused(own: TeamPlace):
    first, *rest = load_migrations()
    altered = Migration(1, first.name, f"{first.text}\n-- another line", 1)
    with pytest.raises(LedgerRefusedError, match="was altered"):
        apply(own, (altered, *rest))
    assert apply(own) == []


def test_a_migration_that_fails_changes_nothing(own: TeamPlace):
    broken = next_migration(1, EXPAND + "SELECT 1 / 0;\n")
    with pytest.raises(psycopg.errors.DivisionByZero):
        apply(own, broken)
    with closing(own.open()) as ledger:
        assert attempt(ledger) == "runs"
    assert apply(own, next_migration(1)) == [NEXT]


def test_two_versions_run_side_by_side_while_a_migration_only_adds(own: TeamPlace):
    with closing(own.open()) as ledger:
        run(ledger, intent("1"))
        assert apply(own, next_migration(1)) == [NEXT]
        assert attempt(ledger, "2") == "runs"
        assert ledger.verify().ok
    assert apply(own) == [], "the older program leaves what it does not know"


def test_an_older_ledger_keeps_what_it_has_and_what_protects_it(team_database: TeamDatabase):
    """The tables of each older version, with entries, take every migration since."""
    dsn = team_database.server.dsn()
    for version in range(OLDEST, get_version()):
        place = TeamPlace(team_database, f"since{version}")
        migrate(dsn, [place.account], APP, load_migrations()[:version])
        with psycopg.connect(dsn) as db:
            db.execute(f"SET LOCAL search_path = ledger_{place.account}".encode())
            db.execute(ADD_NOTE)
        assert apply(place) == list(range(version + 1, get_version() + 1))
        with closing(place.open()) as ledger:
            assert attempt(ledger, "1") == "runs"
            assert attempt(ledger, "1") == "in_progress"
            assert ledger.verify().ok
            assert ledger.entry_count() == 2


def test_a_program_refuses_tables_that_it_would_misuse(own: TeamPlace):
    assert apply(own, next_migration(NEXT)) == [NEXT]
    with closing(own.open()) as ledger, pytest.raises(RefusedError) as refused:
        ledger.begin(intent(), LIMITS)
    assert f"schema version {NEXT}" in refused.value.message
    assert "update kartra-mcp" in refused.value.remedy
    with pytest.raises(LedgerRefusedError, match="does not know"):
        apply(own)


def test_older_tables_name_the_command():
    with pytest.raises(LedgerRefusedError) as refused:
        require_version(get_version() - 1, 1)
    assert "kartra-mcp team migrate" in refused.value.remedy
    require_version(NEXT, get_version())


@pytest.mark.parametrize(
    ("name", "text"), [("1_x.sql", "-- compatible: 1"), ("0001_x.sql", "SELECT 1")]
)
def test_a_file_of_another_form_is_no_migration(name: str, text: str):
    with pytest.raises(ValueError, match="is not a migration"):
        parse_migration(name, text)


@pytest.mark.parametrize("account", ["", "Main", 'a"b', "a b", "-a", "x" * 41])
def test_an_account_has_a_plain_name(account: str):
    with pytest.raises(ValueError, match="account"):
        quote_schema(account)


def test_a_role_that_owns_its_tables_cannot_change_entries_either(team_database: TeamDatabase):
    """Without an owner's address, `team migrate` runs with the role of the service."""
    server = team_database.server
    server.run_sql("CREATE ROLE alone LOGIN")
    server.run_sql("GRANT CREATE ON DATABASE postgres TO alone")
    migrate(server.dsn("alone"), ["alone"])
    connections = Connections(server.dsn("alone"))
    try:
        options = StoreOptions(durable=False)
        with closing(open_team_ledger(connections, "alone", KEY, options=options)) as ledger:
            run(ledger, intent())
            assert ledger.verify().ok
        for change in ("UPDATE {} SET body = ''", "DELETE FROM {}", "TRUNCATE {}"):
            with psycopg.connect(server.dsn("alone")) as db, pytest.raises(psycopg.Error):
                db.execute(change.format("ledger_alone.lines").encode())
    finally:
        connections.close()


@pytest.fixture
def primary() -> Generator[PostgresServer]:
    with (
        TemporaryDirectory(prefix="kartra-mcp-failover-") as folder,
        running_postgres(Path(folder) / "primary", wal_level="replica") as server,
    ):
        yield server


def test_a_promoted_standby_takes_no_write_until_it_was_swept(primary: PostgresServer):
    primary.run_sql(f"CREATE ROLE {APP} LOGIN")
    migrate(primary.dsn(), [ACCOUNT], APP)
    connections = Connections(primary.dsn(APP))
    lost = intent("1")
    with closing(open_team_ledger(connections, ACCOUNT, KEY)) as ledger:
        ledger.begin(lost, LIMITS)
    connections.close()
    standby = PostgresServer(primary.folder.with_name("standby"), {"hot_standby": "on"})
    standby.copy_of(primary, "standby").start()
    try:
        primary.stop("immediate")
        standby.run_sql("SELECT pg_promote()")
        connections = Connections(standby.dsn(APP))
        with closing(open_team_ledger(connections, ACCOUNT, KEY)) as ledger:
            with pytest.raises(RefusedError) as refused:
                ledger.begin(intent("2"), LIMITS)
            assert "kartra-mcp team settle" in refused.value.remedy
            assert ledger.mark_orphans_unknown() == [], "what happened may still be recorded"
        connections.close()
    finally:
        standby.stop("immediate")
