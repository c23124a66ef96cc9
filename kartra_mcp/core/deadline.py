"""Deadline of a call, and one that is extended by the time a user takes to answer."""

from __future__ import annotations

from dataclasses import dataclass

import anyio

SHARE_FOR_A_WRITE = 1 / 3
"""A write is not started with less than this share of its time left."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of one whole call, queueing included: `at` on anyio's clock, `total` in seconds."""

    at: float
    total: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(anyio.current_time() + seconds, seconds)

    @property
    def left(self) -> float:
        return self.at - anyio.current_time()

    def allows(self, write: bool, after: float = 0.0) -> bool:  # noqa: FBT001
        """Whether enough time is left to start something, `after` seconds from now."""
        needed = self.total * SHARE_FOR_A_WRITE if write else 0.0
        return self.left - after >= needed


@dataclass(slots=True)
class Patience:
    """The deadline of one call, to which the time that a person takes is added."""

    deadline: Deadline

    def extend(self, seconds: float) -> None:
        self.deadline = Deadline(self.deadline.at + seconds, self.deadline.total)
