"""Ten thousand actions: start, list, find, call."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from benchmarks import accounts, proc_stats
from benchmarks.cases.start import started_in
from benchmarks.client import SERVER, Client, served
from benchmarks.stats import Row, paired, repeated, timed

TITLE = "10,000 actions"
ABOUT = (
    "An account that lists 10,000 actions with schemas of four fields, the list on disk, against "
    "one that lists 20. With `search` only the tools that find and run actions are listed; with "
    "`all` every action is one."
)
FEW, MANY = 20, 10_000
TIMES, PAIRS = 30, 8
KNOWN = accounts.listed("get-lead")
VERBS = ("list", "get", "retrieve")
THINGS = ("lead", "tag", "page", "form", "order", "product", "sequence", "membership", "campaign")


def run() -> list[Row]:
    with accounts.folder() as one, accounts.folder() as other:
        few, many = _account(one, FEW), _account(other, MANY)
        return [*_listed("search", many, few), *_listed("all", many, few), *_used(many, few)]


def actions(count: int) -> list[dict[str, Any]]:
    """Return so many actions with schemas, the same in every run; the last one is a read."""
    return [*(_action(number) for number in range(count - 1)), {**_action(count), **KNOWN}]


def _action(number: int) -> dict[str, Any]:
    verb, thing = VERBS[number % len(VERBS)], THINGS[number // len(VERBS) % len(THINGS)]
    return accounts.listed(
        f"{verb}-{thing}-{number}",
        description=f"{verb.title()} what belongs to {thing} {number}, newest first.",
        inputSchema={
            "type": "object",
            "properties": {
                "lead_id": {"type": "integer", "description": "The lead's number in Kartra."},
                "email": {"type": "string", "format": "email", "description": "Or its address."},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 25},
                "order": {"type": "string", "enum": ["newest", "oldest"]},
            },
        },
        config={"request": {"method": "GET"}},
    )


def _account(folder: Any, count: int) -> accounts.Printed:
    account = accounts.Printed(folder)
    account.answers(actions(count), run={"output": {"status": "Success"}, "actionRunId": "r"})
    return account


def _listed(expose: str, many: accounts.Printed, few: accounts.Printed) -> list[Row]:
    """Measure from the spawn to `tools/list`, and the size of the list."""
    ours, theirs = (place.environment(EXPOSE=expose) for place in (many, few))
    pairs = paired(
        lambda: started_in(SERVER, ours).listed, lambda: started_in(SERVER, theirs).listed, PAIRS
    )
    with served(ours) as client:
        size = len(json.dumps(client.tools()))
        again = repeated(client.tools, TIMES // 3)
        held = proc_stats.memory(client.process.pid)
    return [
        Row(f"`{expose}`, spawn to tools/list", pairs.ours, "ms"),
        Row(f"`{expose}`, against 20 actions", pairs.ratios(), "×"),
        Row(f"`{expose}`, the list again", again, "ms"),
        Row(f"`{expose}`, the list's size", (size,), "MB"),
        *([Row(f"`{expose}`, memory", (held,), "MB")] if held is not None else []),
    ]


def _used(many: accounts.Printed, few: accounts.Printed) -> list[Row]:
    ours, theirs = (place.environment(EXPOSE="search") for place in (many, few))
    with served(ours) as client, served(theirs) as other:
        for one in (client, other):
            one.call("kartra_status")
        find = partial(client.call, "kartra_search_actions", intent="newest orders of a lead")
        find()
        found = repeated(find, TIMES)
        pairs = paired(lambda: _read(client), lambda: _read(other), TIMES)
    return [
        Row("find an action by words", found, "ms"),
        Row("a call, beyond that with 20 actions", pairs.added(), "ms"),
    ]


def _read(client: Client) -> float:
    words = {"action": accounts.READ, "arguments": {"lead_id": 1}}
    return timed(partial(client.call, "kartra_run_read", **words))
