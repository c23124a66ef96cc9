"""The team service over HTTP: calls a second, latency, and the cost of what it adds."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import anyio

from benchmarks.accounts import READ, WHOM
from benchmarks.cases.ledger import LIMITS, intent
from benchmarks.client import ROOT
from benchmarks.http_load import Connection, Target, put_load
from benchmarks.proc_stats import processor_time
from benchmarks.requests import act
from benchmarks.stats import Row, in_turn, timed
from benchmarks.team_database import team_database
from kartra_mcp.core.models import Executed
from kartra_mcp.identity.verifier import TokenVerifier
from kartra_mcp.ledger.records import Answer
from kartra_mcp.sandbox.team.postgres import find_free_port
from kartra_mcp.sandbox.team.processes import Program, running_program, wait_until_listening
from kartra_mcp.sandbox.team.world import TeamWorld, running_team
from kartra_mcp.team.loading import load_team

TITLE = "The service of a team"
ABOUT = (
    "`kartra-mcp serve --http` with real tokens, PostgreSQL and the sandbox's API, all on this "
    "machine, compared with an empty server of the SDK over HTTP, both stateless. The latter runs "
    "on what the SDK installs, asyncio and h11. A read's own cost is its time without that of the "
    "same request to the API by hand. The SDK's server is measured with the same request and "
    "answer, too: a larger answer costs it more."
)
ACCOUNT, LOGIN = "main", "bea"
CLIENTS, SECONDS = (1, 8, 64), 4.0
PAIRS, WRITES, TOKENS = 200, 200, 200
BLOCKS, BLOCK = 5, 300
OWN_COST, AUTHORIZATION = 2.0, 0.001


def run() -> list[Row]:
    with TemporaryDirectory(prefix="kartra-mcp-bench-") as folder:
        environment = {"PATH": "/usr/bin:/bin", "HOME": folder, "KARTRA_MCP_RATE": "0"}
        with running_team(Path(folder), environment) as world, empty_server(folder) as other:
            empty, program = other
            found = [
                *own_cost(world, empty),
                *processor_times(world, empty, program),
                *loads(world, empty),
                *authorization(world),
            ]
    return [*found, *begins()]


@contextmanager
def empty_server(folder: str, *answer: str) -> Generator[tuple[Target, Program]]:
    """Run the SDK's server; with the name of a file it answers with the result in it."""
    port = find_free_port()
    words = ["benchmarks.programs.empty_http", str(port), *answer]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    with running_program(words, environment, Path(folder) / "empty.log") as program:
        wait_until_listening(program, port)
        yield Target(port, "/", "noop", {}), program


def targets(world: TeamWorld) -> list[Target]:
    token = world.provider.access_token(LOGIN, world.endpoint(ACCOUNT))
    return [Target(port, f"/a/{ACCOUNT}/mcp", READ, WHOM, token) for port in world.replicas]


def own_cost(world: TeamWorld, empty: Target) -> list[Row]:
    target = targets(world)[0]
    ours, theirs = Connection(target), Connection(empty)
    answer = world.folder / "answer.json"
    answer.write_text(json.dumps(ours.read_result()))
    with (
        act(world.accounts[ACCOUNT]) as by_hand,
        empty_server(str(world.folder), str(answer)) as (equal, _),
    ):
        same = Connection(replace(target, port=equal.port, path=equal.path))
        works = (ours.call, by_hand, theirs.call, same.call)
        for work in works:
            work()
        read, api, bare, alike = in_turn(works, PAIRS)
    own = tuple(a - b for a, b in zip(read, api, strict=True))
    return [
        Row("a read by one client", read, "ms"),
        Row("its own cost", own, "ms"),
        Row("a call of the empty server", bare, "ms"),
        Row("own cost by the empty server", (median(own) / median(bare),), "×", OWN_COST),
        Row("the same request and answer, by the SDK's server", alike, "ms"),
        Row("own cost by that", (median(own) / median(alike),), "×"),
    ]


def processor_times(world: TeamWorld, empty: Target, program: Program) -> list[Row]:
    """Measure the processor time of both servers for a call, in blocks of calls in turn."""
    ours = targets(world)[0]
    servers = {
        world.replicas[ours.port].process.pid: Connection(ours),
        program.process.pid: Connection(empty),
    }
    rounds = [[_spend(pid, link) for pid, link in servers.items()] for _ in range(BLOCKS)]
    if any(spent is None for block in rounds for spent in block):
        return []
    read, bare = ([float(spent or 0) for spent in found] for found in zip(*rounds, strict=True))
    ratios = tuple(a / b for a, b in zip(read, bare, strict=True))
    return [
        Row("processor time of a read, in the service", tuple(read), "ms"),
        Row("of a call, in the empty server", tuple(bare), "ms"),
        Row("ratio, with the request to the API", ratios, "×"),
    ]


def _spend(pid: int, link: Connection) -> float | None:
    before = processor_time(pid)
    for _ in range(BLOCK):
        link.call()
    after = processor_time(pid)
    return None if before is None or after is None else (after - before) / BLOCK


def loads(world: TeamWorld, empty: Target) -> list[Row]:
    rows: list[Row] = []
    every = targets(world)
    for name, used in (("one replica", every[:1]), ("two replicas", every), ("empty", [empty])):
        for clients in CLIENTS:
            load = put_load(used, clients, SECONDS)
            where = f"{name}, {clients} client{'s' if clients > 1 else ''}"
            rows += [
                Row(f"{where}: calls a second", (load.rate,), "calls/s"),
                Row(f"{where}: a call", load.seconds, "ms"),
                Row(f"{where}: a call, 99 of 100", load.seconds, "ms", percent=99),
            ]
    return rows


def authorization(world: TeamWorld) -> list[Row]:
    """Measure the verification of a token that was seen before, and of new ones."""
    verifier = TokenVerifier.of(load_team(world.team_file).config)
    endpoint = world.endpoint(ACCOUNT)
    known = world.provider.access_token(LOGIN, endpoint)
    fresh = [world.provider.access_token(LOGIN, endpoint) for _ in range(TOKENS)]

    async def verify() -> tuple[list[float], list[float]]:
        await verifier.verify(known, ACCOUNT)
        return [await _timed(verifier, known) for _ in fresh], [
            await _timed(verifier, token) for token in fresh
        ]

    again, first = anyio.run(verify)
    return [
        Row("authorization of a call", tuple(again), "ms", AUTHORIZATION, percent=99),
        Row("authorization of a token's first call", tuple(first), "ms", AUTHORIZATION),
    ]


async def _timed(verifier: TokenVerifier, token: str) -> float:
    begun = time.perf_counter()
    await verifier.verify(token, ACCOUNT)
    return time.perf_counter() - begun


def begins() -> list[Row]:
    def begin(ledger: Any) -> float:
        wanted = intent()
        took = timed(lambda: ledger.begin(wanted, LIMITS))
        ledger.finish(wanted.id, Answer("succeeded", Executed.YES))
        return took

    with team_database(10_000) as team:
        found = tuple(begin(team.ledger) for _ in range(WRITES))
    return [
        Row("begin of a write", found, "ms"),
        Row("begin of a write, 99 of 100", found, "ms", percent=99),
    ]
