"""Limits of a replica for slow clients and its end, in one value that tests replace."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceTimings:
    """Times of one replica, in seconds.

    Attributes:
        request_head: time for the head of a request; a connection without one is closed.
        request_body: time for the body of a request.
        keep_alive: time for the next request of a connection.
        writes: time for running writes at the end: longer than Membrane's longest run.
        requests: time for other running requests at the end.
    """

    request_head: float = 10.0
    request_body: float = 20.0
    keep_alive: int = 75
    writes: float = 90.0
    requests: int = 5
