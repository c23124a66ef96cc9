"""Chains of ledger entries for tests: a start, then intents and their outcomes."""

from __future__ import annotations

from kartra_mcp.ledger.hash_chain import Head, LedgerEntry, make_entry


def make_entries(count: int, altered: int = 0) -> list[LedgerEntry]:
    """Make a valid chain; entry `altered` has another body than usual."""
    found: list[LedgerEntry] = []
    head = Head()
    for n in range(1, count + 1):
        kind = "start" if n == 1 else ("intent", "outcome")[n % 2]
        body = {"intent": f"i-{n // 2}", "text": "é \ud800 \n", "amount": 9 if n == altered else 5}
        found.append(make_entry(head, 1_793_880_000.125 + n, kind, body))
        head = Head(n, found[-1].hash)
    return found
