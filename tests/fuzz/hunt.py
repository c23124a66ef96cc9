"""Looks for an input that breaks the property of a target, and makes it small."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzz.inputs import make_inputs

CORPUS = Path(__file__).parent / "corpus"
_BATCH = 1_000
"""Inputs after which the generator begins anew: it becomes slower with all that it remembers."""

Kind = Literal["crash", "hang", "death"]
Check = Callable[[bytes], object]


def no_values() -> st.SearchStrategy[bytes]:
    return st.nothing()


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to fuzz. Its functions are those of a module, so that processes can hand it on.

    Attributes:
        check: takes an input; raises where the property is broken.
        words: pieces of the format.
        values: makes the strategy of inputs by a grammar.
    """

    name: str
    check: Check
    words: tuple[bytes, ...]
    values: Callable[[], st.SearchStrategy[bytes]] = no_values

    @property
    def folder(self) -> Path:
        return CORPUS / self.name

    def seeds(self) -> list[bytes]:
        return [file.read_bytes() for file in sorted(self.folder.glob("*"))] or [b""]


@dataclass(frozen=True, slots=True)
class Found:
    """An input that breaks a property: an exception, no end in time, or a dead process."""

    kind: Kind
    input: bytes
    report: str


@dataclass(frozen=True, slots=True)
class Hunt:
    """Result: the number of inputs tried, and what was found."""

    tried: int
    found: Found | None = None


class _OverError(BaseException):
    """The time is over. Not an `Exception`, which hypothesis would take for a failed input."""


class _Hunter:
    """Tries inputs; keeps the smallest that failed."""

    def __init__(self, check: Check, until: float) -> None:
        self._check = check
        self._until = until
        self.tried = 0
        self.found: Found | None = None

    @property
    def is_over(self) -> bool:
        return self.found is not None or time.monotonic() >= self._until

    def attempt(self, raw: bytes) -> None:
        if self.found is None and self.is_over:
            raise _OverError
        self.tried += 1
        try:
            self._check(raw)
        except Exception:
            if self.found is None or len(raw) <= len(self.found.input):
                self.found = Found("crash", raw, traceback.format_exc(limit=-6))
            raise


def hunt(
    target: Target, seconds: float, check: Check | None = None, first: int | None = None
) -> Hunt:
    """Try the seeds, then inputs made of them until the time is over or one breaks the property.

    Args:
        target: the target.
        seconds: time for it; making a found input small takes more.
        check: replaces the target's; the watchdog's calls it.
        first: seed of the inputs; None: others each time.
    """
    hunter = _Hunter(check or target.check, time.monotonic() + seconds)
    seeds = target.seeds()
    for raw in seeds:
        _attempt(hunter.attempt, raw)
        if hunter.is_over:
            return Hunt(hunter.tried, hunter.found)
    dice = random.Random(first)
    inputs = make_inputs(seeds, target.words, target.values())
    while not hunter.is_over:
        _attempt(_make_batch(hunter, inputs, dice.getrandbits(64)))
    return Hunt(hunter.tried, hunter.found)


def _attempt(work: Callable[..., None], *given_input: bytes) -> None:
    """Run it; the hunter holds what failed. The exception may be hypothesis' own about a repeat."""
    try:
        work(*given_input)
    except (_OverError, Exception):  # noqa: BLE001  any exception is what is looked for
        return


def _make_batch(
    hunter: _Hunter, inputs: st.SearchStrategy[bytes], number: int
) -> Callable[[], None]:
    def run(raw: bytes) -> None:
        hunter.attempt(raw)

    limited = settings(
        max_examples=_BATCH,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=tuple(HealthCheck),  # pyright: ignore[reportArgumentType]
        report_multiple_bugs=False,
    )
    return seed(number)(limited(given(inputs)(run)))
