"""Faults that are put into the protocol on purpose, each in a replica's process alone.

Each must be caught by the checker; a fault that nothing catches shows a gap in the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Patch = Callable[[], None]
SEEDED: dict[str, Patch] = {}


def apply(names: Iterable[str]) -> None:
    for name in names:
        SEEDED[name]()
