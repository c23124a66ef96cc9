"""History of both clocks in this process: a step of the wall clock must not age an entry.

The wall clock is shared with other processes and with the entries, but it can be set. The steady
clock cannot be set, but has no meaning in another process. Therefore each write notes both.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MAX_MOMENTS = 1_000
WINDOW = 86_400.0
"""Seconds after which a step of the wall clock is trusted."""


@dataclass(slots=True)
class ClockHistory:
    """Times at which this process wrote, by both clocks."""

    _moments: dict[float, float] = field(default_factory=dict[float, float])
    _offsets: deque[tuple[float, float]] = field(default_factory=deque[tuple[float, float]])

    def note(self, at: float, steady: float) -> None:
        """Note that an entry of the wall time `at` was written now, by the steady clock."""
        self._moments.setdefault(at, steady)
        while len(self._moments) > MAX_MOMENTS:
            del self._moments[next(iter(self._moments))]
        # A minimum over a sliding window: an earlier, larger offset can never be the minimum again.
        offset = at - steady
        while self._offsets and self._offsets[-1][1] >= offset:
            self._offsets.pop()
        self._offsets.append((steady, offset))

    def earliest(self, now: float, steady: float) -> float:
        """Return the earliest plausible time: `now` without recent forward steps."""
        while self._offsets and steady - self._offsets[0][0] > WINDOW:
            self._offsets.popleft()
        if not self._offsets:
            return now
        return min(now, round(steady + self._offsets[0][1], 3))

    def estimate(self, steady: float) -> float | None:
        """Return the wall clock by the newest entry of this process, or None without one."""
        return steady + self._offsets[-1][1] if self._offsets else None

    def elapsed_since(self, at: float, steady: float) -> float | None:
        """Return the steady seconds since an entry of this process, or None for any other."""
        found = self._moments.get(at)
        return None if found is None else round(steady - found, 3)
