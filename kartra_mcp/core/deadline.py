"""Deadline of a call, and one that is extended by the time a user takes to answer."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import anyio

MIN_WRITE_TIME_SHARE = 1 / 3
"""A write is not started with less than this share of its time left."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Deadline of one whole call: `at` on anyio's clock, `timeout` in seconds."""

    at: float
    timeout: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(anyio.current_time() + seconds, seconds)

    @property
    def remaining(self) -> float:
        return self.at - anyio.current_time()

    def allows_start(self, write: bool, after: float = 0.0) -> bool:  # noqa: FBT001
        """Return True if enough time remains to start something `after` seconds from now."""
        needed = self.timeout * MIN_WRITE_TIME_SHARE if write else 0.0
        return self.remaining - after >= needed


@dataclass(slots=True)
class ExtendableDeadline:
    """Deadline of one call, extended by the time that the user takes to answer."""

    deadline: Deadline

    def extend(self, seconds: float) -> None:
        self.deadline = Deadline(self.deadline.at + seconds, self.deadline.timeout)
        end = _WAITS_END.get()
        if end is not None:
            _WAITS_END.set(end + seconds)


_WAITS_END: ContextVar[float | None] = ContextVar("waits_end", default=None)
"""End of the waits of the running call, by the monotonic clock.

A context variable instead of an argument: a call waits for the ledger in about thirty places, most
of them deep below the deadline. The worker threads of the call inherit it.
"""


@contextmanager
def bounded_waits(deadline: Deadline) -> Generator[None]:
    """Let no wait of this call for a lock exceed its deadline."""
    before = _WAITS_END.set(time.monotonic() + deadline.remaining)
    try:
        yield
    finally:
        _WAITS_END.reset(before)


def bound_wait(seconds: float) -> float:
    """Return `seconds`, or what is left of the call if that is less."""
    end = _WAITS_END.get()
    return seconds if end is None else max(min(seconds, end - time.monotonic()), 0.0)
