"""Refunds and bulk runs under kill -9, many times, on either store: `make soak`.

`soak.py [--store sqlite|postgres] [--runs N] [--kills N] [--seed N] [--workers N]`: refunds, and
kills in bulk runs. Random, but by a seed that is printed. Ends with 1 where money moved twice, an
item ran twice, an intent or an item was lost, the chain broke, or an answer denied what happened.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import anyio
from bulk_crashes import (
    API_POINTS,
    BULK_POINTS,
    FIRST_LEAD,
    BulkAPIHouse,
    BulkHouse,
    BulkStory,
    judge_bulk,
    make_story,
    tell_bulk,
)
from crash_scenarios import FIRST, House, Story, judge, tell
from fault_server import IN_ITS_TIME, POINTS
from harness import ERAS, Sandbox, sandbox_served
from many_servers import submit_many
from team_houses import (
    REFUND_POINTS,
    RUN_POINTS,
    UPSTREAM,
    BulkTeamHouse,
    TeamHouse,
    TeamLedgers,
    team_ledgers,
)

HOWS = ("plain", "slow", "lost", "late", "killed", "hangs", "never")
AT_ONCE = 10
"""Stories on one ledger and account."""

PROCESSES, SUBMISSIONS = 16, 50
KILLS_A_RUN = 6
"""Kills that are tried in one bulk run."""


class FileStore:
    """Ledgers in files. Refunds and half of the bulk runs start Membrane's program."""

    points, run_points = POINTS, BULK_POINTS

    @contextmanager
    def open_house(self, folder: Path, group: list[Story], _: random.Random) -> Generator[House]:
        yield House(folder).build(len(group))

    @contextmanager
    def open_run(self, folder: Path, dice: random.Random) -> Generator[tuple[BulkHouse, BulkStory]]:
        by_api = dice.random() < 0.5
        points = API_POINTS if by_api else BULK_POINTS
        story = make_story(FIRST_LEAD, KILLS_A_RUN, dice, points)
        house = BulkHouse(folder).build_leads(story.count)
        if not by_api:
            yield house, story
            return
        with sandbox_served(house) as served:
            yield BulkAPIHouse(folder, house.settings, served.address), story


@dataclass
class TeamStore:
    """Ledgers in PostgreSQL. Every write is a request to Membrane's API, which may be at fault."""

    ledgers: TeamLedgers
    points, run_points = REFUND_POINTS, RUN_POINTS

    @contextmanager
    def open_house(self, folder: Path, group: list[Story], dice: random.Random) -> Generator[House]:
        place = House(folder).build(len(group))
        fault = dice.choice(UPSTREAM)
        if fault:
            place.arrange("fault", "set", "refund_transaction", *fault)
        for story in group:
            story.how = fault[0] if fault else "plain"
        with sandbox_served(place) as served:
            yield self.ledgers.make(TeamHouse(folder, address=served.address))

    @contextmanager
    def open_run(self, folder: Path, dice: random.Random) -> Generator[tuple[BulkHouse, BulkStory]]:
        story = make_story(FIRST_LEAD, KILLS_A_RUN, dice, RUN_POINTS)
        place = BulkHouse(folder).build_leads(story.count)
        with sandbox_served(place) as served:
            house = BulkTeamHouse(folder, place.settings, served.address)
            yield self.ledgers.make(house), story


Store = FileStore | TeamStore


def stories(runs: int, dice: random.Random, points: Sequence[str]) -> list[Story]:
    at = itertools.cycle(points)
    return [story(FIRST + number % AT_ONCE, next(at), dice) for number in range(runs)]


def story(number: int, point: str, dice: random.Random) -> Story:
    how = dice.choice(HOWS) if dice.random() < 0.6 else "plain"
    in_its_time = point in IN_ITS_TIME
    if in_its_time:
        how = dice.choice(("slow", "lost", "hangs"))
    gates = (
        ("preview",) if point in {"preview", "minted"} else ("preview", "preview", "flag", "allow")
    )
    most = {"preview": 2, "fsync": 3}.get(point, 1)
    return Story(
        number,
        dice.choice(gates),
        point,
        nth=dice.randint(1, most),
        delay=dice.uniform(0, 1.0),
        how=how,
        seconds=dice.uniform(1.0 if in_its_time else 0.1, 2.5),
        partial=dice.random() < 0.3,
        beside=not in_its_time and dice.random() < 0.3,
        seed=dice.getrandbits(32),
    )


