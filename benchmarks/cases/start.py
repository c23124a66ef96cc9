"""From the spawn of the process to the answer of `initialize` and of `tools/list`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from time import perf_counter

from benchmarks import accounts
from benchmarks.client import SERVER, started
from benchmarks.numbers import Pairs, Row, paired

TITLE = "Start"
ABOUT = (
    "From the spawn of the process, with the list of actions on disk, against a server on the "
    "same SDK that lists nothing."
)
PAIRS = 20
EMPTY = (sys.executable, "-m", "benchmarks.programs.empty_server")


def run() -> list[Row]:
    with accounts.sandbox() as account:
        greeted: list[tuple[float, float]] = []
        env = account.environment
        pairs = paired(
            lambda: _started(SERVER, env, greeted), lambda: _started(EMPTY, env, []), PAIRS
        )
    hello = tuple(first for first, _ in greeted[1:])
    return [Row("spawn to initialize", hello, "ms"), *_rows(pairs)]


def _started(
    command: Sequence[str], env: Mapping[str, str], noted: list[tuple[float, float]]
) -> float:
    begun = perf_counter()
    with started(command, env) as client:
        client.hello()
        greeted = perf_counter() - begun
        client.tools()
        listed = perf_counter() - begun
    noted.append((greeted, listed))
    return listed


def _rows(pairs: Pairs) -> list[Row]:
    return [
        Row("spawn to tools/list", pairs.ours, "ms"),
        Row("the same, of an empty server", pairs.theirs, "ms"),
        Row("ratio", pairs.ratios(), "×"),
    ]
