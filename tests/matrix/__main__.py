"""`make matrix` and `make soak-team`: stories by the table, or by chance.

    python -m matrix [--points P,…] [--faults F,…] [--scripts S,…] [--workers N] [--write]
    python -m matrix --seeded [--only NAME,…] [--write]
    python -m matrix --schedules N [--seed N] [--whole]
    python -m matrix --calls N

Ends with 1 where a property is violated, where a story could not be judged, or where a seeded fault
is not caught. `--write` puts the tables into docs/team/matrix.md.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from matrix import tables, workers
from matrix.points import POINTS
from matrix.scripts import SCRIPTS
from matrix.seeded import SEEDED
from matrix.story import Result
from matrix.whole.load import LONG_LOOKS, put_calls
from matrix.whole.world import USUAL, running_whole_world
from matrix.workers import T

WORKERS = 2


def main() -> int:
    line = read_line()
    started = time.monotonic()
    if line.seeded:
        return run_seeded(line)
    if line.calls:
        return run_load(line.calls)
    results = run_soak(line) if line.schedules else run_matrix(line)
    unjudged = [one for one in results if not one.is_judged]
    broken = [one for one in results if one.is_judged and one.violations]
    for one in unjudged:
        say(f"NOT JUDGED {one}")
    for one in broken:
        say(f"VIOLATED {one}")
    took = time.monotonic() - started
    counted = f"{len(results)} stories, {len(broken)} with a violation, {len(unjudged)} not judged"
    say(f"{counted}, {took:.0f} s")
    return 1 if broken or unjudged or not results else 0


def read_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="matrix")
    parser.add_argument("--points", type=_split, default=POINTS)
    parser.add_argument("--faults", type=_split, default=tuple(workers.FAULTS_BY_NAME))
    parser.add_argument("--scripts", type=_split, default=tuple(SCRIPTS))
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--seeded", action="store_true")
    parser.add_argument("--only", type=_split, default=tuple(one.name for one in SEEDED))
    parser.add_argument("--schedules", type=int, default=0)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def run_matrix(line: argparse.Namespace) -> list[Result]:
    cells = [
        (point, name)
        for name in line.faults
        for point in line.points
        if point in workers.FAULTS_BY_NAME[name].points
    ]
    told = [*report(workers.tell_cell, cells, line.workers)]
    scripts = [*report(workers.tell_script, line.scripts, line.workers)]
    table, second = tables.matrix(told), tables.scripts(scripts)
    say(f"{table}\n\n{second}")
    if line.write:
        tables.write("cells", table)
        tables.write("scripts", second)
    return told + scripts


def run_load(calls: int) -> int:
    """Return 1 where an answer was wrong, or something grew."""
    with (
        tempfile.TemporaryDirectory(prefix="kartra-matrix-") as folder,
        running_whole_world(Path(folder), times=USUAL) as world,
    ):
        load = put_calls(world, calls, LONG_LOOKS)
    say(str(load))
    for fault in load.faults:
        say(f"WRONG {fault}")
    return 1 if load.faults else 0


def run_seeded(line: argparse.Namespace) -> int:
    """Return 1 where a seeded fault is not caught."""
    results: dict[str, Result | None] = dict.fromkeys(line.only)
    for name, result in workers.run(workers.tell_seeded, line.only, line.workers):
        say(f"{name}: {result.seconds:.1f} s {result}")
        results[name] = result
    table = tables.seeded(results)
    say(table)
    if line.write:
        tables.write("seeded", table)
    missed = [name for name, one in results.items() if one is None or not one.is_caught]
    say(f"{len(results)} seeded faults, not caught: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


def run_soak(line: argparse.Namespace) -> list[Result]:
    seed = random.randrange(10**9) if line.seed is None else line.seed
    say(f"SEED={seed}, {line.schedules} {'runs of whole replicas' if line.whole else 'schedules'}")
    seeds = [seed + number for number in range(line.schedules)]
    work = workers.play_whole if line.whole else workers.play_schedule
    return [*report(work, seeds, line.workers)]


def report(work: Callable[[T], Result], tasks: Sequence[T], processes: int) -> Iterator[Result]:
    for number, (_, result) in enumerate(workers.run(work, tasks, processes), 1):
        say(f"{number}/{len(tasks)} {result.seconds:.1f} s {result}")
        yield result


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


if __name__ == "__main__":
    sys.exit(main())
