"""Many calls by many clients over whole replicas: each answer is its caller's, and nothing grows.

Half of the clients are those of the SDK, the other half write their requests themselves, with ids
that no two of them share; of each, half are of each era. Every connection is used for some calls.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import httpx2
from harness import call
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from polling import wait_for
from service_world import LEGACY, MODERN, Answer, Caller

from kartra_mcp.ledger.postgres.connections import MAX_CONNECTIONS
from matrix.upstream import FIRST_SALE, SALES
from matrix.whole.people import ERAS, GIVE
from matrix.whole.world import ACCOUNTS, REPLICAS, WholeWorld

READ = "kartra_get_lead"
MAX_GROWTH_KB = 16 * 1024
"""Memory that a replica may take between the warm-up and the end, however many calls there are."""

CLIENTS = 24
CALLS_OF_A_CONNECTION = 25
EACH_WRITE = 25
"""One of so many calls is a write."""

LOGINS = ("sam", "bea", "ben")
Ask = Callable[[str, dict[str, Any]], Any]
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the replicas use: the largest of them, and the connections of all."""

    kilobytes: int
    files: int
    threads: int
    running_writes: int
    connections: int

    def __str__(self) -> str:
        return (
            f"{self.kilobytes / 1024:.0f} MiB, {self.files} files, {self.threads} threads, "
            f"{self.running_writes} running writes, {self.connections} connections of PostgreSQL"
        )


@dataclass
class LoadReport:
    """Result of a load: how many calls were answered, and which answers were wrong."""

    before: Usage
    after: Usage
    seconds: float
    answered: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        calls = f"{self.answered} calls by {CLIENTS} clients in {self.seconds:.0f} s"
        wrong = f"{len(self.wrong)} wrong answers"
        return f"{calls}, {wrong}\nbefore: {self.before}\nafter:  {self.after}"

    @property
    def faults(self) -> list[str]:
        """Return wrong answers, and what grew more than it may."""
        before, after = self.before, self.after
        grown = [
            (after.kilobytes - before.kilobytes, MAX_GROWTH_KB, "KiB"),
            (after.files - before.files, MAX_CONNECTIONS, "files"),
            (after.threads - before.threads, MAX_CONNECTIONS, "threads"),
            (after.running_writes, 0, "running writes"),
            (after.connections, REPLICAS * MAX_CONNECTIONS, "connections of PostgreSQL"),
        ]
        more = [f"{much} {what}, not more than {most}" for much, most, what in grown if much > most]
        return [*self.wrong, *more]


