"""Stories that need more than one write at a point: races, caps, consents, late effects.

Each is a function of a world that plays on a ledger of its own and returns what happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from decimal import Decimal

from polling import wait_for

from matrix.checker import check
from matrix.driver import Told
from matrix.history import Caps, History
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
from matrix.world import CAPS, Member, World

Script = Callable[[World, Sequence[str]], History]
ROUNDS = 4


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
    wait(first.replica.call(REFUND, **arguments))
    settle(second)
    wait(second.replica.call(REFUND, **arguments))
    return world.collect([finish_with(second, world.new_sale())])


def effect_after_a_lost_answer(world: World, seeded: Sequence[str]) -> History:
    """The answer is lost, and Kartra applies the refund later; the other looks meanwhile."""
    first, second = _begin(world, seeded)
    sale = world.new_sale()
    _arrange_late(world, 0.8)
    refund(first, sale)
    settle(second)
    refund(second, sale)
    return world.collect([finish_with(second, world.new_sale())])


def request_that_arrives_late(world: World, seeded: Sequence[str]) -> History:
    """The network holds the request back until its token has ended; the refund is made anew."""
    first, second = _begin(world, seeded)
    sale = world.new_sale()
    world.upstream.arrange("fault", "set", "refund_transaction", "delayed", "--message=6")
    asked = first.replica.call(REFUND, **preview(first, sale))
    refund(second, sale)
    settle(second)
    refund(second, sale)
    wait(asked)
    return world.collect([finish_with(second, world.new_sale())])


def late_outcome(world: World, seeded: Sequence[str]) -> History:
    """The owner sleeps before it reads its answer, is called unknown, and wakes; nobody settles."""
    first, second = _begin(world, seeded)
    arguments = preview(first, world.new_sale())
    watch = Watch("applied", first.replica.pause)
    first.watch(watch)
    asked = first.replica.call(REFUND, **arguments)
    wait_for_point(watch, asked)
    with suppress(TimeoutError):
        wait_for(lambda: _has_unknown(second), within=30, every=0.2)
    first.watch(None)
    first.replica.resume()
    wait(asked)
    return world.collect()


def late_request_under_a_wrong_clock(world: World, seeded: Sequence[str]) -> History:
    """As `request_that_arrives_late`, from a replica whose clock is ten minutes ahead."""
    first, second = _begin(world, seeded)
    sale = world.new_sale()
    arguments = preview(first, sale)
    first.replica.set_clock(600)
    world.upstream.arrange("fault", "set", "refund_transaction", "delayed", "--message=6")
    asked = first.replica.call(REFUND, **arguments)
    refund(second, sale)
    settle(second)
    refund(second, sale)
    wait(asked)
    return world.collect([finish_with(second, world.new_sale())])


def _has_unknown(member: Member) -> bool:
    listed = wait(member.replica.call("kartra_ledger", count=100))
    assert listed is not None
    return any(line["state"] == "unknown" for line in listed.result["lines"])


def _arrange_late(world: World, seconds: float) -> None:
    words = ("refund_transaction", "killed", "--effect", f"--after={seconds}")
    world.upstream.arrange("fault", "set", *words)


def _begin(world: World, seeded: Sequence[str], caps: Caps = CAPS) -> tuple[Member, Member]:
    world.new_ledger(seeded, caps=caps)
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
    try:
        found = check(SCRIPTS[name](world, seeded))
        codes = list_codes(world)
    finally:
        world.clear()
    return Result(
        "", name, reached=True, violations=found, codes=codes, seconds=time.monotonic() - started
    )


SCRIPTS: dict[str, Script] = {
    "race": race,
    "race for a cap": race_for_a_cap,
    "consent used again": consent_used_again,
    "effect after a lost answer": effect_after_a_lost_answer,
    "request that arrives late": request_that_arrives_late,
    "late outcome": late_outcome,
    "late request under a wrong clock": late_request_under_a_wrong_clock,
}