async def tell_all(
    store: Store, told: list[Story], workers: int, dice: random.Random
) -> tuple[list[str], Counter[str]]:
    """In groups that share a ledger and an account, several at once: violations and kills."""
    found: list[str] = []
    struck: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        for number, at in enumerate(range(0, len(told), AT_ONCE)):
            group = told[at : at + AT_ONCE]
            with store.open_house(Path(place) / str(number), group, dice) as house:
                await tell_group(house, group, workers)
                wrong = judge(house, group)
            found += wrong
            struck += Counter(house.struck())
            say(f"{at + len(group):5} runs, {len(found)} violations", *wrong)
    return found, struck


async def tell_group(house: House, group: list[Story], workers: int) -> None:
    places = anyio.CapacityLimiter(workers)

    async def one(told: Story) -> None:
        async with places:
            try:
                await tell(house, told)
            except Exception as slip:  # noqa: BLE001  a server that fails without a fault
                told.trouble.append(f"the story broke off: {slip!r}")

    async with anyio.create_task_group() as tasks:
        for each in group:
            tasks.start_soon(one, each)


async def tell_bulk_runs(
    store: Store, kills: int, workers: int, dice: random.Random
) -> tuple[list[str], Counter[str]]:
    """Bulk runs, each with an account of its own, until so many kills struck: violations, kills."""
    found: list[str] = []
    struck: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        for number in itertools.count():
            if struck.total() >= kills:
                return found, struck
            async with anyio.create_task_group() as tasks:
                for worker in range(workers):
                    folder = Path(place) / f"{number} {worker}"
                    run_dice = random.Random(dice.getrandbits(32))
                    tasks.start_soon(tell_bulk_run, store, folder, run_dice, found, struck)
            say(f"{struck.total():5} kills in bulk runs, {len(found)} violations")
    raise AssertionError


async def tell_bulk_run(
    store: Store, folder: Path, dice: random.Random, found: list[str], struck: Counter[str]
) -> None:
    with store.open_run(folder, dice) as (house, story):
        try:
            await tell_bulk(house, story)
        except Exception as slip:  # noqa: BLE001  a server that fails without a fault
            story.trouble.append(f"the story broke off: {slip!r}")
        wrong = judge_bulk(house, [story]) if story.bulk_id else [f"never planned: {story}"]
    found += wrong
    struck += Counter(house.struck())
    say(*wrong)


async def crowd(processes: int, submissions: int) -> list[str]:
    found: list[str] = []
    for gate in ("flag", "allow"):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            sandbox = Sandbox(Path(place) / "state", {"GATE_IRREVERSIBLE": gate})
            codes, wrong = await submit_many(sandbox, processes, submissions)
            say(f"{processes} processes x {submissions}, gate {gate}: {dict(codes)}", *wrong)
            found += wrong
    return found


def say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


@contextmanager
def open_store(name: str) -> Generator[Store]:
    if name == "sqlite":
        yield FileStore()
        return
    with team_ledgers() as ledgers:
        yield TeamStore(ledgers)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    options.add_argument("--runs", type=int, default=240)
    options.add_argument("--kills", type=int, default=300)
    options.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options.add_argument("--workers", type=int, default=3)
    options.add_argument("--processes", type=int, default=PROCESSES)
    given = options.parse_args()
    say(f"{given.store}, seed {given.seed}, {given.runs} runs, eras {', '.join(ERAS)}")
    started = time.monotonic()
    dice, bulk_dice = random.Random(given.seed), random.Random(given.seed + 1)
    with open_store(given.store) as store:
        told = stories(given.runs, dice, store.points)
        found, struck = anyio.run(tell_all, store, told, given.workers, dice)
        say("killed at: " + ", ".join(f"{point} {struck[point]}" for point in store.points))
        say(f"programs or upstream: {dict(Counter(s.how for s in told))}")
        wrong, killed = anyio.run(tell_bulk_runs, store, given.kills, given.workers, bulk_dice)
        found += wrong
        say("bulk runs killed at: " + ", ".join(f"{p} {killed[p]}" for p in store.run_points))
    if given.processes and given.store == "sqlite":  # the fault matrix has many servers of a team
        found += anyio.run(crowd, given.processes, SUBMISSIONS)
    minutes = (time.monotonic() - started) / 60
    say(
        f"{given.store}, seed {given.seed}: {len(told)} runs, {struck.total()} + {killed.total()}"
        f" kills, {len(found)} violations, {minutes:.1f} min"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
