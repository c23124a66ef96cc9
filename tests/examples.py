"""Number of random examples: `make soak` tries many more of them than `make test`."""

from __future__ import annotations

import os

from hypothesis import settings

SOAK = os.environ.get("SOAK") == "1"
_MORE = 40


def examples(number: int) -> int:
    """Return the number of examples where `make test` tries so many."""
    return _MORE * number if SOAK else number


def load_profile() -> None:
    """Set the number for tests that name none; no test depends on the time of an example."""
    settings.register_profile("ours", max_examples=examples(25), deadline=None)
    settings.load_profile("ours")
