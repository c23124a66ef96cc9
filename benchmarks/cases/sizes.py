"""Results from 1 kB to 30 MB: seconds until the first page, and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks import accounts, proc_stats
from benchmarks.cases.large import KEY, TOOL, leads
from benchmarks.client import Client, served
from benchmarks.plots import Lines
from benchmarks.stats import Row, paired, timed

TITLE = "Results of 1 kB to 30 MB"
ABOUT = (
    "A program prints a list of leads of about that size. The time is that of the first page, "
    "minus the program's own time by hand until all is read. The memory is the server's peak, "
    "minus its memory before. Most of it is JSON parsed into Python's objects, which are "
    "several times as large as their text, and the cleaned copy that is stored for further "
    "pages."
)
SIZES = {
    "1 kB": 1_000,
    "10 kB": 10_000,
    "100 kB": 100_000,
    "1 MB": 1_000_000,
    "10 MB": 10_000_000,
    "30 MB": 30_000_000,
}
ENOUGH = 20_000_000
"""Bytes to read for each figure, in at most `MOST` reads."""
MOST, LEAST = 20, 3


def run() -> list[Row]:
    rows: list[Row] = []
    for name, size in SIZES.items():
        with accounts.folder() as folder:
            account = accounts.Printed(folder)
            found = {"output": {"status": "Success", "rows": leads(size)}, "actionRunId": "run-1"}
            account.answers([accounts.listed(KEY)], run=found)
            with served(account.environment()) as client:
                rows += _measured(name, size, account, client)
    return rows


def plots(rows: Mapping[str, Row]) -> list[Lines]:
    at = [size / 1e6 for size in SIZES.values()]
    series = {
        "time beyond the program's own, ms": [1e3 * rows[f"{n}, added"].figure for n in SIZES],
        "peak memory, MB": [1e-6 * rows[m].figure for n in SIZES if (m := f"{n}, memory") in rows],
    }
    whole = {name: values for name, values in series.items() if len(values) == len(at)}
    return [Lines("sizes", "The first page of a result", "MB of JSON", at, whole)]


def _measured(name: str, size: int, account: accounts.Printed, client: Client) -> list[Row]:
    client.call("kartra_status")
    once = partial(client.call, TOOL)
    memory = _memory(name, client, once)
    words = [*account.command, "action", "run", f"id-{KEY}", "--json"]
    alone = partial(accounts.by_hand, words, account.environment())
    pairs = paired(lambda: timed(once), lambda: timed(alone), max(LEAST, min(MOST, ENOUGH // size)))
    added = tuple(max(seconds, 0.0) for seconds in pairs.added())
    return [Row(f"{name}, added", added, "ms"), *memory]


def _memory(name: str, client: Client, once: Callable[[], object]) -> list[Row]:
    process = client.process.pid
    before = proc_stats.memory(process)
    proc_stats.forget_peak(process)
    once()
    peak = proc_stats.peak_memory(process)
    if before is None or peak is None:
        return []
    return [Row(f"{name}, memory", (max(peak - before, 0),), "MB")]
