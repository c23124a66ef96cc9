"""Random schedules: replicas, clients and faults at random, by a seed.

A schedule is drawn before it begins, so that its seed tells the whole of it but the timing.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from matrix.checker import judge
from matrix.faults import FAULTS, Fault, Scene
from matrix.history import Caps
from matrix.points import MINTED, Watch
from matrix.story import Result, list_codes, refund, settle, strike
from matrix.world import CAPS, Member, World

AMOUNTS = ("40", "40", "40", "25", "97")
REPLICAS = 3
LONGEST_FAULT = 3.0
UPSTREAM: tuple[tuple[str, ...], ...] = (
    (),
    (),
    (),
    ("internal",),
    ("killed", "--effect"),
    ("killed", "--effect", "--after=0.8"),
    ("queued", "--message=1"),
    ("delayed", "--message=1"),
    ("delayed", "--message=5"),
)
"""Faults of the upstream for the first refunds: refused, answer lost, applied or received late."""

TIGHT = (Caps(Decimal(140), 1000), Caps(Decimal(100_000), 4))


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault at a point of a call, on one replica, for some seconds."""

    point: str
    fault: Fault
    replica: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Asking:
    """One client: it asks a replica for a refund, after a while, so many times."""

    replica: int
    sale: int
    amount: str
    delay: float
    times: int


@dataclass(frozen=True)
class Schedule:
    seed: int
    strikes: Sequence[Strike]
    clients: Sequence[Asking]
    caps: Caps = CAPS
    sync: bool = True
    upstream: tuple[str, ...] = ()

    def __str__(self) -> str:
        struck = [f"{one.fault.name} at {one.point} on {one.replica}" for one in self.strikes]
        words = " ".join(self.upstream) or "sound"
        return f"schedule {self.seed}: {', '.join(struck)}; upstream {words}"


def draw(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    dice = random.Random(seed)
    chosen = [dice.choice(FAULTS) for _ in range(dice.choice((1, 1, 2, 2, 3)))]
    # One standby allows one failover; a fault that holds the stream would stop the other commits.
    chosen = [one for one in chosen if one.alone][:1] or chosen
    strikes = [
        Strike(
            dice.choice(one.points), one, dice.randrange(REPLICAS), dice.uniform(0, LONGEST_FAULT)
        )
        for one in chosen
    ]
    sales = dice.choice((1, 1, 2))
    clients = [
        Asking(
            dice.randrange(REPLICAS),
            dice.randrange(sales),
            dice.choice(AMOUNTS),
            dice.choice((0.0, 0.0, dice.uniform(0, 1.5))),
            dice.choice((1, 2, 3)),
        )
        for _ in range(dice.randrange(2, 6))
    ]
    # Each replica that is to be hit has a write to be hit in.
    clients += [Asking(one.replica, 0, "40", 0.0, 2) for one in strikes]
    caps = dice.choice((CAPS, CAPS, *TIGHT))
    sync = all(one.sync for one in chosen)
    return Schedule(seed, strikes, clients, caps, sync, dice.choice(UPSTREAM))


def play(world: World, schedule: Schedule, seeded: Sequence[str] = ()) -> Result:
    """Play one schedule and judge it."""
    started = time.monotonic()
    world.new_ledger(seeded, sync=schedule.sync, caps=schedule.caps)
    members = [world.add(f"r{number}", seeded) for number in range(REPLICAS)]
    sales = [world.new_sale() for _ in range(2)]
    if schedule.upstream:
        world.upstream.arrange("fault", "set", "refund_transaction", *schedule.upstream)
    ended = threading.Event()
    threads = [
        threading.Thread(target=ask, args=(members[one.replica], sales[one.sale], one))
        for one in schedule.clients
    ]
    struck: list[Strike] = []

    def strike_once(one: Strike) -> None:
        if hit(Scene(world, members[one.replica], members[0]), one, ended):
            struck.append(one)

    strikers = [threading.Thread(target=strike_once, args=(one,)) for one in schedule.strikes]
    for thread in (*strikers, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    for thread in strikers:
        thread.join()
    title = f"{schedule}; {len(struck)} of {len(strikers)} struck"
    return conclude(world, title, started)


def conclude(world: World, title: str, started: float) -> Result:
    world.heal()
    world.upstream.arrange("fault", "clear")
    last = world.operate() if world.had_failover else world.add("last")
    settle(last)
    history = world.collect([])
    codes = list_codes(world)
    found = judge(history)
    world.clear()
    return Result("", title, True, found, codes, time.monotonic() - started)


def ask(member: Member, sale: str, asking: Asking) -> None:
    time.sleep(asking.delay)  # part of the schedule: when this client asks, by chance
    for _ in range(asking.times):
        refund(member, sale, asking.amount)


def hit(scene: Scene, planned: Strike, ended: threading.Event) -> bool:
    """Wait until a write of the replica is at the point, strike, and heal after a while.

    Return whether a write came to the point.
    """
    fault = planned.fault
    fault.prepare(scene)
    watch = Watch(planned.point, lambda: strike(scene, planned.point, fault))
    if planned.point == MINTED:
        scene.victim.replica.arm(MINTED)
    scene.victim.watch(watch)
    while not watch.reached.wait(0.05) and not ended.is_set():
        pass
    if not watch.stop():
        return False
    ended.wait(planned.seconds)
    fault.heal(scene)
    return True
