"""Statistics of measured values: median, spread, and the check of a promise."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

Unit = Literal["s", "ms", "×", "MB", "tokens", "rows", "calls/s", ""]
FACTORS: dict[Unit, float] = {"ms": 1_000, "MB": 1e-6}
"""Factor from a second, or a byte, to each unit."""

COUNTED: frozenset[Unit] = frozenset({"tokens", "rows", "calls/s", ""})
"""Units without decimals."""

FEW = 2
"""Fewer values than this have no spread."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: values in seconds, bytes or plain numbers; the promise is a bound.

    The figure is the median, or with `percent` the value that so many percent stay under.
    """

    what: str
    values: tuple[float, ...]
    unit: Unit
    at_most: float | None = None
    percent: int | None = None
    at_least: float | None = None

    @property
    def figure(self) -> float:
        if self.percent is None or len(self.values) < FEW:
            return statistics.median(self.values)
        return statistics.quantiles(self.values, n=100)[self.percent - 1]

    @property
    def missed(self) -> bool:
        too_much = self.at_most is not None and self.figure > self.at_most
        return too_much or (self.at_least is not None and self.figure < self.at_least)

    def cells(self) -> tuple[str, str, str, str]:
        """Return label, figure, spread (the middle half of the values) and promise."""
        bounds = (("≤", self.at_most), ("≥", self.at_least))
        promise = " ".join(f"{s} {_written(b, self.unit)}" for s, b in bounds if b is not None)
        spread = "" if self.percent else self._spread()
        verdict = " **missed**" if self.missed else ""
        return self.what, _written(self.figure, self.unit), spread, promise + verdict

    def _spread(self) -> str:
        if len(self.values) < FEW:
            return ""
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return f"{_number(low, self.unit)} to {_number(high, self.unit)}"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds of two things that ran in turn; each pair is compared only with itself."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    def added(self) -> tuple[float, ...]:
        return tuple(a - b for a, b in zip(self.ours, self.theirs, strict=True))

    def ratios(self) -> tuple[float, ...]:
        return tuple(a / b for a, b in zip(self.ours, self.theirs, strict=True))


def paired(ours: Callable[[], float], theirs: Callable[[], float], count: int) -> Pairs:
    """Run both in turn, each first every other time. The first pair only warms up."""
    found: list[tuple[float, float]] = []
    for number in range(count + 1):
        if number % 2:
            found.append((ours(), theirs()))
        else:
            other = theirs()
            found.append((ours(), other))
    mine, others = zip(*found[1:], strict=True)
    return Pairs(mine, others)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of one run."""
    begun = perf_counter()
    work()
    return perf_counter() - begun


def repeated(work: Callable[[], object], count: int) -> tuple[float, ...]:
    """Return the seconds of each of so many runs."""
    return tuple(timed(work) for _ in range(count))


def in_turn(works: Sequence[Callable[[], object]], count: int) -> list[tuple[float, ...]]:
    """Return the seconds of each of several things that run in turn, so many times."""
    rounds = [[timed(work) for work in works] for _ in range(count)]
    return list(zip(*rounds, strict=True))


def _written(value: float, unit: Unit) -> str:
    number = _number(value, unit)
    return f"{number} {unit}".rstrip()


def _number(value: float, unit: Unit) -> str:
    value *= FACTORS.get(unit, 1.0)
    digits = 2 if unit in ("s", "×") else 0 if unit in COUNTED else 1
    return f"{value:,.{digits}f}"
