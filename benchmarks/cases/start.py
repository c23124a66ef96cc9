"""Seconds from the spawn of the process to the answers of `initialize` and `tools/list`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from benchmarks import accounts, reference_servers
from benchmarks.client import SERVER, started
from benchmarks.stats import Row, paired

TITLE = "Start"
ABOUT = (
    "From the spawn of the process, with the list of actions on disk, against a server on the "
    "same SDK that lists nothing, and against one on FastMCP in an environment of its own. The "
    "rest of the time is Python's and the SDK's imports. The vendor's own open MCP server (Node, "
    "over HTTP, v1.3.0) is measured in its own test mode, where it lists two actions that it "
    "holds itself: its address of Membrane is fixed in its code, so that it cannot be pointed at "
    "the sandbox; in use it fetches all actions at each start, which is not counted here."
)
PAIRS, PEERS = 20, 8
PROMISED = 1.15
EMPTY = (sys.executable, "-m", "benchmarks.programs.empty_server")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from the spawn."""

    greeted: float
    listed: float


def run() -> list[Row]:
    with accounts.sandbox() as account:
        env = account.environment()
        ours: list[Times] = []

        def start() -> float:
            ours.append(started_in(SERVER, env))
            return ours[-1].listed

        pairs = paired(start, lambda: started_in(EMPTY, env).listed, PAIRS)
        others = _peers(env)
    return [
        Row("spawn to initialize", tuple(times.greeted for times in ours[1:]), "ms"),
        Row("spawn to tools/list", pairs.ours, "ms"),
        Row("the same, of an empty server", pairs.theirs, "ms"),
        Row("ratio", pairs.ratios(), "×", PROMISED),
        *others,
    ]


def started_in(command: Sequence[str], env: Mapping[str, str]) -> Times:
    begun = perf_counter()
    with started(command, env) as client:
        client.hello()
        greeted = perf_counter() - begun
        client.tools()
        return Times(greeted, perf_counter() - begun)


def _peers(env: Mapping[str, str]) -> list[Row]:
    rows: list[Row] = []
    empty = reference_servers.fastmcp()
    if empty is not None:
        pairs = paired(
            lambda: started_in(SERVER, env).listed, lambda: started_in(empty, env).listed, PEERS
        )
        rows.append(Row("an empty server on FastMCP", pairs.theirs, "ms"))
        rows.append(Row("ratio to that", pairs.ratios(), "×"))
    theirs = [seconds for _ in range(PEERS) if (seconds := reference_servers.vendor()) is not None]
    if theirs:
        rows.append(Row("the vendor's server, in its test mode", tuple(theirs), "ms"))
    return rows
