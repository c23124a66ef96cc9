"""Random runs of whole replicas: people, faults and their times by a seed; then the judge."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matrix import soak
from matrix.checker import NOT_JUDGED, Violation, check, effects_after_their_time
from matrix.driver import Told
from matrix.points import MINTED, POINTS, Watch
from matrix.story import FINAL, Result
from matrix.whole.faults import FAULTS, WholeFault, resume_writes
from matrix.whole.people import (
    ERAS,
    TRIES,
    BulkStory,
    Person,
    give,
    refund,
    tag,
)
from matrix.whole.world import ACCOUNTS, REPLICAS, WholeWorld

LONGEST_FAULT = 6.0
"""Longer than the right to send: a replica that was stopped so long finds its right ended."""

LONGEST_DELAY = 1.5
AMOUNTS = ("40.00", "40.00", "25.00", "97.00")
SEEN_POINTS = tuple(point for point in POINTS if point != MINTED)
"""Points that show on the wire; a whole replica has no hook for the other one."""

KINDS = ("refund", "refund", "refund", "give", "tag", "bulk")
UPSTREAM = (*soak.UPSTREAM[:-1], ("delayed", "--message=6"))
"""The last of them comes later than the right to send of a whole replica lasts."""
COMMANDS = ("refund_transaction", "assign_tag", "give_points_to_lead")


@dataclass(frozen=True, slots=True)
class WholeStrike:
    """A fault at a point of a write, or after a while where `point` is "", for some seconds."""

    fault: WholeFault
    replica: int
    point: str
    delay: float
    seconds: float


@dataclass(frozen=True, slots=True)
class WholeAsking:
    """Act of one person; two with the same `target` want the same."""

    kind: str
    login: str
    account: str
    target: int
    amount: str
    era: str
    delay: float
    times: int


@dataclass(frozen=True)
class WholeSchedule:
    seed: int
    strikes: Sequence[WholeStrike]
    askings: Sequence[WholeAsking]
    upstream: tuple[str, ...] = ()

    def __str__(self) -> str:
        struck = [
            f"{one.fault.name} {f'at {one.point}' if one.point else 'by time'} on {one.replica}"
            for one in self.strikes
        ]
        return (
            f"run {self.seed}: {', '.join(struck)}; upstream {' '.join(self.upstream) or 'sound'}"
        )


def draw(seed: int) -> WholeSchedule:
    """Return the schedule of a seed."""
    dice = random.Random(seed)
    chosen = [dice.choice(FAULTS) for _ in range(dice.choice((1, 1, 2, 2, 3)))]
    # One standby allows one failover, and what hits the pair leaves nothing to the others.
    chosen = [one for one in chosen if one.alone][:1] or chosen
    strikes = [
        WholeStrike(
            one,
            dice.randrange(REPLICAS),
            dice.choice((*SEEN_POINTS, *("",) * 6)),
            dice.uniform(0, LONGEST_DELAY),
            dice.uniform(0.5, LONGEST_FAULT),
        )
        for one in chosen
    ]
    askings = [_draw_asking(dice, number) for number in range(dice.randrange(3, 6))]
    upstream = dice.choice(UPSTREAM)
    return WholeSchedule(
        seed, strikes, askings, (dice.choice(COMMANDS), *upstream) if upstream else ()
    )


def _draw_asking(dice: random.Random, number: int) -> WholeAsking:
    kind = dice.choice(KINDS)
    billing = dice.choice(("bea", "ben"))
    return WholeAsking(
        kind,
        billing if kind == "refund" else "sam",
        dice.choice((ACCOUNTS[0], ACCOUNTS[0], ACCOUNTS[1])),
        # Refunds of one sale race; of one lead with points, the second would be another write.
        dice.randrange(2) if kind == "refund" else 10 + number,
        dice.choice(AMOUNTS),
        dice.choice(ERAS),
        dice.choice((0.0, 0.0, dice.uniform(0, LONGEST_DELAY))),
        dice.choice((1, 1, 2)),
    )


def play(world: WholeWorld, schedule: WholeSchedule) -> Result:
    """Play one run and judge it."""
    started, before = time.monotonic(), world.count_told()
    if schedule.upstream:
        for account in ACCOUNTS:
            world.upstreams[account].arrange("fault", "set", *schedule.upstream)
    targets: dict[tuple[str, int], str] = {}
    for one in schedule.askings:
        key = one.account, one.target
        targets[key] = targets.get(key) or world.new_target(one.account)
    bulks: list[BulkStory] = []
    ended, struck = threading.Event(), list[WholeStrike]()
    strikers = [
        threading.Thread(target=_strike, args=(world, one, ended, struck))
        for one in schedule.strikes
    ]
    askers = [
        threading.Thread(target=_ask, args=(world, one, targets[one.account, one.target], bulks))
        for one in schedule.askings
    ]
    for thread in (*strikers, *askers):
        thread.start()
    for thread in askers:
        thread.join()
    ended.set()
    for thread in strikers:
        thread.join()
    title = f"{schedule}; {len(struck)} of {len(strikers)} struck"
    found = conclude(world, bulks)
    codes = world.list_codes(before)
    return Result("", title, True, found, codes, time.monotonic() - started)


def conclude(world: WholeWorld, bulks: Sequence[BulkStory]) -> list[Violation]:
    """Let everything heal and settle, and judge both accounts."""
    for account in ACCOUNTS:
        world.upstreams[account].arrange("fault", "clear")
    world.heal()
    resume_writes(world)
    found: list[Violation] = []
    try:
        world.settle()
    except TimeoutError:
        found += [Violation(8, _explain(world, *one)) for one in world.list_open()]
    ends = [(one, one.finish()) for one in bulks]
    found += [
        Violation(8, f"the bulk run {one.bulk_id} ended with {end.code}: {end.answer}")
        for one, end in ends
        if end is not None and not is_finished(end)
    ]
    for account in ACCOUNTS:
        found += judge_account(world, account)
    return found


def _explain(world: WholeWorld, account: str, intent: str) -> str:
    """Return what a look at an intent gives that the jobs did not settle in time."""
    told = Person(world, "bea", account).call("kartra_reconcile", intent=intent)
    return f"{account}: {intent} was not settled in time: {told.answer}"


def judge_account(world: WholeWorld, account: str) -> list[Violation]:
    """Refund a fresh sale, verify the ledger, and judge everything that happened so far."""
    fresh = _refund_fresh(world, account)
    why = world.verify(account)
    history = world.collect(account, [fresh])
    late = list(effects_after_their_time(history))
    if late:
        return [Violation(NOT_JUDGED, f"{account}: {late[0]}")]
    found = [Violation(one.number, f"{account}: {one.text}") for one in check(history)]
    return found + ([Violation(7, f"{account}: {why}")] if why else [])


def is_finished(told: Told) -> bool:
    """Return whether each item of a run came to its end."""
    return told.code == "done" and told.result["state"] == "done" and not told.result["left"]


def _refund_fresh(world: WholeWorld, account: str) -> Told:
    person, sale = Person(world, "bea", account), world.new_target(account)
    told = refund(person, sale, "40.00")
    for _ in range(TRIES):
        if told.code in FINAL:
            break
        world.settle()
        told = refund(person, sale, "40.00")
    return told


def _ask(world: WholeWorld, asking: WholeAsking, target: str, bulks: list[BulkStory]) -> None:
    time.sleep(asking.delay)  # part of the schedule: when this person asks, by chance
    person = Person(world, asking.login, asking.account, asking.era)
    works: dict[str, Callable[[], object]] = {
        "refund": lambda: refund(person, target, asking.amount),
        "give": lambda: give(person, target, 7),
        "tag": lambda: tag(person, target),
    }
    if asking.kind == "bulk":
        leads = [target, *(world.new_target(asking.account) for _ in range(2))]
        story = BulkStory(person, leads)
        bulks.append(story)
        story.begin()
        return
    for _ in range(asking.times):
        works[asking.kind]()


def _strike(
    world: WholeWorld, planned: WholeStrike, ended: threading.Event, struck: list[WholeStrike]
) -> None:
    """Strike at the point or after the delay, and heal after a while."""
    fault, victim = planned.fault, world.replicas[planned.replica]
    if planned.point:
        watch = Watch(planned.point, lambda: fault.strike(world, victim))
        victim.watch(watch)
        while not watch.reached.wait(0.05) and not ended.is_set():
            pass
        if not watch.stop():
            return
    else:
        ended.wait(planned.delay)
        fault.strike(world, victim)
    struck.append(planned)
    ended.wait(planned.seconds)
    fault.heal(world, victim)
