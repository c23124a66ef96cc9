"""One read through the server against the same program, started by hand with the same words."""

from __future__ import annotations

import sys
from functools import partial

from benchmarks import accounts
from benchmarks.client import served
from benchmarks.numbers import Row, paired, timed
from tests.door import Sandbox

TITLE = "One call"
ABOUT = (
    "`kartra_get_lead` on the sandbox account, the throttle off, against the sandbox's program "
    "started by hand with the words that the server gives it."
)
PAIRS = 60


def run() -> list[Row]:
    with accounts.sandbox() as account, served(account.environment) as client:
        client.call("kartra_status")
        through = partial(client.call, "kartra_get_lead", email="ada@example.com")
        through()
        alone = partial(accounts.by_hand, words(account), account.environment)
        pairs = paired(lambda: timed(through), lambda: timed(alone), PAIRS)
    return [
        Row("through the server", pairs.ours, "ms"),
        Row("the program by hand", pairs.theirs, "ms"),
        Row("added", pairs.added(), "ms"),
        Row("ratio", pairs.ratios(), "×"),
    ]


def words(account: Sandbox) -> list[str]:
    """The command with which the server ran its last action."""
    program = [sys.executable, "-P", "-m", "kartra_mcp.sandbox", f"--account={account.file}"]
    return [*program, *account.runs()[-1]]
