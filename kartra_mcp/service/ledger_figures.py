"""Figures of the ledgers for metrics, read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Filters
from kartra_mcp.ledger.store import LedgerStore

MOST = 1_000


def read_figures(stores: Mapping[str, LedgerStore]) -> dict[str, dict[str, float]]:
    """Return the figures of each account; none of one whose ledger cannot be read."""
    found: dict[str, dict[str, float]] = {}
    for name, store in stores.items():
        try:
            found[name] = _read_figures(Ledger(store))
        except KartraMCPError:
            found[name] = {}
    return found


def _read_figures(ledger: Ledger) -> dict[str, float]:
    return {
        "unknown": len(ledger.list_recent(MOST, Filters(state="unknown"))),
        "conflicts": len(ledger.list_conflicts()),
        "approvals": len(ledger.approvals.pending_numbers()),
    }
