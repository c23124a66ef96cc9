"""The ledger's figures as charts: what is drawn, and the same in a table for who reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from kartra_mcp.core.display import display_value
from kartra_mcp.ledger.statistics import DayTotals, Statistics
from kartra_mcp.policy.limits import Limits
from kartra_mcp.web.views.error_labels import error_label
from kartra_mcp.web.views.formatting import make_tool_title
from kartra_mcp.web.views.history import OUTCOMES

DAYS = 30
MAX_BARS = 12
"""Tools and codes that are drawn; the table has all."""

UP_TO = (0.25, 0.5, 1, 2, 5, 10, 30)
"""Seconds: the upper ends of the steps of latency."""

Color = Literal["main", "good", "doubt", "bad", "calm"]
_INKS: Mapping[str, Color] = {
    "succeeded": "good",
    "failed": "bad",
    "refused": "calm",
    "unknown": "doubt",
    "running": "main",
}


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of bars."""

    title: str
    values: tuple[float, ...]
    ink: Color = "main"


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: `labels` stand along the bars, `cap` is a line across, `columns` its table's."""

    name: str
    title: str
    about: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lying: bool = False
    legend: bool = True
    cap: float | None = None

    @property
    def empty(self) -> bool:
        return not any(any(series.values) for series in self.series)

    @property
    def top(self) -> float:
        """How high it reaches, the cap's line included."""
        stacks = zip(*(series.values for series in self.series), strict=True)
        return max([*(sum(stack) for stack in stacks), self.cap or 0, 1.0])

    @property
    def steps(self) -> tuple[float, ...]:
        """Round numbers along the axis, at most six, the last at the top or above it."""
        raw = self.top / 5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next((m * power for m in (1, 2, 5) if m * power >= raw), 10 * power)
        step = max(step, 1.0)
        return tuple(step * n for n in range(math.ceil(self.top / step) + 1))


def first_day_start(today: date) -> float:
    """Where the days that are drawn begin."""
    first = today - timedelta(days=DAYS - 1)
    return datetime(first.year, first.month, first.day).astimezone().timestamp()


def make_charts(found: Statistics, limits: Limits, today: date) -> tuple[Chart, ...]:
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    return (
        _refunds_chart(found, limits, days),
        _acts_chart(found, limits, days),
        _outcomes_chart(found),
        _tools_chart(found),
        _errors_chart(found),
        _latency_chart(found),
    )


def _refunds_chart(found: Statistics, limits: Limits, days: Sequence[date]) -> Chart:
    """Sums of different currencies are one number here: Kartra names none."""
    told = [found.days.get(day, DayTotals()) for day in days]
    cap = limits.cap_day_amount
    one = f" One refund may be {limits.cap_refund:.2f} at most." if limits.cap_refund else ""
    about = f"The cap is {cap:.2f} in any 24 hours." if cap is not None else "No cap is set."
    return Chart(
        "refunds",
        f"Refunds a day{_cap_suffix(cap)}",
        f"{about}{one} What is unknown counts as paid. Kartra does not name currencies.",
        tuple(_format_short_day(day) for day in days),
        (
            Series("Paid back", tuple(float(day.refunded) for day in told), "main"),
            Series("Unknown", tuple(float(day.uncertain) for day in told), "doubt"),
        ),
        ("Day", "Refunds", "Paid back", "Unknown", "Not read", *_cap_column("Cap", cap)),
        tuple(
            (
                _format_day(day),
                str(one.refunds),
                f"{one.refunded:.2f}",
                f"{one.uncertain:.2f}",
                str(one.unread),
                *_cap_column(_format_amount(cap), cap),
            )
            for day, one in _has_values(days, told)
        ),
        cap=None if cap is None else float(cap),
    )


def _acts_chart(found: Statistics, limits: Limits, days: Sequence[date]) -> Chart:
    told = [found.days.get(day, DayTotals()) for day in days]
    cap = limits.cap_day_count
    return Chart(
        "acts",
        f"Irreversible acts a day{_cap_suffix(cap)}",
        f"The cap is {cap} in any 24 hours." if cap is not None else "No cap is set.",
        tuple(_format_short_day(day) for day in days),
        (Series("Irreversible acts", tuple(float(day.irreversible) for day in told)),),
        ("Day", "Irreversible acts", *_cap_column("Cap", cap)),
        tuple(
            (_format_day(day), str(one.irreversible), *_cap_column(str(cap), cap))
            for day, one in _has_values(days, told)
        ),
        cap=cap,
    )


