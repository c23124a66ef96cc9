"""State that replicas share besides the ledger: the rate limit, and stored results."""

from __future__ import annotations

from typing import Any

from kartra_mcp.ledger.postgres.shared_state import SharedBucket, SharedResults

RATE = 0.01
"""One call in 100 seconds: no test waits for the next one."""


def make_buckets(place: Any) -> tuple[SharedBucket, SharedBucket]:
    connections, account = place.database.connections, place.account
    return SharedBucket(connections, account, RATE), SharedBucket(connections, account, RATE)


def test_replicas_share_one_rate(team_database: Any):
    one, other = make_buckets(team_database.make_empty())
    assert one.reserve() == 0.0
    second = other.reserve()
    assert second is not None
    assert 1 < second <= 100


def test_an_unused_reservation_is_given_back(team_database: Any):
    one, other = make_buckets(team_database.make_empty())
    assert one.reserve() == 0.0
    assert other.reserve() != 0.0
    assert other.release()
    assert one.release()
    assert other.reserve() == 0.0


def test_a_result_expires_and_belongs_to_its_owner(team_database: Any):
    place = team_database.make_empty()
    results = SharedResults(place.database.connections, place.account, 900)
    other_replica = SharedResults(place.database.connections, place.account, 900)
    text = '{"name": "\\u0000\ud800"}'
    assert results.save("id-1", "ann", text)
    assert other_replica.load("id-1", "ann") == text
    assert not other_replica.is_stored("id-1", "bob")
    assert other_replica.load("id-1", "bob") is None
    assert not results.save("id-2", "", text)
    late = SharedResults(place.database.connections, place.account, 0)
    assert not late.is_stored("id-1", "ann")
    assert late.save("id-3", "bob", text)
    assert not results.is_stored("id-1", "ann"), "an expired one is removed"