def put_calls(world: WholeWorld, calls: int) -> LoadReport:
    """Let the clients warm the replicas up, and then make so many calls."""
    points = itertools.count(1)
    _call_all(world, max(calls // 10, 10 * CLIENTS), points, [])
    before, began = measure_idle(world), time.monotonic()
    wrong: list[str] = []
    answered = _call_all(world, calls, points, wrong)
    took = time.monotonic() - began
    wrong += _find_wrong_effects(world)
    return LoadReport(before, measure_idle(world), took, answered, wrong)


def measure_idle(world: WholeWorld) -> Usage:
    """Measure once no client is connected, and the use does not change any more."""
    seen: list[tuple[int, int]] = []

    def is_calm() -> bool:
        now = measure(world)
        seen.append((now.files, now.connections))
        return len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]

    wait_for(is_calm, within=60, every=1)
    return measure(world)


def measure(world: WholeWorld) -> Usage:
    status = [_read_status(one.pid) for one in world.replicas]
    return Usage(
        kilobytes=max(one["VmRSS"] for one in status),
        files=max(len(list(Path(f"/proc/{one.pid}/fd").iterdir())) for one in world.replicas),
        threads=max(one["Threads"] for one in status),
        running_writes=sum(_read_running(one.read_metrics()) for one in world.replicas),
        connections=world.count_connections(),
    )


def _read_status(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = [line.split(":", 1) for line in lines]
    return {name: int(text.split()[0]) for name, text in pairs if name in {"VmRSS", "Threads"}}


def _read_running(text: str) -> int:
    (line,) = [x for x in text.splitlines() if x.startswith("kartra_mcp_running_writes ")]
    return int(float(line.split()[1]))


def _call_all(world: WholeWorld, calls: int, points: Iterator[int], wrong: list[str]) -> int:
    """Share the calls among the clients; return the number of right answers."""
    numbers, right = iter(range(calls)), itertools.count()
    lock = threading.Lock()

    def take(most: int) -> list[int]:
        with lock:
            return list(itertools.islice(numbers, most))

    def work(client: int) -> None:
        era = client % 2
        connect = _sdk if client % 4 < 2 else _raw
        login, account = LOGINS[client % 3], ACCOUNTS[client % len(ACCOUNTS)]
        while batch := take(CALLS_OF_A_CONNECTION):
            try:
                with connect(world, login, account, era) as ask:
                    for number in batch:
                        _call_one(ask, client, number, points, wrong)
                        next(right)
            except Exception as problem:  # noqa: BLE001  it is an answer that did not come
                wrong.append(f"client {client}: {problem!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return next(right)


def _call_one(ask: Ask, client: int, number: int, points: Iterator[int], wrong: list[str]) -> None:
    """Read a lead, or give it a number of points that nobody else gives; check who it is."""
    lead = FIRST_SALE + (client * 163 + number) % SALES
    if number % EACH_WRITE:
        found = str(ask(READ, {"lead_id": lead}))
        expected = [f"matrix{lead}@example.com"]
    else:
        given = next(points)
        found = str(ask(GIVE, {"lead_id": lead, "points": given}))
        expected = [f"gave {given} points to lead {lead}"]
    wrong += [f"{one} is not in {found[:300]}" for one in expected if one not in found]


def _find_wrong_effects(world: WholeWorld) -> list[str]:
    """Return what was given more than once: each number of points was asked for once."""
    wrong: list[str] = []
    for account, upstream in world.upstreams.items():
        sql = "SELECT points, count(*) FROM points GROUP BY points, lead_id HAVING count(*) > 1"
        wrong += [f"{account}: {points} points {n} times" for points, n in upstream.rows(sql)]
    return wrong


@contextmanager
def _sdk(world: WholeWorld, login: str, account: str, era: int) -> Generator[Ask]:
    """A client of the SDK, on a connection of its own."""
    endpoint = world.endpoint(account)
    headers = {"Authorization": f"Bearer {world.provider.access_token(login, endpoint)}"}
    with anyio.from_thread.start_blocking_portal() as portal:

        @contextmanager
        def connected() -> Generator[Client]:
            http = httpx2.AsyncClient(headers=headers, timeout=PATIENCE)
            with portal.wrap_async_context_manager(http):
                made = Client(streamable_http_client(endpoint, http_client=http), mode=ERAS[era])
                with portal.wrap_async_context_manager(made) as client:
                    yield client

        with connected() as client:

            def ask(tool: str, arguments: dict[str, Any]) -> Any:
                async def work() -> Any:
                    return await call(client, tool, **arguments)

                return portal.call(work)

            yield ask


_IDS = itertools.count(1_000_000)


@contextmanager
def _raw(world: WholeWorld, login: str, account: str, era: int) -> Generator[Ask]:
    """A client that writes its requests itself, and compares the id of each answer."""
    endpoint = world.endpoint(account)
    token = world.provider.access_token(login, endpoint)
    caller = Caller("", account, token, (MODERN, LEGACY)[era])
    with httpx2.Client(timeout=PATIENCE) as http:

        def ask(tool: str, arguments: dict[str, Any]) -> Any:
            number = next(_IDS)
            headers, body = caller.request(
                "tools/call", {"name": tool, "arguments": arguments}, number
            )
            del headers["Host"]  # that of the address is the service's own here
            answer = Answer(http.post(endpoint, headers=headers, json=body))
            assert answer.message["id"] == number, f"{number} was answered as {answer.message}"
            return answer.result

        yield ask
