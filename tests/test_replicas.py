"""Three replicas as processes behind a plain proxy: what one begins, another goes on with."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from matrix.driver import Told
from matrix.story import REFUND, confirm
from matrix.whole.faults import resume_writes, stop_writes
from matrix.whole.load import put_calls
from matrix.whole.people import ERAS, UNASSIGN, BulkStory, Person, approve, give
from matrix.whole.schedule import draw, is_finished, judge_account, play
from matrix.whole.world import ACCOUNTS, WholeWorld, running_whole_world
from polling import wait_for

MAIN, OUTLET = ACCOUNTS
AT_ONCE = 4
"""Items of a bulk run that one replica runs at a time (`KARTRA_MCP_MAX_CHILDREN`)."""
CALLS = 120
"""Five of each client; the clients make twice as many before, which warm the replicas up."""
FAILOVER, KILLED = 1000, 1006
"""Seeds whose faults are the failover of the database, and the kill of one replica."""

SLOW_TAGS = ("fault", "set", "assign_tag", "slow", "--effect", "--message=20", "--times=12")


@pytest.fixture(scope="module")
def world() -> Iterator[WholeWorld]:
    with (
        TemporaryDirectory(prefix="kartra-mcp-replicas-") as folder,
        running_whole_world(Path(folder), RESULT_CHARS="2000") as made,
    ):
        yield made


def at(person: Person, replica: int) -> Person:
    """Let a person call one replica, past the proxy."""
    return replace(person, address=person.world.replicas[replica].address)


@contextmanager
def only(world: WholeWorld, replica: int) -> Generator[None]:
    """Let the proxy pass every connection to one replica: browsers use the public address."""
    backends = list(world.balancer.backends)
    world.balancer.backends[:] = [world.replicas[replica].port]
    try:
        yield
    finally:
        world.balancer.backends[:] = backends


def intents(person: Person) -> set[str]:
    told = person.call("kartra_ledger", count=100)
    return {line["intent"] for line in told.result["lines"]}


@pytest.mark.parametrize("era", ERAS)
def test_one_replica_is_asked_another_approves_and_the_third_refunds(world: WholeWorld, era: str):
    bea = Person(world, "bea", MAIN, era)
    sale = world.new_target(MAIN)
    asked = at(bea, 0).call(REFUND, transaction_id=sale, refund_amount="40.00")
    assert asked.code == "approval_required"
    with only(world, 1):
        assert not approve(world, MAIN, asked.error["confirmation"], login="bea")
        assert approve(world, MAIN, asked.error["confirmation"])
    assert not world.upstreams[MAIN].refunds(sale)
    done = at(bea, 2).call(REFUND, **asked.arguments)
    assert done.code == "done"
    again = at(bea, 0).call(REFUND, **asked.arguments)
    assert (again.code, again.executed) == ("already_done", "no")
    assert [str(one) for one in world.upstreams[MAIN].refunds(sale)] == ["40"]
    intent = done.answer["structured"]["receipt"]["intent"] if done.answer else ""
    assert intent in intents(at(bea, 1))
    assert intent not in intents(Person(world, "bea", OUTLET, era))


@pytest.mark.parametrize("era", ERAS)
def test_a_preview_of_one_replica_is_confirmed_at_another(world: WholeWorld, era: str):
    sam = Person(world, "sam", OUTLET, era)
    lead = world.new_target(OUTLET)
    tagged = at(sam, 0).call("kartra_assign_tag", lead_id=lead, tag_name="VIP")
    assert tagged.code == "done"
    asked = at(sam, 1).call(UNASSIGN, lead_id=lead, tag_name="VIP")
    assert asked.code == "confirmation_required"
    other = at(Person(world, "bea", OUTLET, era), 2).call(UNASSIGN, **confirm(asked))
    assert other.code == "confirmation_mismatch"
    assert at(sam, 2).call(UNASSIGN, **confirm(asked)).code == "done"


def test_a_bulk_run_whose_replica_is_killed_goes_on_at_another(world: WholeWorld):
    sam = Person(world, "sam", MAIN)
    leads = [world.new_target(MAIN) for _ in range(12)]
    world.upstreams[MAIN].arrange(*SLOW_TAGS)
    story = BulkStory(at(sam, 0), leads)
    assert story.plan().code == "confirmation_required"

    def has_begun() -> bool:
        """All that run at once have had their effect: none is on its way when the replica dies."""
        return len(world.upstreams[MAIN].executions(leads)) == AT_ONCE

    with story.agreeing():
        wait_for(has_begun)
        world.replicas[0].kill()
    world.upstreams[MAIN].arrange("fault", "clear")
    assert story.is_agreed  # its answer was lost

    def is_over() -> bool:
        """Continue; the item of the killed replica runs until its time to answer is over."""
        end = story.finish()
        return end is not None and is_finished(end)

    try:
        story.person = at(sam, 1)
        wait_for(is_over, every=0.5)
    finally:
        world.heal()
    world.settle()
    assert sorted(one.target for one in world.upstreams[MAIN].executions(leads)) == leads
    assert judge_account(world, MAIN) == []


@pytest.mark.parametrize("era", ERAS)
def test_a_long_result_of_one_replica_is_read_at_another(world: WholeWorld, era: str):
    sam = Person(world, "sam", MAIN, era)
    found = at(sam, 0).call("kartra_get_lead", lead_id=48110)
    assert found.answer is not None
    result = found.answer["structured"]["truncated"]["result_id"]
    assert at(sam, 1).call("kartra_read_more", result_id=result).code == "done"
    other = at(Person(world, "bea", MAIN, era), 1)
    assert other.call("kartra_read_more", result_id=result).code == "result_expired"


def test_stopped_writes_are_stopped_on_every_replica_and_in_one_account(world: WholeWorld):
    sam = Person(world, "sam", MAIN)
    with only(world, 0):
        stop_writes(world, world.replicas[0])
    try:
        for replica in range(len(world.replicas)):  # at once: nothing that a replica keeps is asked
            told = give(at(sam, replica), world.new_target(MAIN), 5)
            assert (told.code, told.executed) == ("writes_stopped", "no")
        outlet = Person(world, "sam", OUTLET)
        assert give(outlet, world.new_target(OUTLET), 5).code == "done"
    finally:
        resume_writes(world)
    for replica in range(len(world.replicas)):
        assert give(at(sam, replica), world.new_target(MAIN), 6).code == "done"
    assert judge_account(world, MAIN) == []


@pytest.mark.parametrize("seed", [KILLED, FAILOVER])
def test_a_run_of_the_soak_holds_every_property(world: WholeWorld, seed: int):
    """`make soak-team WHOLE=1` plays hundreds of them."""
    result = play(world, draw(seed))
    assert result.violations == [], str(result)


def test_each_of_many_answers_reaches_its_caller_and_nothing_grows(world: WholeWorld):
    """`make soak-team CALLS=10000` makes more of them."""
    load = put_calls(world, CALLS)
    assert load.answered == CALLS
    assert load.faults == [], str(load)


def test_the_judge_finds_a_fault_in_whole_replicas(tmp_path: Path):
    """A replica that ignores the stop of all writes."""
    with running_whole_world(tmp_path, ["stop of writes ignored"], count=1) as made:
        stop_writes(made, made.replicas[0])
        assert give(Person(made, "sam", MAIN), made.new_target(MAIN), 5).code == "done"
        found = judge_account(made, MAIN)
    assert {one.number for one in found} == {9}, found


def test_told_is_lost_where_no_replica_answers(world: WholeWorld):
    gone = replace(Person(world, "sam", MAIN), address="http://127.0.0.1:1")
    told: Told = gone.call("kartra_status")
    assert (told.code, told.executed) == ("lost", "unknown")
