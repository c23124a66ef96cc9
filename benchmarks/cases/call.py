"""One read through the server against the same read by hand: by the program, and by the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import accounts
from benchmarks.accounts import READ, WHOM
from benchmarks.client import Client, served
from benchmarks.requests import act
from benchmarks.stats import Row, paired, timed

TITLE = "One call"
ABOUT = (
    "`kartra_get_lead` on the sandbox account, without a rate limit. By the program: compared "
    "with the sandbox's program started by hand (`subprocess.run`) with the server's own "
    "arguments. By the API: compared with the same request by hand (`http.client`) on a "
    "connection that is kept open. By hand, too, the answer is parsed as JSON. The time "
    "added by the program is the SDK's, the work on arguments and answer, two more processes and "
    "the supervision of the program. It is longer than in a single process, because the "
    "processor's caches are cold by then. The sandbox's program is faster than one of Node, so "
    "that the same added time is a larger part of it."
)
PAIRS, REQUESTS = 200, 300
RATIO, BY_PROGRAM, BY_API = 1.05, 0.010, 0.003


def run() -> list[Row]:
    return [*_by_program(), *_by_api()]


def _by_program() -> list[Row]:
    with accounts.sandbox() as account, served(account.environment()) as client:
        through = _through(client)
        alone = _read_by_hand(account)
        pairs = paired(lambda: timed(through), lambda: timed(alone), PAIRS)
    return [
        Row("through the server", pairs.ours, "ms"),
        Row("the program by hand", pairs.theirs, "ms"),
        Row("added", pairs.added(), "ms", BY_PROGRAM),
        Row("ratio", pairs.ratios(), "×", RATIO),
    ]


def _read_by_hand(account: accounts.Sandbox) -> Callable[[], Any]:
    """Run the program and parse its answer, as the server does."""
    words, environment = account.last_words(), account.environment()
    return lambda: json.loads(accounts.by_hand(words, environment))


def _by_api() -> list[Row]:
    with accounts.served_sandbox() as account, served(account.environment()) as client:
        through = _through(client)
        with act(account) as alone:
            pairs = paired(lambda: timed(through), lambda: timed(alone), REQUESTS)
    return [
        Row("by API, through the server", pairs.ours, "ms"),
        Row("the request by hand", pairs.theirs, "ms"),
        Row("by API, added", pairs.added(), "ms", BY_API),
    ]


def _through(client: Client) -> partial[dict[str, Any]]:
    client.call("kartra_status")
    through = partial(client.call, READ, **WHOM)
    through()
    return through
