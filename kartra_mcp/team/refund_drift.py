"""Comparison of refunds in Kartra with those of a ledger. Pure.

Kartra lists the transactions of one lead, never all refunds. Therefore only refunds of sales that
the ledger knows are compared; others are not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from kartra_mcp.kartra.values import parse_amount

MAY_BE_DONE = frozenset({"running", "unknown"})
DriftKind = Literal["unexplained", "before", "perhaps", "absent"]


@dataclass(frozen=True, slots=True)
class KartraRefund:
    """A refund in Kartra: id of its row, the sale that it returns, and the sum."""

    id: str
    sale: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class LedgerRefund:
    """A refund of the ledger. `amount` None: all that remained, and it could not be read.

    `seen` are the rows of refunds that Kartra had before it, as the preview kept them.
    """

    intent: str
    sale: str
    state: str
    at: float
    amount: Decimal | None = None
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference.

    `unexplained`: Kartra has a refund that no entry explains. `before`: likewise, but it was there
    before the first write of the ledger on that sale. `perhaps`: only a write of unknown outcome
    explains it. `absent`: the ledger has a refund that Kartra does not show.
    """

    kind: DriftKind
    sale: str
    amount: Decimal | None
    row: str = ""
    intent: str = ""


def parse_evidence(sale: str, evidence: Iterable[str]) -> list[KartraRefund]:
    """Parse the rows that facts of a refund list: `ID SUM`."""
    found: list[KartraRefund] = []
    for text in evidence:
        id_, _, amount = text.rpartition(" ")
        parsed = parse_amount(amount)
        if parsed is not None:
            found.append(KartraRefund(id_, sale, parsed))
    return found


def parse_ledger_refund(entry: Mapping[str, Any]) -> LedgerRefund:
    """Return the refund of an entry as `Ledger.list_all` has it."""
    facts: Mapping[str, Any] = entry.get("facts") or {}
    amount = entry.get("known_amount") or entry.get("amount")
    seen: list[str] = list(facts.get("seen") or ())
    return LedgerRefund(
        str(entry["intent"]),
        str(entry["target"]),
        str(entry["state"]),
        float(entry["at"]),
        None if amount is None else parse_amount(amount),
        tuple(seen),
    )


def compare_refunds(kartra: Iterable[KartraRefund], ledger: Iterable[LedgerRefund]) -> list[Drift]:
    """Return the differences of one sale's refunds, unexplained ones first."""
    rows = list(kartra)
    entries = sorted(ledger, key=lambda one: one.at)
    earlier = {text.rpartition(" ")[0] for entry in entries[:1] for text in entry.seen}
    # A refund of all that remained may have any sum: the others take their rows first.
    done = [entry for entry in entries if entry.state == "succeeded"]
    done.sort(key=lambda one: one.amount is None)
    perhaps = [entry for entry in entries if entry.state in MAY_BE_DONE]
    found: list[Drift] = []
    for row in [row for row in rows if row.id in earlier]:
        rows.remove(row)
        found.append(Drift("before", row.sale, row.amount, row.id))
    for entry in done:
        row = _take_match(rows, entry)
        if row is None:
            found.append(Drift("absent", entry.sale, entry.amount, intent=entry.intent))
    for row in list(rows):
        entry = next((one for one in perhaps if one.amount in (None, row.amount)), None)
        if entry is None:
            found.append(Drift("unexplained", row.sale, row.amount, row.id))
        else:
            perhaps.remove(entry)
            found.append(Drift("perhaps", row.sale, row.amount, row.id, entry.intent))
    return sorted(found, key=lambda one: one.kind != "unexplained")


def _take_match(rows: list[KartraRefund], entry: LedgerRefund) -> KartraRefund | None:
    """Remove and return the row that an entry explains; an entry without a sum takes any."""
    for row in rows:
        if entry.amount in (None, row.amount):
            rows.remove(row)
            return row
    return None
