"""Calls a second and their latency, by the program and by the API."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import accounts, requests
from benchmarks.accounts import READ, WHOM
from benchmarks.client import Client, Crowd, served
from benchmarks.plots import Bars
from benchmarks.proc_stats import processor_time
from benchmarks.stats import Row, timed

TITLE = "Many calls at once"
ABOUT = (
    "`kartra_get_lead`, without a rate limit, with 64 slots and so many calls in flight; by the "
    "program and by the API in turn, in several rounds. Both use the same sandbox: the program "
    "starts a new Python for each call, and the API is one Python process. The rows below show "
    "the sandbox's own time, and its rate on eight plain connections without a server between. "
    "A server computes on one processor, so the processor time of a call limits the calls a "
    "second."
)
AT_ONCE = (1, 8, 64)
ROUNDS = 3
BY_PROGRAM = {1: 20, 8: 60, 64: 96}
BY_API = {1: 300, 8: 800, 64: 800}
PROMISED = 20.0
ALONE = 400

Rounds = dict[int, list[Crowd]]


def run() -> list[Row]:
    program: Rounds = {many: [] for many in AT_ONCE}
    api: Rounds = {many: [] for many in AT_ONCE}
    with (
        accounts.sandbox() as by_program,
        accounts.served_sandbox() as by_api,
        served(by_program.environment()) as one,
        served(by_api.environment()) as other,
    ):
        for client in (one, other):
            client.call("kartra_status")
            client.at_once(READ, WHOM, 8, 16)
        own = _own_time(by_api)
        for many in AT_ONCE * ROUNDS:
            program[many].append(one.at_once(READ, WHOM, many, BY_PROGRAM[many]))
            api[many].append(other.at_once(READ, WHOM, many, BY_API[many]))
        used = _processor(other, by_api.process)
    ratios = [a.rate / p.rate for a, p in zip(api[8], program[8], strict=True)]
    return [
        *_rows("by the program", program),
        *_rows("by the API", api),
        Row("by the API against the program, 8 at once", tuple(ratios), "×", at_least=PROMISED),
        *own,
        *used,
    ]


def plots(rows: Mapping[str, Row]) -> list[Bars]:
    """Plot the calls a second, and the latency of most calls."""
    ways = ("by the program", "by the API")

    def figures(what: str) -> dict[str, list[float]]:
        return {
            way: [rows[f"{way}, {many} at once{what}"].figure for many in AT_ONCE] for way in ways
        }

    labels = [str(many) for many in AT_ONCE]
    return [
        Bars("calls", "Calls a second", "at once", labels, figures("")),
        Bars("latency", "95 of 100 calls end within, s", "at once", labels, figures(", 95 of 100")),
    ]


def _rows(way: str, rounds: Rounds) -> list[Row]:
    found: list[Row] = []
    for many, crowds in rounds.items():
        what = f"{way}, {many} at once"
        took = tuple(seconds for crowd in crowds for seconds in crowd.latencies)
        found.append(Row(what, tuple(crowd.rate for crowd in crowds), "calls/s"))
        found += [Row(f"{what}, {p} of 100", took, "ms", percent=p) for p in (50, 95, 99)]
    return found


def _own_time(account: accounts.Served) -> list[Row]:
    with requests.act(account) as once:
        took = tuple(timed(once) for _ in range(ALONE))
    rate = tuple(requests.rate(account, 8, ALONE) for _ in range(ROUNDS))
    return [
        Row("the sandbox's own time, one request", took, "ms"),
        Row("the sandbox alone, 8 connections", rate, "calls/s"),
    ]


def _processor(client: Client, sandbox: int) -> list[Row]:
    """Return the processor time of one call in each of the two processes."""
    many = BY_API[8]
    before = [processor_time(pid) for pid in (client.process.pid, sandbox)]
    client.at_once(READ, WHOM, 8, many)
    after = [processor_time(pid) for pid in (client.process.pid, sandbox)]
    names = ("processor time of the server, a call by API", "processor time of the sandbox for it")
    return [
        Row(name, ((b - a) / many,), "ms")
        for name, a, b in zip(names, before, after, strict=True)
        if a is not None and b is not None
    ]
