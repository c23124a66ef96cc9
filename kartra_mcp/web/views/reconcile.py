"""Explanation of how an unknown write can be settled. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.calls.reconciliation import LATE_LOOK_DELAY, REQUIRED_LOOKS
from kartra_mcp.web.views.formatting import Timestamp
from kartra_mcp.web.views.history import can_be_looked_up


@dataclass(frozen=True, slots=True)
class ReconcileHint:
    """Conditions for settling an unknown write.

    `by_look`: reading the account can settle the write. `counts_from`: a read before this time
    cannot show that the write was not executed. `more`: number of counting reads that are still
    needed.
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
