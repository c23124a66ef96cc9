"""`make fuzz`: each target for its time, in a process of its own.

    python -m fuzz [--seconds N] [--targets NAME …] [--workers N] [--seed N]

With a seed the same inputs are tried again, as many as the time allows. Prints the inputs tried.
Ends with 1 where an input broke a property: it is printed, and kept in the corpus, so that
tests/test_fuzz.py fails until the fault is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fuzz.hunt import Found, Hunt, Target
from fuzz.processes import hunt_apart
from fuzz.targets import TARGETS

SECONDS = 600.0
_SHOWN = 2_000


def main(words: Sequence[str] | None = None) -> int:
    line = _read_line(words)
    chosen = [target for target in TARGETS if target.name in line.targets]

    def run(target: Target) -> bool:
        started = time.monotonic()
        return _report(
            target, hunt_apart(target, line.seconds, first=line.seed), time.monotonic() - started
        )

    with ThreadPoolExecutor(line.workers) as pool:
        return 0 if all(list(pool.map(run, chosen))) else 1


def _read_line(words: Sequence[str] | None) -> argparse.Namespace:
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--targets", nargs="+", choices=names, default=names)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int)
    return parser.parse_args(words)


def _report(target: Target, result: Hunt, took: float) -> bool:
    rate = result.tried / took
    _say(f"fuzz: {target.name}: {result.tried:,} inputs in {took:.0f} s ({rate:,.0f}/s)")
    if result.found is not None:
        _keep(target, result.found)
    return result.found is None


def _keep(target: Target, found: Found) -> None:
    file = target.folder / f"found-{hashlib.sha256(found.input).hexdigest()[:8]}"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(found.input)
    shown = repr(found.input[:_SHOWN]) + "…" * (len(found.input) > _SHOWN)
    _say(f"fuzz: {target.name}: {found.kind.upper()}, kept in {file}\n{found.report}\n{shown}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
