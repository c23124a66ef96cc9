"""All timeouts and intervals of a page process, in one value that tests replace by shorter ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PageTimings:
    """Timeouts and intervals of one page process, in seconds.

    Attributes:
        idle: the page ends after this long without an open page or a pending approval.
        idle_check: longest interval between two idle checks; a quarter of `idle` if that is less.
        request_head: timeout for the head of a request, so that half a request holds no connection.
        request_body: timeout for the body of a request.
        shutdown: timeout for running requests at the end, as a decision may wait for the ledger.
        event_poll: interval between two reads of the ledger for open event streams.
    """

    idle: float = 3_600.0
    idle_check: float = 5.0
    request_head: float = 10.0
    request_body: float = 10.0
    shutdown: int = 5
    event_poll: float = 0.5
