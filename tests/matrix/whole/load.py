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
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import httpx2
from harness import Answer, call
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from polling import wait_for
from service_world import LEGACY, MODERN, Caller
from service_world import Answer as Response

from kartra_mcp.ledger.postgres.connections import MAX_CONNECTIONS
from kartra_mcp.membrane.http_transport import KEEPALIVE_SECONDS
from kartra_mcp.service.timings import ServiceTimings
from matrix.upstream import FIRST_SALE, SALES
from matrix.whole.people import ERAS, GIVE, TRIES
from matrix.whole.world import ACCOUNTS, REPLICAS, WholeWorld

READ = "kartra_get_lead"
MAX_GROWTH_KB = 16 * 1024
"""Memory that a replica may take between the warm-up and the end, however many calls there are."""

CLIENTS = 24
CALLS_OF_A_CONNECTION = 25
EACH_WRITE = 25
"""One of so many calls is a write."""

IDLE_LOOKS = int(2 * KEEPALIVE_SECONDS) + 2
"""Looks at an idle replica, one a second: aiohttp closes what is kept that late."""
LONG_LOOKS = IDLE_LOOKS + ServiceTimings().keep_alive
"""Looks after which a replica has also closed the connections that clients left open."""

LOGINS = ("sam", "bea", "ben")
BUSY = {("not_enough_time", "no"), ("ledger_unavailable", "no")}
"""Refusals of a write on a machine that is too slow: nothing was done, and it may be repeated."""

Ask = Callable[[str, dict[str, Any]], Answer]
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources of the replicas: the largest of them, and the connections of all."""

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
    answered: int
    repeated: int
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        calls = f"{self.answered} calls by {CLIENTS} clients in {self.seconds:.0f} s"
        wrong = f"{len(self.wrong)} wrong answers, {self.repeated} refused and repeated"
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


def put_calls(world: WholeWorld, calls: int, looks: int = IDLE_LOOKS) -> LoadReport:
    """Let the clients warm the replicas up, and then make so many calls."""
    warm_up = Load(world, max(calls // 4, 10 * CLIENTS))
    warm_up.run()
    before, began = measure_idle(world, looks), time.monotonic()
    load = Load(world, calls, warm_up.points)
    load.run()
    took = time.monotonic() - began
    wrong = [*load.wrong, *_find_wrong_effects(world)]
    return LoadReport(before, measure_idle(world, looks), took, load.answered, load.repeated, wrong)


def measure_idle(world: WholeWorld, count: int) -> Usage:
    """Measure for some seconds once no client is connected; return the least use.

    Connections to Membrane's API are kept for seconds, and jobs open some: only what stays grows.
    """
    looks: list[Usage] = []

    def has_looked() -> bool:
        looks.append(measure(world))
        return len(looks) == count

    wait_for(has_looked, within=60 + 2 * count, every=1)
    return Usage(
        *(min(getattr(look, each.name) for look in looks) for each in fields(Usage)),
    )


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


@dataclass
class Load:
    """So many calls, shared among the clients.

    Attributes:
        points: numbers of points, each given once; not "1 point".
        answered: calls with the right answer.
        repeated: calls that were refused without an effect, because the replica or its database
            was too busy, and that their client repeated.
        wrong: what was wrong with the other answers.
    """

    world: WholeWorld
    calls: int
    points: Iterator[int] = field(default_factory=lambda: itertools.count(2))
    answered: int = 0
    repeated: int = 0
    wrong: list[str] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        self._numbers = iter(range(self.calls))
        threads = [threading.Thread(target=self._work, args=(one,)) for one in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, client: int) -> None:
        connect = _sdk if client % 4 < 2 else _raw
        login, account = LOGINS[client % len(LOGINS)], ACCOUNTS[client % len(ACCOUNTS)]
        while batch := self._take():
            try:
                with connect(self.world, login, account, client % 2) as ask:
                    for number in batch:
                        self._call(ask, FIRST_SALE + (client * 163 + number) % SALES, number)
            except Exception as problem:  # noqa: BLE001  it is an answer that did not come
                self._note(f"client {client}: {problem!r}")

    def _take(self) -> list[int]:
        with self._guard:
            return list(itertools.islice(self._numbers, CALLS_OF_A_CONNECTION))

    def _call(self, ask: Ask, lead: int, number: int) -> None:
        """Read a lead, or give it a number of points that nobody else gives; check who it is."""
        if number % EACH_WRITE:
            tool, arguments = READ, {"lead_id": lead}
            expected = f"matrix{lead}@example.com"
        else:
            arguments = {"lead_id": lead, "points": next(self.points)}
            tool, expected = GIVE, f"gave {arguments['points']} points to lead {lead}"
        answer = ask(tool, arguments)
        for _ in range(TRIES):
            if not answer.failed or (answer.code, answer.executed) not in BUSY:
                break
            with self._guard:
                self.repeated += 1
            answer = ask(tool, arguments)
        found = answer.text if answer.structured is None else str(answer.structured)
        self._note("" if expected in found else f"{expected} is not in {found[:300]}")

    def _note(self, wrong: str) -> None:
        with self._guard:
            self.wrong += [wrong] if wrong else []
            self.answered += not wrong


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

            def ask(tool: str, arguments: dict[str, Any]) -> Answer:
                async def work() -> Answer:
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

        def ask(tool: str, arguments: dict[str, Any]) -> Answer:
            number = next(_IDS)
            headers, body = caller.request(
                "tools/call", {"name": tool, "arguments": arguments}, number
            )
            del headers["Host"]  # that of the address is the service's own here
            found = Response(http.post(endpoint, headers=headers, json=body))
            assert found.message["id"] == number, f"{number} was answered as {found.message}"
            text = found.result["content"][0]["text"]
            structured = found.result.get("structuredContent")
            return Answer(bool(found.result.get("isError")), text, structured)

        yield ask
