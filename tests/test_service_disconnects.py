"""Clients that go away, and two replicas: a write that has begun ends, and runs once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from harness import APISandbox
from polling import wait_for
from service_world import (
    LEGACY,
    MODERN,
    Answer,
    Caller,
    RunningReplica,
    TeamWorld,
    connect,
    raw_request,
    team_world,
)

from kartra_mcp.sandbox.kartra import fault_injection
from kartra_mcp.sandbox.store.database import Account

GIVE, ADA = "kartra_give_points_to_lead", 48110
both_eras = pytest.mark.parametrize("era", [MODERN, LEGACY])


@pytest.fixture(scope="module")
def world(team_database: Any) -> Iterator[TeamWorld]:
    with TemporaryDirectory() as folder, team_world(Path(folder), team_database) as world:
        world.add_account("Main shop")
        for _ in range(2):
            world.start_replica()
        yield world


@pytest.fixture
def account(world: TeamWorld) -> str:
    return next(iter(world.sandboxes))


@pytest.fixture
def place(world: TeamWorld, account: str) -> APISandbox:
    return world.sandboxes[account]


def answer_late(place: APISandbox, command: str, seconds: float) -> None:
    """Let the sandbox do the next one at once, and answer it later."""
    with closing(Account(str(place.file))) as sandbox, sandbox.transaction():
        kind, after = fault_injection.SLOW, f"{seconds}"
        fault_injection.set_fault(sandbox, command, kind, 1, after, effect=True)


def points(place: APISandbox) -> int:
    return place.rows("SELECT coalesce(sum(points), 0) FROM points WHERE lead_id = ?", ADA)[0][0]


def states(caller: Caller) -> list[str]:
    found = caller.call("kartra_ledger", count=20, tool=GIVE).structured["result"]["lines"]
    return [line["state"] for line in found]


def has_no_request(replica: RunningReplica) -> bool:
    return replica.replica.process.count == 0


@both_eras
def test_a_client_that_goes_away_in_a_write_does_not_cancel_it(
    world: TeamWorld, account: str, place: APISandbox, era: str
):
    ann = world.caller(f"ann-{era}", account, "operator", era=era)
    ann.tools()
    before, given = points(place), 7 if era == MODERN else 8
    answer_late(place, "give_points_to_lead", 2)
    with closing(connect(world.replicas[0])) as link:
        link.sendall(raw_request(ann, GIVE, lead_id=ADA, points=given))
        wait_for(lambda: points(place) == before + given)
    second = ann.at(world.replicas[1])
    assert second.call(GIVE, lead_id=ADA, points=given).code == "in_progress"
    wait_for(lambda: states(ann)[0] != "running")
    assert states(ann)[0] == "succeeded"
    assert second.call(GIVE, lead_id=ADA, points=given).code == "already_done"
    assert points(place) == before + given


@both_eras
def test_a_client_that_goes_away_in_a_read_cancels_it(
    world: TeamWorld, account: str, place: APISandbox, era: str
):
    ann = world.caller(f"bob-{era}", account, "operator", era=era)
    ann.tools()
    replica = world.replicas[0]
    replica.events.calls.clear()
    answer_late(place, "get_lead", 30)
    with closing(connect(replica)) as link:
        link.sendall(raw_request(ann, "kartra_get_lead", lead_id=ADA))
        wait_for(lambda: not place.rows("SELECT 1 FROM faults"))
    wait_for(lambda: replica.events.calls)
    (event,) = replica.events.calls
    assert (event.tool, event.outcome) == ("kartra_get_lead", "cancelled")


def test_an_equal_write_at_once_on_two_replicas_runs_once(
    world: TeamWorld, account: str, place: APISandbox
):
    ann = world.caller("eve", account, "operator")
    callers = [ann.at(replica) for replica in world.replicas] * 2
    before = points(place)

    def give(caller: Caller) -> Answer:
        return caller.call(GIVE, lead_id=ADA, points=31)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(give, callers))
    codes = sorted(answer.code for answer in answers)
    assert codes.count("done") == 1
    assert set(codes) <= {"done", "in_progress", "already_done"}
    assert points(place) == before + 31


def test_two_users_with_the_same_request_ids_get_their_own_answers(world: TeamWorld, account: str):
    people = [world.caller(f"user-{n}", account, "viewer") for n in range(6)]

    def ask(number: int) -> str:
        person = people[number % 6].at(world.replicas[number % 2])
        params = {"name": "kartra_status", "arguments": {}}
        answer = person.ask("tools/call", params, number=1)
        assert answer.message["id"] == 1
        return answer.structured["result"]["you"]["name"]

    with ThreadPoolExecutor(6) as pool:
        names = list(pool.map(ask, range(24)))
    assert names == [f"user-{number % 6}" for number in range(24)]


def test_a_bulk_run_of_a_replica_that_ends_goes_on_at_another(
    world: TeamWorld, account: str, place: APISandbox
):
    leaving = world.start_replica(MAX_CHILDREN="1")
    ann = world.caller("finn", account, "operator")
    items = [{"lead_id": ADA, "points": 300 + number} for number in range(6)]
    asked = ann.call("kartra_bulk_run", tool=GIVE, items=items).tool_error["confirmation"]
    agreed = {"confirm": True, "confirmation_id": asked["id"]}
    agreed |= {"confirmation_summary": asked["summary"], "bulk_id": asked["bulk_id"]}
    before = points(place)
    answer_late(place, "give_points_to_lead", 2)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ann.at(leaving).call, "kartra_bulk_run", **agreed)
        wait_for(lambda: points(place) > before)
        leaving.stop()
        first = running.result().structured["result"]
    assert (first["state"], first["failed"]) == ("running", 0)
    done = ann.call("kartra_bulk_run", bulk_id=asked["bulk_id"]).structured["result"]
    assert (done["state"], done["done"]) == ("done", 6)
    assert points(place) == before + sum(item["points"] for item in items)
