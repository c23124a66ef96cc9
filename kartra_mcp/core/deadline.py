"""Deadline of a call, and one that is extended by the time a user takes to answer."""

from __future__ import annotations

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
