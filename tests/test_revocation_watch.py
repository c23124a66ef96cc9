"""The list of revoked accesses of a replica: too old, damaged, of another history, unreadable."""

from __future__ import annotations

import pytest

from kartra_mcp.ledger.postgres.revocation_feed import RevocationFeed
from kartra_mcp.ledger.revocations import Admin
from kartra_mcp.service.revocation_watch import MAX_AGE_SECONDS, RevocationWatch
from tests.ledger_stores import TeamDatabase, TeamPlace
from tests.team_people import ANN, BOB, Time

IDA = Admin("Ida IT")


@pytest.fixture
def place(team_database: TeamDatabase) -> TeamPlace:
    return team_database.make_account()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def watch(team_database: TeamDatabase, place: TeamPlace, clock: Time) -> RevocationWatch:
    feed = RevocationFeed(team_database.connections)
    return RevocationWatch(feed, [place.account], lambda _: None, clock=clock)


def revoke(place: TeamPlace, key: str) -> None:
    place.open().revocations.revoke(key, IDA, "left")


def alter(place: TeamPlace, *statements: str) -> None:
    """Change tables as their owner can, who may leave the triggers out."""
    own = f"SET search_path = ledger_{place.account}; SET session_replication_role = replica; "
    place.database.server.run_sql(own + "; ".join(statements))


def test_a_list_that_cannot_be_read_any_more_is_not_known_after_a_minute(
    watch: RevocationWatch, place: TeamPlace, clock: Time
):
    assert watch.has(place.account, ANN.key) is None
    revoke(place, BOB.key)
    watch.read()
    alter(place, "REVOKE SELECT ON lines FROM kartra_app")
    clock.at += MAX_AGE_SECONDS
    watch.read()
    assert [watch.has(place.account, one.key) for one in (ANN, BOB)] == [False, True]
    clock.at += 1
    assert [watch.has(place.account, one.key) for one in (ANN, BOB)] == [None, None]
    alter(place, "GRANT SELECT ON lines TO kartra_app")
    watch.read()
    assert [watch.has(place.account, one.key) for one in (ANN, BOB)] == [False, True]


@pytest.mark.parametrize("body", ["5", "null", "{}", '{"key": "x"}', "no JSON"])
def test_a_damaged_entry_ends_neither_the_reading_nor_lets_anybody_in(
    watch: RevocationWatch, place: TeamPlace, clock: Time, body: str
):
    revoke(place, ANN.key)
    watch.read()
    alter(place, "DROP INDEX lines_revocation", f"UPDATE lines SET body = '{body}'")
    clock.at += MAX_AGE_SECONDS + 1
    watch.read()
    watch.read()
    assert watch.has(place.account, BOB.key) is None


def test_a_ledger_of_another_history_is_read_from_its_begin(
    watch: RevocationWatch, place: TeamPlace
):
    """A failover that forgot commits: numbers come again, with other entries."""
    revoke(place, ANN.key)
    watch.read()
    alter(place, "DELETE FROM lines", "UPDATE head SET n = 0, hash = repeat('0', 64)")
    revoke(place, BOB.key)
    watch.read()
    watch.read()
    assert [watch.has(place.account, one.key) for one in (ANN, BOB)] == [False, True]


def test_an_account_that_cannot_be_read_does_not_hide_the_others(
    watch: RevocationWatch, place: TeamPlace
):
    revoke(place, ANN.key)
    watch.accounts = ["not_migrated", place.account]
    watch.read()
    assert watch.has("not_migrated", ANN.key) is None
    assert watch.has(place.account, ANN.key) is True
