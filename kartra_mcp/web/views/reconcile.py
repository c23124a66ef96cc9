"""When a look in the account can settle what is unknown, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.calls.reconciliation import LATE_LOOK_DELAY, REQUIRED_LOOKS
from kartra_mcp.web.views.formatting import Timestamp
from kartra_mcp.web.views.history import can_be_looked_up


@dataclass(frozen=True, slots=True)
class ReconcileHint:
    """`by_look`: the account can tell; `counts_from`: not yet that it was not done.

    `more` is how many late looks are still needed to say that.
    """

    by_look: bool
    counts_from: Timestamp | None
    more: int


def reconcile_hint(entry: Mapping[str, Any], looks: int, now: float) -> ReconcileHint:
    late = float(entry["at"]) + LATE_LOOK_DELAY
    return ReconcileHint(
        by_look=can_be_looked_up(entry),
        counts_from=Timestamp(late) if now < late else None,
        more=max(REQUIRED_LOOKS - looks, 1),
    )
