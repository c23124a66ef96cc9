"""Dates and hours of Kartra's commands: their formats, and the present in Kartra's zone. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

PAYMENT_FORMAT: Final = "YYYY-MM-DD HH:MM"

_EASTERN: Final = timedelta(hours=-5)
"""Kartra's zone is "EST". With daylight saving its clock would be ahead of this one, so that what
is past here is past there in either case."""
_PAYMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2}(:[0-9]{2})?)?")
_DAY: Final = re.compile(r"([0-9]{1,2}) ([A-Za-z]{3}) ([0-9]{4})")
_HOUR: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_MONTHS: Final[tuple[str, ...]] = (
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)


def to_kartra_time(moment: datetime) -> datetime:
    """Return a moment as Kartra prints it, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None) + _EASTERN


def parse_payment_date(text: str) -> datetime | None:
    """Parse `YYYY-MM-DD HH:MM`, with seconds or without a time; None for any other text."""
    try:
        return datetime.fromisoformat(text) if _PAYMENT.fullmatch(text) else None
    except ValueError:
        return None


def parse_class_start(day: str, hour: str) -> datetime | None:
    """Parse `DD Mmm YYYY` and `HH:MM`; None for any other text."""
    date, time = _DAY.fullmatch(day), _HOUR.fullmatch(hour)
    if date is None or time is None or date[2].lower() not in _MONTHS:
        return None
    month = _MONTHS.index(date[2].lower()) + 1
    try:
        return datetime(int(date[3]), month, int(date[1]), int(time[1]), int(time[2]))  # noqa: DTZ001
    except ValueError:
        return None
