"""All waiting times of a page process, in one value that tests replace by shorter ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PageTimings:
    """Waiting times of one page process, in seconds.

    Attributes:
        idle: without a visitor and without a pending approval, before the page ends.
        idle_check: between two idle checks, at most; a quarter of `idle` where that is less.
        request_head: for the head of a request, so that half a request holds no connection open.
        request_body: for the body of a request.
        shutdown: for requests in progress at the end, as a decision may wait for the ledger's lock.
        event_poll: between two looks at the pending approvals, for open event streams.
    """

    idle: float = 3_600.0
    idle_check: float = 5.0
    request_head: float = 10.0
    request_body: float = 10.0
    shutdown: int = 5
    event_poll: float = 0.5
