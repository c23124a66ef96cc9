"""Refunds and bulk runs under kill -9, many times: `make soak`.

`soak.py [--runs N] [--kills N] [--seed N] [--workers N]`: refunds, and kills in bulk runs. Random,
but by a seed that is printed. Ends with 1 where money moved twice, an item ran twice, an intent or
an item was lost, the chain broke, or an answer denied what happened.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import anyio
from bulk_crashes import (
    BULK_POINTS,
    FIRST_LEAD,
    BulkAPIHouse,
    BulkHouse,
    judge_bulk,
    make_story,
    tell_bulk,
)
from crash_scenarios import FIRST, House, Story, judge, tell
from fault_server import IN_ITS_TIME, POINTS
from harness import ERAS, Sandbox, sandbox_served
from many_servers import submit_many

HOWS = ("plain", "slow", "lost", "late", "killed", "hangs", "never")
AT_ONCE = 10
"""Stories on one ledger and account."""

PROCESSES, SUBMISSIONS = 16, 50
KILLS_A_RUN = 6
"""Kills that are tried in one bulk run."""


def stories(runs: int, dice: random.Random) -> list[Story]:
    points = itertools.cycle(POINTS)
    return [story(FIRST + number % AT_ONCE, next(points), dice) for number in range(runs)]


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


async def tell_all(told: list[Story], workers: int) -> tuple[list[str], Counter[str]]:
    """In groups that share a ledger and an account, several at once: violations and kills."""
    found: list[str] = []
    struck: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        for number, at in enumerate(range(0, len(told), AT_ONCE)):
            group = told[at : at + AT_ONCE]
            house = House(Path(place) / str(number)).build(AT_ONCE)
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
    kills: int, workers: int, dice: random.Random
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
                    tasks.start_soon(tell_bulk_run, folder, dice.getrandbits(32), found, struck)
            say(f"{struck.total():5} kills in bulk runs, {len(found)} violations")
    raise AssertionError


async def tell_bulk_run(folder: Path, seed: int, found: list[str], struck: Counter[str]) -> None:
    """One run by the program or over the API."""
    by_api = seed % 2 == 1
    story = make_story(FIRST_LEAD, KILLS_A_RUN, random.Random(seed), by_api=by_api)
    house = BulkHouse(folder).build_leads(story.count)
    with ExitStack() as serving:
        if by_api:
            address = serving.enter_context(sandbox_served(house)).address
            house = BulkAPIHouse(folder, house.settings, address)
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


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=240)
    options.add_argument("--kills", type=int, default=300)
    options.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options.add_argument("--workers", type=int, default=3)
    options.add_argument("--processes", type=int, default=PROCESSES)
    given = options.parse_args()
    say(f"seed {given.seed}, {given.runs} runs, eras {', '.join(ERAS)}")
    started = time.monotonic()
    told = stories(given.runs, random.Random(given.seed))
    found, struck = anyio.run(tell_all, told, given.workers)
    say("killed at: " + ", ".join(f"{point} {struck[point]}" for point in POINTS))
    say(f"programs: {dict(Counter(s.how for s in told))}")
    wrong, killed = anyio.run(
        tell_bulk_runs, given.kills, given.workers, random.Random(given.seed + 1)
    )
    found += wrong
    say("bulk runs killed at: " + ", ".join(f"{p} {killed[p]}" for p in BULK_POINTS))
    if given.processes:
        found += anyio.run(crowd, given.processes, SUBMISSIONS)
    minutes = (time.monotonic() - started) / 60
    say(
        f"seed {given.seed}: {len(told)} runs, {struck.total() + killed.total()} kills,"
        f" {len(found)} violations, {minutes:.1f} min"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
