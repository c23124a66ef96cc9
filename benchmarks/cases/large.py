"""A 10 MB result: its first page, then all of it by `kartra_read_more`, in two processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from benchmarks import accounts, proc_stats
from benchmarks.client import Broken, Client, served
from benchmarks.stats import Row, paired, timed

TITLE = "A result of 10 MB"
ABOUT = (
    "A program prints a list of leads, one in eight with letters beyond ASCII and a note of two "
    "lines. Its own time is that of the program by hand until all is read. The list is then read "
    "to its end in pages of the default size: the first half by the same server, the second half "
    "by another process; every row is compared."
)
SIZE = 10_000_000
PAIRS = 10
PROMISED = 1.0
TOOL, KEY = "kartra_retrieve_account_lists", "retrieve-account-lists"


def run() -> list[Row]:
    rows = leads(SIZE)
    with accounts.folder() as folder:
        account = accounts.Printed(folder)
        output = {"status": "Success", "rows": rows}
        account.answers([accounts.listed(KEY)], run={"output": output, "actionRunId": "run-1"})
        with served(account.environment()) as client:
            first = _first_pages(client, account)
            rest = _read_to_the_end(client, account, rows)
            used = _memory("peak memory of the server, read on too", client)
    return [*first, *rest, *used]


def leads(size: int) -> list[dict[str, Any]]:
    """Return rows whose JSON has about so many bytes; the same in every run."""
    made: list[dict[str, Any]] = []
    for number in count():
        if size <= 0:
            return made
        made.append(lead(number))
        size -= len(json.dumps(made[-1], ensure_ascii=False).encode()) + 2
    raise AssertionError


def lead(number: int) -> dict[str, Any]:
    strange = number % 8 == 0
    return {
        "id": 100_000 + number,
        "email": f"lead.{number}@example.com",
        "first_name": "Zoë" if strange else "Ada",
        "last_name": "Łukasiewicz" if strange else "Moreno",
        "phone": f"+1 555 {number:07}",
        "tags": ["Spring retreat", "Newsletter", f"Cohort {number % 40}"],
        "points": number % 1_000,
        "subscribed": number % 3 == 0,
        "created_at": f"2026-{number % 12 + 1:02}-{number % 28 + 1:02} 09:15:00",
        "custom_fields": {"source": "webinar", "score": number / 8, "company": None},
        "note": "Asked to be called back.\nIn the morning." if strange else "",
    }


def _first_pages(client: Client, account: accounts.Printed) -> list[Row]:
    client.call("kartra_status")
    before = _memory("peak memory of the server before", client)
    alone = partial(accounts.by_hand, _words(account), account.environment())
    client.call(TOOL)
    after = _memory("peak memory of the server after the first page", client)
    used = proc_stats.processor_time(client.process.pid)
    pairs = paired(lambda: timed(partial(client.call, TOOL)), lambda: timed(alone), PAIRS)
    return [
        Row("tools/call to the first page", pairs.ours, "ms"),
        Row("the program's own time", pairs.theirs, "ms"),
        Row("first page beyond the program's own time", pairs.added(), "ms", PROMISED),
        *_computed(client, used, PAIRS + 1),
        *before,
        *after,
    ]


def _words(account: accounts.Printed) -> list[str]:
    return [*account.command, "action", "run", f"id-{KEY}", "--json"]


def _read_to_the_end(
    client: Client, account: accounts.Printed, rows: list[dict[str, Any]]
) -> list[Row]:
    answer = client.call(TOOL)
    cut = answer["truncated"]
    found: list[Any] = list(answer["result"]["rows"])
    mine = _read_on(client, cut["result_id"], found, lambda: len(found) >= len(rows) // 2)
    with served(account.environment()) as other:
        theirs = _read_on(other, cut["result_id"], found, lambda: False)
    if found != rows or cut["total"] != len(rows):
        raise Broken(f"{len(found)} rows were read of {len(rows)}, or they are not the same")
    return [
        Row("rows read to the end, all as they were", (len(found),), "rows"),
        Row("a further page, from the same process", mine, "ms"),
        Row("a further page, from another process", theirs, "ms"),
        Row("all further pages together", (sum(mine) + sum(theirs),), "s"),
    ]


def _read_on(
    client: Client, identity: str, found: list[Any], enough: Callable[[], bool]
) -> tuple[float, ...]:
    """Read further pages until enough or the end; return the seconds of each."""
    took: list[float] = []
    more = True
    while more and not enough():
        answers: list[dict[str, Any]] = []
        page = partial(client.call, "kartra_read_more", result_id=identity, offset=len(found))
        took.append(timed(lambda page=page, answers=answers: answers.append(page())))
        found += answers[0]["result"]
        more = "truncated" in answers[0]
    return tuple(took)


def _computed(client: Client, before: float | None, calls: int) -> list[Row]:
    after = proc_stats.processor_time(client.process.pid)
    if before is None or after is None:
        return []
    what = "processor time of the server for it, on average"
    return [Row(what, ((after - before) / calls,), "ms")]


def _memory(what: str, client: Client) -> list[Row]:
    held = proc_stats.peak_memory(client.process.pid)
    return [] if held is None else [Row(what, (held,), "MB")]
