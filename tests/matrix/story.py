"""One story: a write meets a fault at a point; others go on; everything heals; the judge reads it.

The victim's client asks for a refund of a sale. While the fault lasts, another client asks another
replica for the same refund. After it all, the refund and one of a fresh sale must be possible.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from polling import wait_for

from matrix.checker import NOT_JUDGED, Violation, judge
from matrix.driver import Told
from matrix.faults import Fault, Scene
from matrix.points import MINTED, Watch
from matrix.world import Member, World

REFUND = "kartra_refund_transaction"
AMOUNT = "40"
PATIENCE = 60.0
"""Seconds for what takes a few on an idle machine."""

TRIES = 5
FINAL = frozenset({"done", "already_done"})


@dataclass
class Result:
    """Result of one story.

    Attributes:
        reached: the write got to its point.
        dead: patches of the seeded fault that were never called.
        earlier: the same story, as often as it was told before and could not be judged.
    """

    point: str
    fault: str
    reached: bool
    violations: list[Violation]
    codes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    dead: list[str] = field(default_factory=list)
    earlier: list[Result] = field(default_factory=list)

    def __str__(self) -> str:
        found = "; ".join(map(str, self.violations)) or ("holds" if self.reached else "not reached")
        found += "".join(f"; the patch of {name} was never called" for name in self.dead)
        again = "".join(f"; told before: {one}" for one in self.earlier)
        return f"{self.title}: {found} ({', '.join(self.codes)}){again}"

    @property
    def is_caught(self) -> bool:
        """Return whether a property is violated, and every patch was called."""
        return self.is_judged and bool(self.violations) and not self.dead

    @property
    def is_judged(self) -> bool:
        """Return whether the story got to what it is about; one that did not proves nothing."""
        return self.reached and all(one.number != NOT_JUDGED for one in self.violations)

    @property
    def title(self) -> str:
        return f"{self.fault} at {self.point}" if self.point else self.fault


def preview(member: Member, sale: str, amount: str = AMOUNT) -> dict[str, Any]:
    """Ask for a preview and return the arguments of the confirmed call."""
    told = wait(member.replica.call(REFUND, transaction_id=sale, refund_amount=amount))
    assert told is not None, "no preview"
    assert told.code == "confirmation_required", told.answer
    return confirm(told)


def refund(member: Member, sale: str, amount: str = AMOUNT) -> Told | None:
    """Preview and confirm; return the last answer, None where one does not come."""
    arguments = {"transaction_id": sale, "refund_amount": amount}
    told = wait(member.replica.call(REFUND, **arguments))
    if told is None or told.code != "confirmation_required":
        return told
    return wait(member.replica.call(REFUND, **confirm(told)))


def confirm(told: Told) -> dict[str, Any]:
    """Return the arguments of the call that agrees to a preview."""
    shown = told.error["confirmation"]
    consent = {"confirmation_id": shown["id"], "confirmation_summary": shown["summary"]}
    return {**told.arguments, "confirm": True, **consent}


def wait(asked: Future[Told], seconds: float = PATIENCE) -> Told | None:
    """Return what the client was told, or None where the answer does not come."""
    with suppress(LateError):
        return asked.result(seconds)
    return None


def settle(member: Member, seconds: float = PATIENCE) -> bool:
    """Reconcile until nothing is open in the ledger, as the service's job does."""
    with suppress(TimeoutError):
        wait_for(lambda: settle_once(member), within=seconds, every=0.15)
        return True
    return False


def settle_once(member: Member) -> bool:
    """Try to settle what is unknown; return whether nothing was open."""
    listed = wait(member.replica.call("kartra_ledger", count=100))
    if listed is None or listed.code != "done":
        return False
    lines = listed.result["lines"]
    unknown = [line["intent"] for line in lines if line["state"] == "unknown"]
    for intent in unknown:
        wait(member.replica.call("kartra_reconcile", intent=intent))
    return not unknown and all(line["state"] != "running" for line in lines)


