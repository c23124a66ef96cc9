"""`make matrix` and `make soak-team`: stories by the table, or by chance.

    python -m matrix [--points P,…] [--faults F,…] [--workers N] [--write]
    python -m matrix --seeded [--only NAME,…]
    python -m matrix --schedules N [--seed N]

Ends with 1 where a property is violated, or where a seeded fault is not caught.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from matrix import tables, workers
from matrix.points import POINTS
from matrix.story import Result
from matrix.workers import BY_NAME, T

WORKERS = 2


def main() -> int:
    line = read_line()
    started = time.monotonic()
    results = run_soak(line) if line.schedules else run_matrix(line)
    broken = [one for one in results if one.violations]
    for one in broken:
        say(f"VIOLATED {one}")
    took = time.monotonic() - started
    say(f"{len(results)} stories, {len(broken)} with a violation, {took:.0f} s")
    return 1 if broken or not results else 0


def read_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="matrix")
    parser.add_argument("--points", type=_split, default=POINTS)
    parser.add_argument("--faults", type=_split, default=tuple(BY_NAME))
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--seeded", type=_split, default=())
    parser.add_argument("--schedules", type=int, default=0)
    parser.add_argument("--seed", type=int, default=None)
    return parser.parse_args()


def run_matrix(line: argparse.Namespace) -> list[Result]:
    cells = [
        (point, name, line.seeded)
        for name in line.faults
        for point in line.points
        if point in BY_NAME[name].points
    ]
    results = [*report(workers.tell_cell, cells, line.workers)]
    say(tables.matrix(results))
    return results


def run_soak(line: argparse.Namespace) -> list[Result]:
    seed = random.randrange(10**9) if line.seed is None else line.seed
    say(f"SEED={seed}, {line.schedules} schedules")
    tasks = [(seed + number, line.seeded) for number in range(line.schedules)]
    return [*report(workers.play_schedule, tasks, line.workers)]


def report(work: Callable[[T], Result], tasks: Sequence[T], processes: int) -> Iterator[Result]:
    for number, result in enumerate(workers.run(work, tasks, processes), 1):
        say(f"{number}/{len(tasks)} {result.seconds:.1f} s {result}")
        yield result


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


if __name__ == "__main__":
    sys.exit(main())
