"""Stories that need more than one write at a point: races, caps, consents, late effects.

Each is a function of a world that plays on a ledger of its own and returns what happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from decimal import Decimal

from polling import wait_for

from matrix.checker import NOT_JUDGED, Violation, judge
from matrix.driver import Told
from matrix.history import Caps, Execution, History
from matrix.points import Watch
from matrix.story import (
    REFUND,
    Result,
    finish_with,
    list_codes,
    preview,
    refund,
    settle,
    wait,
    wait_for_point,
)
from matrix.world import CAPS, WRITES, Member, World

Script = Callable[[World, Sequence[str]], History]
ROUNDS = 4
LATE = "--message=10"
"""Seconds by which a request arrives late: the refund is made anew after five, or more."""

LATE_EFFECT = 4.0
SLOW_KARTRA = {**WRITES, "settle_seconds": 6.0}
"""A late effect leaves so much time for the first look, and comes in the time that Kartra has."""


class NotJudgedError(Exception):
    """The story did not get to what it is about, for example because the machine is slow."""


def race(world: World, seeded: Sequence[str]) -> History:
    """Two replicas get the same agreed refund at the same moment, several times."""
    members = _begin(world, seeded)
    for _ in range(ROUNDS):
        sale = world.new_sale()
        _at_once(members, [preview(one, sale) for one in members])
    return world.collect(is_calm=True)


def race_for_a_cap(world: World, seeded: Sequence[str]) -> History:
    """Two refunds of different sales, of which the cap of the day leaves room for one."""
    members = _begin(world, seeded, Caps(Decimal(60), 1000))
    _at_once(members, [preview(one, world.new_sale()) for one in members])
    return world.collect(is_calm=True)


def consent_used_again(world: World, seeded: Sequence[str]) -> History:
    """Kartra refuses a refund; the same consent comes again, to another replica."""
    first, second = _begin(world, seeded)
    arguments = preview(first, world.new_sale())
    world.upstream.arrange("fault", "set", "refund_transaction", "internal")
    told = wait(first.replica.call(REFUND, **arguments))
    require(told is not None and told.code != "done", "the refund was not refused")
    require(settle(second), "the refused refund was not settled")
    wait(second.replica.call(REFUND, **arguments))
    return world.collect([finish_with(second, world.new_sale())])


def effect_after_a_lost_answer(world: World, seeded: Sequence[str]) -> History:
    """The answer is lost, and Kartra applies the refund later; the other looks meanwhile."""
    first, second = _begin(world, seeded, writes=SLOW_KARTRA)
    sale = world.new_sale()
    words = ("refund_transaction", "killed", "--effect", f"--after={LATE_EFFECT}")
    world.upstream.arrange("fault", "set", *words)
    refund(first, sale)
    settle(second)
    refund(second, sale)
    with suppress(TimeoutError):
        wait_for(lambda: _find_late(world, sale), within=30)
    effect = _find_late(world, sale)
    require(effect is not None, "the late effect did not come")
    looks = [told for told in second.replica.told if told.tool == "kartra_reconcile"]
    is_early = bool(looks) and effect is not None and looks[0].ended < effect.at
    require(is_early, "the first look came after the effect")
    return world.collect([finish_with(second, world.new_sale())])


def request_that_arrives_late(world: World, seeded: Sequence[str]) -> History:
    """The network holds the request back until its token has ended; the refund is made anew."""
    first, second = _begin(world, seeded)
    sale = world.new_sale()
    world.upstream.arrange("fault", "set", "refund_transaction", "delayed", LATE)
    asked = first.replica.call(REFUND, **preview(first, sale))
    refund(second, sale)
    settle(second)
    refund(second, sale)
    require(not asked.done(), "the request arrived before the refund was made anew")
    wait(asked)
    return world.collect([finish_with(second, world.new_sale())])


def _find_late(world: World, sale: str) -> Execution | None:
    """Return the effect of a sale that came long after its request, or None."""
    done = world.upstream.executions([sale])
    return next((one for one in done if one.at - (one.received_at or one.at) > 1), None)


def late_outcome(world: World, seeded: Sequence[str]) -> History:
    """The owner sleeps before it reads its answer, is called unknown, and wakes; nobody settles."""
    first, second = _begin(world, seeded)
    arguments = preview(first, world.new_sale())
    watch = Watch("applied", first.replica.pause)
    first.watch(watch)
    asked = first.replica.call(REFUND, **arguments)
    require(wait_for_point(watch, asked), "the answer did not come")
    try:
        wait_for(lambda: _has_unknown(second), within=30, every=0.2)
    except TimeoutError:
        raise NotJudgedError("the refund did not become unknown") from None
    first.watch(None)
    first.replica.resume()
    wait(asked)
    return world.collect()


def late_request_under_a_wrong_clock(world: World, seeded: Sequence[str]) -> History:
    """As `request_that_arrives_late`, from a replica whose clock is ten minutes ahead.

    The product compares the clocks and refuses; a fault lets the request be sent.
    """
    first, second = _begin(world, seeded)
    sale = world.new_sale()
    arguments = preview(first, sale)
    first.replica.set_clock(600)
    world.upstream.arrange("fault", "set", "refund_transaction", "delayed", LATE)
    asked = first.replica.call(REFUND, **arguments)
    refund(second, sale)
    settle(second)
    refund(second, sale)
    is_refused = asked.done() and asked.result().code == "writes_stopped"
    require(is_refused or not asked.done(), "the request arrived before the refund was made anew")
    wait(asked)
    return world.collect([finish_with(second, world.new_sale())])


def writes_stopped(world: World, seeded: Sequence[str]) -> History:
    """A person stops all writes through one replica; the other has an agreed refund, and new ones.

    Two persons let them resume.
    """
    first, second = _begin(world, seeded)
    agreed = preview(second, world.new_sale())
    first.replica.stop_writes(True)
    wait(second.replica.call(REFUND, **agreed))
    refund(second, world.new_sale())
    refund(first, world.new_sale())
    second.replica.stop_writes(False)
    return world.collect([finish_with(first, world.new_sale())], is_calm=True)


def _has_unknown(member: Member) -> bool:
    listed = wait(member.replica.call("kartra_ledger", count=100))
    assert listed is not None
    return any(line["state"] == "unknown" for line in listed.result["lines"])


def require(condition: bool, otherwise: str) -> None:  # noqa: FBT001  it reads like an assertion
    """Raise `NotJudgedError` where a story did not come so far."""
    if not condition:
        raise NotJudgedError(otherwise)


def _begin(
    world: World,
    seeded: Sequence[str],
    caps: Caps = CAPS,
    writes: Mapping[str, float] = WRITES,
) -> tuple[Member, Member]:
    world.new_ledger(seeded, caps=caps, writes=writes)
    members = world.add("first", seeded), world.add("second", seeded)
    if caps is CAPS:
        for member in members:
            refund(member, world.new_sale())  # the first call of a replica does more
    return members


def _at_once(members: Sequence[Member], arguments: Sequence[dict[str, object]]) -> None:
    asked: list[Future[Told]] = [
        member.replica.call(REFUND, **given)
        for member, given in zip(members, arguments, strict=True)
    ]
    for one in asked:
        wait(one)


def tell_script(world: World, name: str, seeded: Sequence[str] = ()) -> Result:
    """Tell one of these stories and judge it."""
    started = time.monotonic()
    told = Result("", name, reached=True, violations=[])
    try:
        told.violations = judge(SCRIPTS[name](world, seeded))
        told.codes, told.dead = list_codes(world), world.list_dead_patches()
    except NotJudgedError as problem:
        told.violations = [Violation(NOT_JUDGED, str(problem))]
    finally:
        world.heal()
        world.upstream.arrange("fault", "clear")
        world.clear()
    told.seconds = time.monotonic() - started
    return told


SCRIPTS: dict[str, Script] = {
    "race": race,
    "race for a cap": race_for_a_cap,
    "consent used again": consent_used_again,
    "effect after a lost answer": effect_after_a_lost_answer,
    "request that arrives late": request_that_arrives_late,
    "late outcome": late_outcome,
    "late request under a wrong clock": late_request_under_a_wrong_clock,
    "writes stopped": writes_stopped,
}
