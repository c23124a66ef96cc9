"""Leftovers of ten thousand calls: memory, open files, threads, processes."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import accounts, proc_stats
from benchmarks.accounts import READ, WHOM
from benchmarks.client import Client, served
from benchmarks.plots import Line
from benchmarks.stats import Row

TITLE = "After 10,000 calls"
ABOUT = (
    "By the API, eight calls at once. The baseline is measured after the first thousand calls: "
    "by then every part was used once, and Python has reserved its memory. Measured while no "
    "call runs."
)
CALLS, STEP, AT_ONCE = 10_000, 1_000, 8
PROMISED = 5e6


def run() -> list[Row]:
    with accounts.served_sandbox() as account, served(account.environment()) as client:
        client.tools()
        client.call("kartra_status")
        begun = _held(client, "after the start")
        client.at_once(READ, WHOM, AT_ONCE, STEP)
        first = _looked(client)
        rows = [*begun, *_held(client, f"after {STEP:,} calls")]
        for done in range(2 * STEP, CALLS + 1, STEP):
            client.at_once(READ, WHOM, AT_ONCE, STEP)
            rows += _held(client, f"after {done:,} calls")
        last = _looked(client)
    return [*rows, *_growth(first, last)]


def plots(rows: Mapping[str, Row]) -> list[Line]:
    held = [
        row for row in rows.values() if row.what.startswith("memory after") and "calls" in row.what
    ]
    at = [float(row.what.split()[2].replace(",", "")) for row in held]
    return [
        Line("memory", "Memory of the server, MB", "calls", at, [r.figure * 1e-6 for r in held])
    ]


def _held(client: Client, when: str) -> list[Row]:
    held = proc_stats.memory(client.process.pid)
    return [] if held is None else [Row(f"memory {when}", (held,), "MB")]


def _looked(client: Client) -> dict[str, int | None]:
    process = client.process.pid
    return {
        "memory": proc_stats.memory(process),
        "open files": proc_stats.open_files(process),
        "threads": proc_stats.threads(process),
        "processes": proc_stats.children(process),
    }


def _growth(first: Mapping[str, int | None], last: Mapping[str, int | None]) -> list[Row]:
    found: list[Row] = []
    for what, before in first.items():
        after = last[what]
        if before is not None and after is not None:
            unit, bound = ("MB", PROMISED) if what == "memory" else ("", 0.0)
            found.append(Row(f"{what}, grown by", (after - before,), unit, bound))
    return found
