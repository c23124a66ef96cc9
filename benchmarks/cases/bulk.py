"""A bulk run against a bare loop that starts the same program, or sends the same requests."""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import Any

from benchmarks import accounts, proc_stats, requests
from benchmarks.accounts import READ, WHOM
from benchmarks.client import Broken, Client, served
from benchmarks.stats import Row, timed

TITLE = "Bulk runs"
ABOUT = (
    "`kartra_bulk_run` of `kartra_create_lead`, without a rate limit: the call that runs the items "
    "after the consent, so many at once, each with its two lines in the ledger. Compared with a "
    "bare loop that starts the sandbox's program with the same arguments, as many at once, or "
    "sends the same requests on as many connections; one after the other, in several rounds. The "
    "sandbox answers a request far faster than any account on the internet, and a bare loop "
    "records nothing, while each item here is committed twice: that row has no promise. The rows "
    "of an API of 100 ms show what a user sees. "
    "Reads of another call are timed while a run goes on, and alone."
)
TOOL = "kartra_create_lead"
AT_ONCE = 4
SETTINGS = {"MAX_CHILDREN": str(AT_ONCE), "TIMEOUT": "900"}
MANY, READS, HELD = 2_000, 60, 10e6
BY_PROGRAM, BY_API, BY_SLOW_API, ROUNDS = 40, 200, 80, 5
PROMISED, SLOWED = 0.9, 2.0
_NUMBERS = itertools.count()


def run() -> list[Row]:
    return [*_by_program(), *_by_api()]


def _by_program() -> list[Row]:
    with accounts.sandbox() as account, served(account.environment(**SETTINGS)) as client:
        first = _address()
        client.call(TOOL, email=first)
        words, environment = account.last_words(), account.environment()

        def alone(email: str) -> None:
            accounts.by_hand([word.replace(first, email) for word in words], environment)

        return _compare("by the program", client, [alone] * AT_ONCE, BY_PROGRAM)


def _by_api() -> list[Row]:
    with (
        accounts.served_sandbox() as account,
        served(account.environment(**SETTINGS)) as client,
        ExitStack() as connections,
    ):
        client.call("kartra_status")
        senders = [
            connections.enter_context(requests.sender(account, TOOL)) for _ in range(AT_ONCE)
        ]
        alone = [partial(_send, send) for send in senders]
        rows = _compare("by the API", client, alone, BY_API, at_least=None)
        _slow_down(account)
        rows += _compare("by an API of 100 ms", client, alone, BY_SLOW_API)
        _slow_down(account, clear=True)
        held = proc_stats.memory(client.process.pid)
        _bulk(client, MANY)
        grown = proc_stats.memory(client.process.pid)
        if held is not None and grown is not None:
            rows.append(Row(f"memory added by {MANY:,} items", (grown - held,), "MB", HELD))
        return [*rows, *_slowed(client)]


def _slow_down(account: accounts.Served, *, clear: bool = False) -> None:
    """Let the account take 100 ms for each request, as one on the internet does."""
    rest = ["clear"] if clear else ["set", "create_lead", "slow", "--times=100000", "--message=0.1"]
    program = [sys.executable, "-P", "-m", "kartra_mcp.sandbox"]
    file = account.folder / "account.db"
    accounts.by_hand([*program, f"--account={file}", "fault", *rest], account.environment())


def _send(send: Callable[..., object], email: str) -> object:
    return send(email=email)


def _compare(
    way: str,
    client: Client,
    alone: Sequence[Callable[[str], object]],
    count: int,
    at_least: float | None = PROMISED,
) -> list[Row]:
    """Return the items a second of a run and of a bare loop, in turn."""
    ours, theirs = list[float](), list[float]()
    for _ in range(ROUNDS + 1):
        ours.append(count / _bulk(client, count))
        theirs.append(count / _loop(alone, count))
    ratios = tuple(a / b for a, b in zip(ours[1:], theirs[1:], strict=True))
    return [
        Row(f"a bulk run {way}", tuple(ours[1:]), "calls/s"),
        Row(f"a bare loop {way}", tuple(theirs[1:]), "calls/s"),
        Row(f"the run against the loop, {way}", ratios, "×", at_least=at_least),
    ]


def _bulk(client: Client, count: int) -> float:
    """Return the seconds that a run of so many items takes after its consent."""
    plan = _plan(client, count)
    begun = perf_counter()
    done = client.call("kartra_bulk_run", **plan)["result"]
    took = perf_counter() - begun
    if done["done"] != count:
        raise Broken(f"a bulk run did {done['done']} of {count}: {done}")
    return took


def _plan(client: Client, count: int) -> dict[str, Any]:
    """Return the arguments that confirm a planned run."""
    items = [{"email": _address()} for _ in range(count)]
    shown = client.refusal("kartra_bulk_run", {"tool": TOOL, "items": items})["confirmation"]
    return {
        "bulk_id": shown["bulk_id"],
        "confirm": True,
        "confirmation_id": shown["id"],
        "confirmation_summary": shown["summary"],
    }


def _loop(alone: Sequence[Callable[[str], object]], count: int) -> float:
    """Return the seconds of the same work without a server, as many at once."""
    free: SimpleQueue[Callable[[str], object]] = SimpleQueue()
    for one in alone:
        free.put(one)

    def work(email: str) -> None:
        one = free.get()
        one(email)
        free.put(one)

    addresses = [_address() for _ in range(count)]
    begun = perf_counter()
    with ThreadPoolExecutor(len(alone)) as pool:
        list(pool.map(work, addresses))
    return perf_counter() - begun


def _slowed(client: Client) -> list[Row]:
    """Return how much longer reads take while a run goes on."""
    usual = tuple(timed(lambda: client.call(READ, **WHOM)) for _ in range(READS))
    plan = _plan(client, MANY)
    running = client.begin("kartra_bulk_run", plan)
    beside = tuple(timed(lambda: client.call(READ, **WHOM)) for _ in range(READS))
    client.end(running)
    slower = statistics.median(beside) / statistics.median(usual)
    return [
        Row("a read alone", usual, "ms"),
        Row("a read beside a run", beside, "ms"),
        Row("the read beside against alone", (slower,), "×", SLOWED),
    ]


def _address() -> str:
    return f"bulk-{next(_NUMBERS)}@example.com"
