"""Time as Kartra prints it: text without a zone, in US Eastern Standard Time all year round."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EASTERN = timedelta(hours=-5)
NEVER = "0000-00-00 00:00:00"
_MONTHS: list[str] = [
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
]


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0) + EASTERN


def written(moment: datetime) -> str:
    return moment.isoformat(" ", "seconds")


def in_days(days: float) -> str:
    return written(now() + timedelta(days=days))


def read(text: str) -> datetime:
    return datetime.fromisoformat(text)


def iso() -> str:
    """Return the current time as Membrane prints it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime | None:
    """Parse `YYYY-MM-DD HH:MM[:SS]`, the format of payment dates."""
    shaped = len(text) in {10, 16, 19} and text[4:5] == "-" and text[10:11] in {"", " "}
    try:
        return datetime.fromisoformat(text) if shaped else None
    except ValueError:
        return None


def class_start(date: str, hour: str) -> datetime | None:
    """Parse `DD Mmm YYYY` and `HH:MM`, the format of calendar classes."""
    day, _, rest = date.partition(" ")
    month, _, year = rest.partition(" ")
    hours, _, minutes = hour.partition(":")
    if month.lower() not in _MONTHS:
        return None
    try:
        number = _MONTHS.index(month.lower()) + 1
        return datetime(int(year), number, int(day), int(hours), int(minutes))  # noqa: DTZ001
    except ValueError:
        return None