def tell(
    world: World,
    point: str,
    fault: Fault,
    seeded: Sequence[str] = (),
    patience: float = PATIENCE,
) -> Result:
    """Tell one story on a ledger of its own and judge it; `patience` is for what must settle."""
    started = time.monotonic()
    world.new_ledger(seeded, sync=fault.sync)
    scene = Scene(world, world.add("victim", seeded), world.add("rival", seeded))
    skip = measure_skip(world, scene.victim)
    refund(scene.rival, world.new_sale())
    sale, fresh = world.new_sale(), world.new_sale()
    reached = meet(scene, point, fault, skip, sale)
    if world.had_failover:
        refund(scene.rival, sale)  # it remembers what it saw
    last = world.operate() if world.had_failover else scene.rival
    again = finish_with(last, sale, patience)
    works = finish_with(last, fresh, patience) if again else None
    history = world.collect([works] if again is None or again.code in FINAL else [works, again])
    codes, dead = list_codes(world), world.list_dead_patches()
    world.clear()
    took = time.monotonic() - started
    return Result(point, fault.name, reached, judge(history), codes, took, dead)


def list_codes(world: World) -> list[str]:
    """Return what each replica's clients were told about refunds that they had agreed to."""
    return [
        f"{member.name} {told.code}"
        for member in world.members
        for told in member.replica.told
        if told.tool == REFUND and told.code != "confirmation_required"
    ]


def meet(scene: Scene, point: str, fault: Fault, skip: int, sale: str) -> bool:
    """Let the victim's write meet the fault, others go on, and all heal; return if it met it."""
    victim = scene.victim
    arguments = preview(victim, sale)
    fault.prepare(scene)
    watch = Watch(point, lambda: strike(scene, point, fault), skip)
    if point == MINTED:
        victim.replica.arm(MINTED)
    if point == "accepted":
        scene.world.upstream.arrange("fault", "set", "refund_transaction", "queued", "--message=1")
    victim.watch(watch)
    asked = victim.replica.call(REFUND, **arguments)
    reached = wait_for_point(watch, asked)
    go_on(scene, fault, sale)
    victim.watch(None)
    if reached:
        fault.heal(scene)
    else:
        scene.world.heal()
    wait(asked)
    return reached


def strike(scene: Scene, point: str, fault: Fault) -> None:
    if point == "accepted":
        with suppress(TimeoutError):
            wait_for(scene.world.upstream.is_executing, within=5)
    fault.strike(scene)
    if point == MINTED and not scene.victim.replica.is_paused:
        scene.victim.replica.resume()  # it had stopped itself


def measure_skip(world: World, member: Member) -> int:
    """Refund in peace, and return how many transactions a call begins before its intent."""
    refund(member, world.new_sale())  # the first call does more
    arguments = preview(member, world.new_sale())
    watch = Watch("")
    member.watch(watch)
    wait(member.replica.call(REFUND, **arguments))
    member.watch(None)
    return max(watch.intent_at, 0)


def wait_for_point(watch: Watch, asked: Future[Told]) -> bool:
    """Return whether the write got to its point before its call ended; its fault is there then."""
    with suppress(TimeoutError):
        wait_for(lambda: watch.reached.is_set() or asked.done(), within=PATIENCE)
    return watch.stop()


def go_on(scene: Scene, fault: Fault, sale: str) -> None:
    """The other client asks for the same; with a patient fault, until it has its refund."""
    refund(scene.rival, sale)
    if not fault.patient:
        return
    settle(scene.rival)
    refund(scene.rival, sale)


def finish_with(member: Member, sale: str, patience: float = PATIENCE) -> Told | None:
    """After healing: settle, and refund a sale; again where the time to send it was too short."""
    if not settle(member, patience):
        return None
    told = refund(member, sale)
    for _ in range(TRIES - 1):
        if told is None or told.code != "not_enough_time":
            break
        told = refund(member, sale)
    return told
