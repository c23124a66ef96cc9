"""Comparison of a chain with its witnesses outside the database: anchors and remembered heads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kartra_mcp.ledger.hash_chain import Head, LedgerEntry, verify_chain
from kartra_mcp.team.anchor_folder import Receipt
from kartra_mcp.team.offline_verifier import anchor_message, read_timestamp


@dataclass(frozen=True, slots=True)
class ChainFault:
    """The first entry that a witness contradicts, and why."""

    n: int
    why: str


@dataclass(slots=True)
class WitnessReport:
    """Result of a comparison.

    Attributes:
        head: the head up to which the chain is valid.
        anchored: the newest entry with an anchor that fits; 0 for none.
        anchors: number of anchors that fit.
        faults: what differs, by the number of the entry.
    """

    head: Head = field(default_factory=Head)
    anchored: int = 0
    anchors: int = 0
    faults: list[ChainFault] = field(default_factory=list[ChainFault])

    @property
    def first_fault(self) -> ChainFault | None:
        return min(self.faults, key=_by_number, default=None)


def _by_number(fault: ChainFault) -> int:
    return fault.n


def compare_witnesses(
    entries: Iterable[LedgerEntry], receipts: Iterable[Receipt], remembered: Iterable[Head] = ()
) -> WitnessReport:
    """Verify the chain of all entries, and compare it with receipts and remembered heads."""
    found = list(receipts)
    heads = [head for head in remembered if head.count]
    wanted = {receipt.n for receipt in found} | {head.count for head in heads}
    hashes: dict[int, str] = {}
    walked = verify_chain(_note_hashes(entries, wanted, hashes))
    report = WitnessReport(walked.head)
    if walked.broken is not None:
        report.faults.append(ChainFault(walked.broken, walked.why))
        # What follows a broken entry proves nothing, so that its witnesses are not compared.
        found = [receipt for receipt in found if receipt.n <= walked.head.count]
        heads = [head for head in heads if head.count <= walked.head.count]
    report.faults += _iter_receipt_faults(report, found, hashes)
    report.faults += _iter_head_faults(report, heads, hashes)
    return report


def _note_hashes(
    entries: Iterable[LedgerEntry], wanted: set[int], hashes: dict[int, str]
) -> Iterator[LedgerEntry]:
    for entry in entries:
        if entry.n in wanted:
            hashes[entry.n] = entry.hash
        yield entry


def _iter_receipt_faults(
    report: WitnessReport, receipts: Iterable[Receipt], hashes: Mapping[int, str]
) -> Iterator[ChainFault]:
    for receipt in receipts:
        why = find_receipt_fault(receipt, hashes.get(receipt.n, ""))
        if not why:
            report.anchors += 1
            report.anchored = max(report.anchored, receipt.n)
        elif receipt.n > report.head.count:
            end = report.head.count + 1
            yield ChainFault(end, f"the ledger ends at {end - 1}, but {receipt.n} was anchored")
        else:
            yield ChainFault(receipt.n, f"{why} ({receipt.name})")


def find_receipt_fault(receipt: Receipt, hash_: str) -> str:
    """Return why a receipt does not fit the hash of its entry, or ""."""
    if not hash_:
        return f"entry {receipt.n} was anchored, but is missing or broken"
    if not receipt.is_timestamp:
        if not receipt.hash:
            return "the anchor cannot be read"
        fits = receipt.hash == hash_
    else:
        try:
            imprint, _ = read_timestamp(receipt.content)
        except (ValueError, IndexError):
            return "the timestamp cannot be read"
        fits = imprint == hashlib.sha256(anchor_message(receipt.n, hash_)).digest()
    return "" if fits else f"entry {receipt.n} had another hash when it was anchored"


def _iter_head_faults(
    report: WitnessReport, heads: Iterable[Head], hashes: Mapping[int, str]
) -> Iterator[ChainFault]:
    for head in heads:
        if head.count > report.head.count:
            end = report.head.count + 1
            yield ChainFault(end, f"the ledger ends at {end - 1}, but {head.count} was seen before")
        elif hashes.get(head.count) != head.hash:
            yield ChainFault(head.count, f"entry {head.count} had another hash when it was seen")
