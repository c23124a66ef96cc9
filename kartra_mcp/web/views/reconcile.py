"""Explanation of how an unknown write can be settled. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kartra_mcp.calls.reconciliation import LOOK_DISTANCE
from kartra_mcp.core.timings import WriteTimings
from kartra_mcp.ledger.settlement import REQUIRED_LOOKS, look_delay
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


def reconcile_hint(entry: Mapping[str, Any], looks: Sequence[float], now: float) -> ReconcileHint:
    """Return the hint; `looks` are the times of the looks that counted, newest first."""
    late = float(entry["at"]) + look_delay(entry, WriteTimings())
    if looks:
        late = max(late, looks[0] + LOOK_DISTANCE)
    return ReconcileHint(
        by_look=can_be_looked_up(entry),
        counts_from=Timestamp(late) if now < late else None,
        more=max(REQUIRED_LOOKS - len(looks), 1),
    )
