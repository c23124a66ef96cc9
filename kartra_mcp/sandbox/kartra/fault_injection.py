"""Injected faults, for what only the outside world can cause.

They are stored in the account until they are used up.
"""

from __future__ import annotations

from kartra_mcp.sandbox.kartra.errors import ANYWHERE, MESSAGES, KartraError, TooManyRequestsError
from kartra_mcp.sandbox.store.database import Account, Row

MEMBRANE = {
    # key of the fault → type of Membrane's error
    "internal": "internal",
    "not_authenticated": "bad_request",
    "access_denied": "bad_request",
    "rate_limit_exceeded": "bad_request",
    "lock_timeout": "concurrency",
    "access_token_expired": "connection",
    "connection_is_defunct": "connection",
}
PROGRAM = {"hang", "silent", "garbage", "killed", "cut"}
"""Faults without a usable response, of the program or of its counterpart over HTTP."""
SLOW = "slow"
"""The response is delayed; the message holds the seconds."""
DELAYED = "delayed"
"""Over the API: the request is received later; the message holds the seconds."""
QUEUED = "queued"
"""Over the API: the request is accepted, and executed and answered later, after the seconds."""
HALF = '{"output": {"status": "Success", "act'

TIMED = {SLOW, DELAYED, QUEUED}
KNOWN = frozenset(MESSAGES) | frozenset(MEMBRANE) | PROGRAM | {"429"} | TIMED
_AROUND = frozenset(MEMBRANE) | PROGRAM | {SLOW}
_AROUND_API = _AROUND | {QUEUED}


def set_fault(  # noqa: PLR0913  what a fault may have, each by its name
    account: Account,
    cmd: str,
    kind: str,
    times: int,
    message: str = "",
    *,
    effect: bool = False,
    after: float = 0.0,
) -> None:
    """Store a fault; `after` are the seconds by which its effect follows the lost response."""
    account.run(
        "INSERT INTO faults (cmd, type, times, effect, message, after) VALUES (?, ?, ?, ?, ?, ?)",
        *(cmd, kind, times, int(effect), message, after),
    )


def take_fault(account: Account, cmd: str, kinds: frozenset[str], every: str = "*") -> Row | None:
    """Return the oldest fault for a command and count it down; `*` matches every command."""
    for row in account.rows("SELECT * FROM faults WHERE cmd IN (?, ?) ORDER BY id", cmd, every):
        if row["type"] in kinds:
            account.run("UPDATE faults SET times = times - 1 WHERE id = ?", row["id"])
            account.run("DELETE FROM faults WHERE times < 1")
            return row
    return None


def list_inner_faults() -> frozenset[str]:
    """Return the error types that reject one command inside a response."""
    return frozenset(MESSAGES) - ANYWHERE


def refuse(account: Account, cmd: str) -> None:
    row = take_fault(account, cmd, list_inner_faults())
    if row is not None:
        raise KartraError(row["type"], row["message"])


def take_outer_fault(account: Account, cmd: str) -> Row | None:
    """Return a fault of Membrane or the program itself."""
    if account.is_late:
        return None
    return take_fault(account, cmd, _AROUND_API if account.can_wait else _AROUND)


def take_address_fault(account: Account, place: str) -> Row | None:
    """Return a fault on a route of the API, such as `GET /connections`; `*` does not match."""
    return None if account.is_late else take_fault(account, place, _AROUND_API, place)


def take_delay(account: Account, names: list[str]) -> float:
    """Return the seconds by which a request is received later; 0 without such a fault.

    `names` are its route and its commands.
    """
    for name in names:
        row = take_fault(account, name, frozenset({DELAYED}))
        if row is not None:
            return parse_delay(row["message"])
    return 0.0


def has_delays(account: Account) -> bool:
    """Return whether any request may be received later."""
    return account.row("SELECT 1 FROM faults WHERE type = ?", DELAYED) is not None


def parse_delay(message: str) -> float:
    """Return the delay of `slow`; one second by default."""
    try:
        return min(max(float(message or 1), 0), 3600)
    except ValueError:
        return 1


def refuse_whole(account: Account, cmd: str) -> None:
    """Raise the error that answers a request before any of its commands ran."""
    row = take_fault(account, cmd, ANYWHERE)
    if row is None:
        return
    if row["type"] == "429":
        raise TooManyRequestsError
    raise KartraError(row["type"], row["message"])
