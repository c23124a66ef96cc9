"""View models of the charts: ledger statistics as bars, and the same figures as a table."""

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
"""Tools and codes in a chart; its table contains all."""

LATENCY_BOUNDS = (0.25, 0.5, 1, 2, 5, 10, 30)
"""Upper bounds of the latency classes, in seconds."""

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
    """Bars of one color."""

    title: str
    values: tuple[float, ...]
    ink: Color = "main"


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart. `labels` name the bars, `cap` is drawn as a line.

    `columns` and `rows` are its table.
    """

    name: str
    title: str
    about: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    horizontal: bool = False
    legend: bool = True
    cap: float | None = None

    @property
    def empty(self) -> bool:
        return not any(any(series.values) for series in self.series)

    @property
    def top(self) -> float:
        """Return the largest value, the cap included."""
        stacks = zip(*(series.values for series in self.series), strict=True)
        return max([*(sum(stack) for stack in stacks), self.cap or 0, 1.0])

    @property
    def steps(self) -> tuple[float, ...]:
        """Return round numbers for the axis, at most six; the last is at least `top`."""
        raw = self.top / 5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next((m * power for m in (1, 2, 5) if m * power >= raw), 10 * power)
        step = max(step, 1.0)
        return tuple(step * n for n in range(math.ceil(self.top / step) + 1))


def first_day_start(today: date) -> float:
    """Return the start of the first displayed day."""
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
    """Build the chart of refunds. It adds up different currencies: Kartra does not name them."""
    totals = [found.days.get(day, DayTotals()) for day in days]
    cap = limits.cap_day_amount
    one = f" The largest single refund is {limits.cap_refund:.2f}." if limits.cap_refund else ""
    about = f"The cap is {cap:.2f} in any 24 hours." if cap is not None else "No cap is set."
    return Chart(
        "refunds",
        f"Refunds per day{_cap_suffix(cap)}",
        f"{about}{one} Unknown refunds count as paid. Kartra does not name currencies.",
        tuple(_format_short_day(day) for day in days),
        (
            Series("Paid back", tuple(float(day.refunded) for day in totals), "main"),
            Series("Unknown", tuple(float(day.uncertain) for day in totals), "doubt"),
        ),
        ("Day", "Refunds", "Paid back", "Unknown", "Amount unknown", *_cap_column("Cap", cap)),
        tuple(
            (
                _format_day(day),
                str(one.refunds),
                f"{one.refunded:.2f}",
                f"{one.uncertain:.2f}",
                str(one.unread),
                *_cap_column(_format_amount(cap), cap),
            )
            for day, one in _days_with_values(days, totals)
        ),
        cap=None if cap is None else float(cap),
    )


def _acts_chart(found: Statistics, limits: Limits, days: Sequence[date]) -> Chart:
    totals = [found.days.get(day, DayTotals()) for day in days]
    cap = limits.cap_day_count
    return Chart(
        "acts",
        f"Irreversible operations per day{_cap_suffix(cap)}",
        f"The cap is {cap} in any 24 hours." if cap is not None else "No cap is set.",
        tuple(_format_short_day(day) for day in days),
        (Series("Irreversible operations", tuple(float(day.irreversible) for day in totals)),),
        ("Day", "Irreversible operations", *_cap_column("Cap", cap)),
        tuple(
            (_format_day(day), str(one.irreversible), *_cap_column(str(cap), cap))
            for day, one in _days_with_values(days, totals)
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
        "Outcomes of all writes. An unknown one may have been done.",
        tuple(OUTCOMES[state] for state in states),
        each,
        ("Outcome", "Writes", "Share"),
        tuple(
            (OUTCOMES[state], str(count), f"{100 * count / sum(counts):.1f} %")
            for state, count in zip(states, counts, strict=True)
        ),
        horizontal=True,
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
        horizontal=True,
    )


def _errors_chart(found: Statistics) -> Chart:
    codes = sorted(found.codes, key=lambda code: (-found.codes[code], code))
    drawn = codes[:MAX_BARS]
    return Chart(
        "errors",
        "Errors by code",
        _most_frequent_notice(len(codes), "codes")
        + "Calls refused before they started are not in the ledger.",
        tuple(error_label(code) for code in drawn),
        (Series("Errors", tuple(float(found.codes[code]) for code in drawn), "bad"),),
        ("Error", "Code", "Writes"),
        tuple(
            (error_label(code), display_value(code, 60), str(found.codes[code])) for code in codes
        ),
        horizontal=True,
    )


def _latency_chart(found: Statistics) -> Chart:
    every = sorted(took for times in found.seconds.values() for took in times)
    ends = [*LATENCY_BOUNDS, math.inf]
    below = [sum(took < end for took in every) for end in ends]
    counts = [n - (below[i - 1] if i else 0) for i, n in enumerate(below)]
    return Chart(
        "latency",
        "Latency",
        "Time between the records of intent and outcome, for calls that were answered.",
        (
            f"< {LATENCY_BOUNDS[0]:g} s",
            *(f"< {end:g} s" for end in LATENCY_BOUNDS[1:]),
            f"{LATENCY_BOUNDS[-1]:g} s +",
        ),
        (Series("Calls", tuple(float(n) for n in counts)),),
        ("Tool", "Calls", "Median", "95th percentile", "Slowest"),
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


def _days_with_values(
    days: Sequence[date], totals: Sequence[DayTotals]
) -> list[tuple[date, DayTotals]]:
    """Return the days with irreversible operations, newest first."""
    both = zip(reversed(days), reversed(totals), strict=True)
    return [(day, one) for day, one in both if one.irreversible]


def _percentile(times: Sequence[float], share: float) -> float:
    """Return the time within which this share was answered; `times` are sorted."""
    return times[max(math.ceil(share * len(times)) - 1, 0)]


def _format_seconds(took: float) -> str:
    return f"{took:.2f} s"


def _format_amount(amount: Decimal | None) -> str:
    return "-" if amount is None else f"{amount:.2f}"


def _cap_suffix(cap: Any) -> str:
    return "" if cap is None else ", with the cap"


def _cap_column(text: str, cap: Any) -> tuple[str, ...]:
    """Return a table cell for the cap; nothing if no cap is set."""
    return () if cap is None else (text,)


def _format_day(day: date) -> str:
    return f"{_format_short_day(day)} {day.year}"


def _format_short_day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _most_frequent_notice(count: int, what: str) -> str:
    return f"The {MAX_BARS} most frequent of {count} {what}. " if count > MAX_BARS else ""
