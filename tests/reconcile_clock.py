"""A server whose clock is set forward, for tests of settling unknown writes."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager

from harness import Sandbox
from mcp import Client

from kartra_mcp.app.composition import build_app
from kartra_mcp.settings import read_settings

QUARTER = 15 * 60.0
SOON, LATE = QUARTER - 30, QUARTER + 1
LATER = LATE + 5 * 60.0
"""Late enough for a second look, five minutes after the first."""


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@asynccontextmanager
async def opened(place: Sandbox, clock: Clock, era: str = "2026-07-28"):
    made = build_app(read_settings({}, place.environment), clock, steady=clock)
    try:
        async with Client(made.mcp.server, mode=era) as connected:
            yield connected
    finally:
        await made.close()
