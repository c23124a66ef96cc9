"""Writes that run in this process, and the stop of new ones while it ends."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from kartra_mcp.core.errors import RefusedError


@dataclass(slots=True)
class RunningWrites:
    """Every write of a process, of all its accounts. `stop` lasts as long as the process."""

    count: int = 0
    _refusal: RefusedError | None = None
    _ended: anyio.Event = field(default_factory=anyio.Event)

    def stop(self, refusal: RefusedError) -> None:
        """Refuse every write that has not begun; those that have begun go on."""
        self._refusal = self._refusal or refusal

    @property
    def is_stopped(self) -> bool:
        return self._refusal is not None

    def require_open(self) -> None:
        """Raise the refusal of a stop. It is checked before the intent is recorded."""
        if self._refusal is not None:
            found = self._refusal
            raise RefusedError(found.code, found.message, found.remedy)

    @contextmanager
    def track(self) -> Generator[None]:
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
            if not self.count:
                self._ended.set()
                self._ended = anyio.Event()

    async def wait_until_none(self, seconds: float) -> bool:
        """Return True as soon as no write runs; False if one still does after so many seconds."""
        with anyio.move_on_after(seconds):
            while self.count:
                await self._ended.wait()
        return not self.count


def shutting_down_error() -> RefusedError:
    return RefusedError(
        "writes_stopped",
        "This server is shutting down and begins no write. Nothing was done.",
        "Repeat the call in a minute: another server answers it.",
    )
