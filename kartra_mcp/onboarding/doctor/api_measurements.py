"""Measurements of a workspace over its API, by reads alone: its clock, and the end of tokens."""

from __future__ import annotations

from collections.abc import Callable

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.models import UNFENCED
from kartra_mcp.core.timings import DEFAULT_TIMINGS
from kartra_mcp.membrane.http_client import HttpClient
from kartra_mcp.membrane.send_right import NOTICEABLE_SKEW
from kartra_mcp.onboarding.doctor.findings import CheckResult, failed, passed, warning

CLOCKS, FENCE = "api clock", "api tokens"
ENDED_SECONDS = (1, 5, 30, 60)
"""Ages after their end of the tokens that are tried."""

_SETTLED_BY_USER = (
    "A write of unknown outcome can then be settled as failed only by the user, with "
    "`kartra-mcp ledger settle INTENT failed` (docs/api.md)."
)
_SET_CLOCK = "Set the clock of this machine from the network."


def check_api_clock(client: HttpClient) -> CheckResult:
    """Compare this machine's clock with Membrane's, by the reads so far."""
    if client.skew is None:
        message = "Membrane's responses have no usable `Date`, so its clock was not compared."
        return warning(CLOCKS, message, "Keep the clock of this machine set from the network.")
    seconds = client.skew.certain
    limit = DEFAULT_TIMINGS.writes.skew_seconds
    direction = "ahead of" if seconds > 0 else "behind"
    message = f"Membrane's clock is {abs(seconds):.0f} seconds {direction} this machine's."
    if abs(seconds) > limit:
        return failed(CLOCKS, f"{message} No irreversible write begins.", _SET_CLOCK)
    if abs(seconds) > NOTICEABLE_SKEW:
        return warning(CLOCKS, message, _SET_CLOCK)
    return passed(CLOCKS, "This machine's clock agrees with Membrane's.")


async def check_token_end(client: HttpClient, make_deadline: Callable[[], Deadline]) -> CheckResult:
    """Check that reads under tokens that ended are refused."""
    if client.credentials.fence == UNFENCED:
        message = "An access token is sent unchanged, and stays valid after a write was given up."
        fix = f"{_SETTLED_BY_USER} Give the workspace's key, secret and tenant instead."
        return warning(FENCE, message, fix)
    found: dict[int, bool] = {}
    for seconds in ENDED_SECONDS:
        refused = await client.refuses_token(client.clocks.wall() - seconds, make_deadline())
        if refused is None:
            message = "It could not be measured whether Membrane refuses a token that ended."
            return warning(FENCE, message, "Run `kartra-mcp doctor` again.")
        found[seconds] = refused
    return judge_token_end(found)


def judge_token_end(refused: dict[int, bool]) -> CheckResult:
    """Return the finding; `refused` is by the seconds since the end of each token."""
    accepted = [seconds for seconds, was_refused in refused.items() if not was_refused]
    longest = max(accepted, default=0)
    if longest == max(refused):
        message = (
            f"Membrane accepts a token {longest} seconds after its end, so that a delayed write is "
            "not refused."
        )
        return warning(FENCE, message, _SETTLED_BY_USER)
    least = min(seconds for seconds in refused if seconds > longest)
    if not accepted:
        return passed(FENCE, f"Membrane refuses a token {least} s after its end.")
    return passed(
        FENCE,
        f"Membrane refuses a token {least} s after its end, and accepts one {longest} s after it; "
        "the wait before a write is settled as failed covers that.",
    )
