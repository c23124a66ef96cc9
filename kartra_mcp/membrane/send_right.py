"""The right to send one write over HTTP: checked before the first byte, refused after its end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from kartra_mcp.core.errors import KartraMCPError, RefusedError, UpstreamError
from kartra_mcp.core.models import Executed, Fence, SendRight
from kartra_mcp.core.timings import Clock
from kartra_mcp.membrane.client import CallOptions
from kartra_mcp.membrane.clock_skew import ClockSkew
from kartra_mcp.membrane.http_transport import SendRightEndedError

NOTICEABLE_SKEW = 2.0
"""Seconds of difference between the clocks from which on an error mentions it."""


def make_attempt_id() -> str:
    """Return `att_` and 32 random hexadecimal digits."""
    return f"att_{secrets.token_hex(16)}"


def make_right(fence: Fence, seconds: float, steady: Clock) -> SendRight:
    """Return a right for one attempt, counted from now: call it before the intent is committed."""
    return SendRight(make_attempt_id(), seconds, fence, steady() + seconds)


@dataclass(slots=True)
class SendState:
    """State of one request: `has_begun` is set immediately before its first byte is sent."""

    to_do: CallOptions
    steady: Clock
    right: SendRight | None = None
    has_begun: bool = False

    @property
    def has_ended(self) -> bool:
        """True if the right to send this request ended."""
        return self.right is not None and self.steady() >= self.right.deadline

    def begin(self) -> None:
        """Note the start.

        Raises:
            SendRightEndedError: the right to send it ended; nothing was sent.
        """
        if self.has_ended:
            raise SendRightEndedError
        self.has_begun = True
        if self.to_do.write_record:
            self.to_do.write_record.mark_started()


def require_agreeing_clocks(skew: ClockSkew | None, limit: float) -> None:
    """Raise `writes_stopped` if the clocks certainly differ by more than `limit` seconds."""
    if skew is not None and abs(skew.certain) > limit:
        raise RefusedError(
            "writes_stopped",
            f"This machine's clock and Membrane's differ by at least {int(abs(skew.certain))} "
            "seconds, so that no irreversible write begins. Nothing was sent.",
            "The user should set the clock from the network, then repeat the call.",
            detail={"clock_skew_seconds": round(skew.certain, 1)},
        )


def send_right_ended_error() -> RefusedError:
    """Return the refusal of a write whose right to be sent ended here."""
    return RefusedError(
        "not_enough_time",
        "The time in which this write may be sent was over before it was sent. Nothing was sent.",
        "Repeat the call.",
    )


def arrived_late_error(problem: KartraMCPError) -> UpstreamError:
    """Return the error of a write that Membrane refused because its token had ended."""
    return UpstreamError(
        "not_enough_time",
        "This write reached Membrane after its token had ended, and was rejected. Nothing was "
        "executed.",
        "Repeat the call.",
        executed=Executed.NO,
        detail=problem.detail,
    )


def add_skew(problem: KartraMCPError, skew: ClockSkew | None) -> None:
    """Add the difference of the clocks to a rejected login: it may be the cause."""
    if skew is None or problem.code != "not_logged_in" or abs(skew.certain) < NOTICEABLE_SKEW:
        return
    seconds = round(skew.certain, 1)
    problem.detail = {**(problem.detail or {}), "clock_skew_seconds": seconds}
    problem.message += f" Its clock differs from this machine's by {abs(seconds):.0f} seconds."
    problem.remedy = f"Set the clock of this machine from the network. {problem.remedy}"
