"""Progress of a long call, reported to whoever shows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Show = Callable[[float, float, str], Awaitable[None]]
"""Shows (done, total, sentence)."""


@dataclass(slots=True)
class CallProgress:
    """Progress of one call, in phases; a client that shows none costs nothing.

    Attributes:
        show: shows a step, or None.
        done: number of items that are done in this phase; it only grows.
        total: number of items of this phase; 0 while it is not known.
        sentence: what is being done; another one begins a phase.
        before: number of items that were done in earlier phases.
    """

    show: Show | None = None
    done: float = 0.0
    total: float = 0.0
    sentence: str = ""
    before: float = 0.0

    async def report(self, done: float, total: float, sentence: str) -> None:
        """Record a step, and show it."""
        if sentence != self.sentence:
            self.before, self.done = self.before + self.done, 0.0
        self.done, self.total, self.sentence = max(self.done, done), total, sentence
        if self.show is not None:
            await self.show(self.done, total, sentence)
