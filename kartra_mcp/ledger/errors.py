"""Refusals of a ledger that accepts no write, with a reason and a remedy."""

from __future__ import annotations

from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.ledger.records import format_utc

REPLACEABLE_LAG = 86_400.0
"""Seconds behind the newest entry from which on the user may start a new ledger.

Below, waiting is better: a new ledger does not contain the earlier refunds.
"""


class LedgerRefusedError(RefusedError):
    """A ledger that accepts no write now; `why` is the reason alone, as a clause."""

    def __init__(self, why: str, remedy: str, message: str = "") -> None:
        text = message or f"{why[0].upper()}{why[1:]}"
        super().__init__("ledger_unavailable", f"{text}. Nothing was done.", remedy)
        self.why = why


class LedgerDamagedError(LedgerRefusedError):
    """The ledger was altered, cut or overwritten. Only the user may replace it."""

    def __init__(self, why: str) -> None:
        super().__init__(
            why,
            "The user should run `kartra-mcp ledger verify`, keep the file, and then run "
            "`kartra-mcp ledger new`.",
            f"The ledger is damaged: {why}",
        )


def unavailable_error(why: str) -> RefusedError:
    """Return the refusal of a ledger that cannot be written now but is not damaged."""
    return LedgerRefusedError(
        why,
        "Make the ledger writable, then repeat the call. Until then every write is refused.",
        f"The ledger cannot be written: {why}",
    )


def explain(problem: KartraMCPError) -> str:
    """Return why a ledger cannot be used, for a text that is not about a call.

    The message of the error adds that nothing was done, which is wrong after a write.
    """
    if isinstance(problem, LedgerRefusedError):
        return f"{problem.why[0].upper()}{problem.why[1:]}."
    return problem.message.removesuffix("Nothing was done.").strip()


def uncertain_folder_error(why: str) -> RefusedError:
    """Return the refusal while it is not certain which ledger belongs to the account."""
    return RefusedError(
        "ledger_unavailable",
        f"{why}, so the ledger of this account is not certain. Nothing was done.",
        "The user should correct that setting, the same in every client, and restart the server.",
    )


class ClockBehindError(LedgerRefusedError):
    """The clock is behind the newest entry: it is wrong now, or was wrong then.

    Ages are counted by the clock: caps, approvals and locks would stand still until it catches up.
    """

    def __init__(self, seconds: float, until: float) -> None:
        fresh = ", or run `kartra-mcp ledger new`" if seconds >= REPLACEABLE_LAG else ""
        super().__init__(
            f"the clock is {format_span(seconds)} behind the newest line of the ledger",
            "The user should set the clock from the network. If it is right now, it was ahead "
            f"before: wait until {format_utc(until)}{fresh}.",
        )


def format_span(seconds: float) -> str:
    """Format a span of time in its largest unit: `3 hours`."""
    units = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))
    size, unit = next(((s, u) for s, u in units if seconds >= 2 * s), (1, "seconds"))
    return f"{seconds / size:.0f} {unit}"


def wrong_version_error(found: int, known: int) -> RefusedError:
    """Return the refusal of a ledger that a newer program migrated."""
    return RefusedError(
        "ledger_unavailable",
        f"The ledger has schema version {found}; this program supports up to {known}. "
        "Nothing was done.",
        "Update kartra-mcp in every client on this machine, then start the clients again.",
    )
