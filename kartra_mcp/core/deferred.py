"""A value that is computed on first use, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Deferred(Generic[T]):
    """A pure computation whose result many calls never need."""

    __slots__ = ("_compute", "_values")

    def __init__(self, compute: Callable[[], T]) -> None:
        self._compute = compute
        self._values: list[T] = []

    @property
    def value(self) -> T:
        self.compute()
        return self._values[0]

    def compute(self) -> None:
        """Compute it now, unless it is known."""
        if not self._values:
            self._values.append(self._compute())