def _outcomes_chart(found: Statistics) -> Chart:
    states = [state for state in OUTCOMES if found.outcomes.get(state)]
    counts = [found.outcomes[state] for state in states]
    each = tuple(
        Series(
            OUTCOMES[state],
            tuple(float(found.outcomes[state] if x == state else 0) for x in states),
            _INKS[state],
        )
        for state in states
    )
    return Chart(
        "outcomes",
        "Outcomes",
        "How the writes ended. An unknown one may have been done.",
        tuple(OUTCOMES[state] for state in states),
        each,
        ("Outcome", "Writes", "Share"),
        tuple(
            (OUTCOMES[state], str(count), f"{100 * count / sum(counts):.1f} %")
            for state, count in zip(states, counts, strict=True)
        ),
        lying=True,
        legend=False,
    )


def _tools_chart(found: Statistics) -> Chart:
    tools = sorted(found.tools, key=lambda tool: (-sum(found.tools[tool].values()), tool))
    drawn = tools[:MAX_BARS]
    states = [state for state in OUTCOMES if any(found.tools[tool].get(state) for tool in drawn)]
    return Chart(
        "tools",
        "Calls by tool",
        _most_frequent_notice(len(tools), "tools") + "Reads are not recorded.",
        tuple(make_tool_title(tool) for tool in drawn),
        tuple(
            Series(
                OUTCOMES[state],
                tuple(float(found.tools[tool].get(state, 0)) for tool in drawn),
                _INKS[state],
            )
            for state in states
        ),
        ("Tool", "Calls", *(OUTCOMES[state] for state in states)),
        tuple(
            (
                display_value(tool, 100),
                str(sum(found.tools[tool].values())),
                *(str(found.tools[tool].get(state, 0)) for state in states),
            )
            for tool in tools
        ),
        lying=True,
    )


def _errors_chart(found: Statistics) -> Chart:
    codes = sorted(found.codes, key=lambda code: (-found.codes[code], code))
    drawn = codes[:MAX_BARS]
    return Chart(
        "errors",
        "Errors by code",
        _most_frequent_notice(len(codes), "codes")
        + "What was refused before it was begun is not in the ledger.",
        tuple(error_label(code) for code in drawn),
        (Series("Errors", tuple(float(found.codes[code]) for code in drawn), "bad"),),
        ("What went wrong", "Code", "Writes"),
        tuple(
            (error_label(code), display_value(code, 60), str(found.codes[code])) for code in codes
        ),
        lying=True,
    )


def _latency_chart(found: Statistics) -> Chart:
    every = sorted(took for times in found.seconds.values() for took in times)
    ends = [*UP_TO, math.inf]
    below = [sum(took < end for took in every) for end in ends]
    counts = [n - (below[i - 1] if i else 0) for i, n in enumerate(below)]
    return Chart(
        "latency",
        "Latency",
        "From the record of the intent to the record of its outcome, of calls that were answered.",
        (f"< {UP_TO[0]:g} s", *(f"< {end:g} s" for end in UP_TO[1:]), f"{UP_TO[-1]:g} s +"),
        (Series("Calls", tuple(float(n) for n in counts)),),
        ("Tool", "Calls", "Half within", "95 % within", "Slowest"),
        tuple(
            (
                display_value(tool, 100),
                str(len(times)),
                _format_seconds(_percentile(times, 0.5)),
                _format_seconds(_percentile(times, 0.95)),
                _format_seconds(times[-1]),
            )
            for tool, times in sorted(found.seconds.items())
        ),
    )


def _has_values(days: Sequence[date], told: Sequence[DayTotals]) -> list[tuple[date, DayTotals]]:
    """Newest first, and without the days on which nothing happened."""
    both = zip(reversed(days), reversed(told), strict=True)
    return [(day, one) for day, one in both if one.irreversible]


def _percentile(times: Sequence[float], share: float) -> float:
    """The time within which this share of them was answered; `times` are sorted."""
    return times[max(math.ceil(share * len(times)) - 1, 0)]


def _format_seconds(took: float) -> str:
    return f"{took:.2f} s"


def _format_amount(amount: Decimal | None) -> str:
    return "-" if amount is None else f"{amount:.2f}"


def _cap_suffix(cap: Any) -> str:
    return "" if cap is None else ", against the cap"


def _cap_column(told: str, cap: Any) -> tuple[str, ...]:
    """A column that only a cap has."""
    return () if cap is None else (told,)


def _format_day(day: date) -> str:
    return f"{_format_short_day(day)} {day.year}"


def _format_short_day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _most_frequent_notice(count: int, what: str) -> str:
    return f"The {MAX_BARS} most frequent of {count} {what}. " if count > MAX_BARS else ""
