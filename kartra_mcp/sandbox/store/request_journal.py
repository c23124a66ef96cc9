"""Journal of the API's requests: token, decision, effects and response of each.

It is the ground truth of tests: what was accepted under which token, and what was executed when.
Times are seconds since the epoch by the machine's clock, whatever the account's `clock` is.
"""

from __future__ import annotations

import json
import time
from typing import Any

from kartra_mcp.sandbox.store.database import Account

Map = dict[str, Any]
_COLUMNS = (
    "n, received_at, method, path, action, token_id, token_end, meta, decision, reason, effects,"
    " applied_at, status, answered_at"
)
_JSON = ("meta", "effects")


def receive(account: Account, method: str, path: str, action: str, meta: object) -> int:
    """Journal a request as it is received; return its number."""
    return account.run(
        "INSERT INTO requests (received_at, method, path, action, meta) VALUES (?, ?, ?, ?, ?)",
        *(time.time(), method, path, action, json.dumps(meta)),
    )


def decide(account: Account, number: int, token: tuple[str, float | None], reason: str) -> None:
    """Journal the token's id and end, and why it was refused; "" if it was accepted."""
    account.run(
        "UPDATE requests SET token_id = ?, token_end = ?, decision = ?, reason = ? WHERE n = ?",
        *(*token, "refused" if reason else "accepted", reason, number),
    )


def apply(account: Account, number: int, effects: list[Map]) -> None:
    """Journal the commands that changed the account, with their arguments."""
    if effects:
        account.run(
            "UPDATE requests SET effects = ?, applied_at = ? WHERE n = ?",
            *(json.dumps(effects), time.time(), number),
        )


def answer(account: Account, number: int, status: int) -> None:
    """Journal the response as it is sent; a lost one is never journaled."""
    account.run(
        "UPDATE requests SET status = ?, answered_at = ? WHERE n = ?", status, time.time(), number
    )


def list_requests(account: Account) -> list[Map]:
    """List every request since the last reset, oldest first."""
    rows = account.rows(f"SELECT {_COLUMNS} FROM requests ORDER BY n")
    return [
        {**dict(row), **{name: json.loads(row[name] or "null") for name in _JSON}} for row in rows
    ]
