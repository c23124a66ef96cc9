"""Difference between this machine's clock and Membrane's, by the `Date` header. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache

_RESOLUTION = 1.0
"""`Date` has whole seconds: the server's time was up to one second later."""

MAX_UNCERTAINTY = 5.0
"""Width in seconds up to which a measurement is used: a slow response proves little."""


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """Membrane's clock minus this one, in seconds: at least `low`, at most `high`."""

    low: float
    high: float

    @property
    def certain(self) -> float:
        """The certain difference: 0 if the clocks may agree, negative if Membrane is behind."""
        if self.low <= 0 <= self.high:
            return 0.0
        return self.low if self.low > 0 else self.high

    def shifted(self, seconds: float) -> ClockSkew:
        """Return the difference to a clock that is so many seconds ahead of this one."""
        return ClockSkew(self.low - seconds, self.high - seconds)


def measure_skew(date: str, sent_at: float, received_at: float) -> ClockSkew | None:
    """Return the difference that one response shows, or None if it shows none.

    Args:
        date: value of the `Date` header, "" if there was none.
        sent_at: this machine's clock before the request, in seconds since the epoch.
        received_at: this machine's clock after the response began.
    """
    then = _parse_date(date)
    if then is None:
        return None
    skew = ClockSkew(then - received_at, then + _RESOLUTION - sent_at)
    return skew if 0 <= skew.high - skew.low <= MAX_UNCERTAINTY else None


@lru_cache(maxsize=16)
def _parse_date(date: str) -> float | None:
    """Return the seconds since the epoch. All responses of one second have the same text."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
