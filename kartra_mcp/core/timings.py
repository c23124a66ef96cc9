"""Real-time waits and clocks of calls, in values that tests replace."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from kartra_mcp.core.elicitation import ELICITATION_TIMEOUT

Clock = Callable[[], float]
"""A clock in seconds."""


def read_steady_clock() -> float:
    """Return seconds of a clock that cannot be set, and that counts while the machine sleeps."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks of a server. A decision about time needs the agreement of both.

    Attributes:
        wall: seconds since the epoch; the user, NTP or an attacker may set it.
        steady: seconds since an unknown moment, for one process only.
    """

    wall: Clock = time.time
    steady: Clock = read_steady_clock


DEFAULT_CLOCKS = Clocks()


@dataclass(frozen=True, slots=True)
class WriteTimings:
    """Times of one write over Membrane's API, in seconds.

    Attributes:
        send_seconds: the right to send a write ends so long after its intent began.
        settle_seconds: Kartra applies a write at most so long after Membrane accepted it; a look
            counts only later.
        skew_seconds: largest accepted difference between the ledger's clock and Membrane's.
        look_seconds: two looks that find no effect are so far apart, by every clock.
    """

    send_seconds: float = 30.0
    settle_seconds: float = 900.0
    skew_seconds: float = 10.0
    look_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class CallTimings:
    """Waits of the calls of one server, in seconds. No setting changes them.

    Attributes:
        min_human: least time of a human's answer; a faster answer counts as the client's own.
        answer: time for the user to answer a question.
        retry: pause between two tries of a call that Membrane's rate limit refused.
        progress: interval between two progress notifications of a running call.
        connect_poll: interval between two reads of a connection that is not ready yet.
        refresh_delay: pause between an answer from disk and its refresh: they would compete.
        first_list: wait for Membrane before a first `tools/list` is answered without actions.
        probe: time limit for the program's version and for its login state.
        writes: times of a write over Membrane's API.
    """

    min_human: float = 1.0
    answer: float = ELICITATION_TIMEOUT
    retry: float = 1.0
    progress: float = 2.0
    connect_poll: float = 2.0
    refresh_delay: float = 0.25
    first_list: float = 20.0
    probe: float = 5.0
    writes: WriteTimings = WriteTimings()


DEFAULT_TIMINGS = CallTimings()
