"""A server whose clock is set forward, and Membrane's with it, for tests of settling writes."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager

from harness import APISandbox, Sandbox, run_program
from mcp import Client

from kartra_mcp.app.composition import build_app
from kartra_mcp.settings import read_settings

QUARTER = 15 * 60.0
SOON, LATE = QUARTER - 30, QUARTER + 41
"""Over HTTP the right to send (30 s) and the difference of the clocks (10 s) come first."""
LATER = LATE + 5 * 60.0
"""Late enough for a second look, five minutes after the first."""


class Clock:
    """The clock of this machine, and that of the API of a sandbox."""

    def __init__(self, place: Sandbox | None = None) -> None:
        self.place = place if isinstance(place, APISandbox) else None
        self._ahead = 0.0

    @property
    def ahead(self) -> float:
        return self._ahead

    @ahead.setter
    def ahead(self, seconds: float) -> None:
        self._ahead = seconds
        if self.place is not None:
            self.place.arrange("clock", f"--ahead={seconds}")

    def __call__(self) -> float:
        return time.time() + self._ahead


@asynccontextmanager
async def opened(place: Sandbox, clock: Clock, era: str = "2026-07-28"):
    settings = read_settings({}, place.environment)
    made = build_app(settings, clock, steady=clock, run_program=run_program())
    try:
        async with Client(made.mcp.server, mode=era) as connected:
            yield connected
    finally:
        await made.close()
