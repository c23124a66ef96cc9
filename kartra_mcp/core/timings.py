"""Real-time waits of calls, in one value that tests replace by shorter ones."""

from __future__ import annotations

from dataclasses import dataclass

from kartra_mcp.core.elicitation import ELICITATION_TIMEOUT


@dataclass(frozen=True, slots=True)
class CallTimings:
    """Waits of the calls of one server, in seconds. No setting changes them.

    Attributes:
        min_human: least time of a human's answer; a faster one is the host's own.
        answer: for the user to answer a question.
        retry: between two tries of a call that Membrane turned away.
        progress: between two progress notifications of a running call.
        connect_poll: between two looks at a connection that is being made ready.
        refresh_delay: between an answer from disk and its refresh, so that they do not compete.
        first_list: for Membrane, before a first `tools/list` is answered without it.
        probe: for the program's version, and for whether it is logged in.
    """

    min_human: float = 1.0
    answer: float = ELICITATION_TIMEOUT
    retry: float = 1.0
    progress: float = 2.0
    connect_poll: float = 2.0
    refresh_delay: float = 0.25
    first_list: float = 20.0
    probe: float = 5.0


DEFAULT_TIMINGS = CallTimings()
