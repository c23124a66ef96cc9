"""Jobs over all entries of the ledger of one account: verify, anchor, collect evidence.

They read entries in order, from any store. What a job saw is remembered in the state folder of
this machine, so that a database that was rolled back is noticed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.ledger.hash_chain import Head, LedgerEntry
from kartra_mcp.ledger.records import VerificationReport
from kartra_mcp.team.anchor_folder import TIMESTAMP_SUFFIX, AnchorFolder
from kartra_mcp.team.evidence import LedgerEvidence, WrittenBundle, write_bundle
from kartra_mcp.team.loading import Team
from kartra_mcp.team.public_policy import describe_policy
from kartra_mcp.team.timestamp_client import TimestampAuthority
from kartra_mcp.team.verification import ChainFault, WitnessReport, compare_witnesses

TABLES = 0
"""Number of a fault that is in no entry, but in the tables that derive from them."""
HEADS_FILE = "team-heads.json"
DEFAULT_FOLDER = "anchors"


class EntrySource(Protocol):
    """A ledger whose entries can be read in order."""

    def iterate_entries(self) -> Iterator[LedgerEntry]:
        """Yield every entry from the first one, of one snapshot."""
        ...

    def read_head(self) -> Head:
        """Return the head that the database itself records."""
        ...

    def verify(self) -> VerificationReport:
        """Verify every entry, and every table that derives from them."""
        ...


@dataclass(frozen=True, slots=True)
class HeadMemory:
    """The highest head that this machine saw of one ledger, which `key` identifies."""

    state: StateDir
    key: str

    def read(self) -> Head:
        found = self._read_all().get(self.key)
        if is_object(found) and isinstance(found.get("n"), int):
            return Head(found["n"], str(found.get("hash", "")))
        return Head()

    def note(self, head: Head) -> bool:
        """Remember a head that was verified, unless a higher one is; False if that failed."""
        if head.count <= self.read().count:
            return True
        every = {**self._read_all(), self.key: {"n": head.count, "hash": head.hash}}
        return self.state.write(HEADS_FILE, every)

    def _read_all(self) -> dict[str, Any]:
        found = self.state.read(HEADS_FILE)
        return found if is_object(found) else {}


@dataclass(frozen=True, slots=True)
class TeamVerification:
    """Result of `team verify`.

    Attributes:
        count: number of entries.
        head: the newest one up to which the chain is valid.
        anchors: number of anchors that fit; `anchored` is the newest entry that has one.
        fault: the broken entry with the lowest number, and why.
        refused: why an intact ledger takes no write now; "" if it does.
        remembered: this machine remembers the head, and will notice a database that went back.
    """

    count: int
    head: Head
    anchors: int
    anchored: int
    fault: ChainFault | None
    refused: str = ""
    remembered: bool = False

    @property
    def ok(self) -> bool:
        return self.fault is None and not self.refused


@dataclass(frozen=True, slots=True)
class AnchorResult:
    """Result of `team anchor`. `timestamp`: made now, there before, or not configured."""

    head: Head
    added: bool
    timestamp: bool
    signature_checked: bool
    problem: KartraMCPError | None = None


@dataclass(frozen=True, slots=True)
class LedgerJobs:
    """The jobs on the ledger of one account.

    Attributes:
        team: the loaded team file.
        account: name of the account.
        source: its ledger.
        memory: the highest head that this machine saw.
        folder: receipts of anchors.
    """

    team: Team
    account: str
    source: EntrySource
    memory: HeadMemory
    folder: AnchorFolder

    def verify(self) -> TeamVerification:
        """Compare the chain, the derived tables, the anchors and the remembered head."""
        witnesses = self._compare()
        report = self.source.verify()
        faults: list[ChainFault] = [*witnesses.faults]
        # A ledger that takes no write for another reason may be broken all the same.
        if report.broken is not None or (report.why and not faults):
            faults.append(ChainFault(report.broken or TABLES, report.why))
        fault = min(faults, key=lambda found: found.n, default=None)
        head = witnesses.head
        return TeamVerification(
            max(report.count, head.count),
            head,
            witnesses.anchors,
            witnesses.anchored,
            fault,
            report.refused,
            remembered=fault is None and self.memory.note(head),
        )

    def anchor(self, at: float) -> AnchorResult:
        """Anchor the newest entry, if the ledger agrees with every earlier witness.

        Args:
            at: seconds since the epoch, for the receipt.

        Raises:
            RefusedError: the ledger is broken, or a receipt cannot be written.
        """
        witnesses = self._compare()
        _require_sound(witnesses)
        head = witnesses.head
        if not head.count:
            return AnchorResult(head, added=False, timestamp=False, signature_checked=False)
        self.memory.note(head)
        added = self.folder.add_head(head, at)
        authority = self._find_authority()
        if authority is None:
            return AnchorResult(head, added, timestamp=False, signature_checked=False)
        checked = authority.root_certificate is not None
        if self.folder.get(head.count, TIMESTAMP_SUFFIX) is None:
            try:
                self.folder.add_timestamp(head.count, authority.stamp(head))
            except KartraMCPError as problem:
                # The receipt of the folder exists: report both.
                return AnchorResult(
                    head, added, timestamp=False, signature_checked=False, problem=problem
                )
        return AnchorResult(head, added, timestamp=True, signature_checked=checked)

    def collect(self) -> LedgerEvidence:
        """Return what a bundle of evidence contains of this ledger, also of a broken one.

        The anchors are listed first: one that is made meanwhile would be newer than the entries.
        """
        receipts = list(self.folder.iterate())
        return LedgerEvidence(self.account, self.source.iterate_entries(), receipts)

    def _compare(self) -> WitnessReport:
        heads = [self.memory.read(), self.source.read_head()]
        return compare_witnesses(self.source.iterate_entries(), self.folder.iterate(), heads)

    def _find_authority(self) -> TimestampAuthority | None:
        places = self.team.config.anchor
        if places is None or not places.url:
            return None
        root = places.root_certificate
        return TimestampAuthority(places.url, self.team.locate(root) if root else None)


def make_jobs(team: Team, account: str, source: EntrySource, state_dir: Path) -> LedgerJobs:
    """Return the jobs; receipts go into `anchor.directory`, else into the state folder."""
    places = team.config.anchor
    named = places.directory if places is not None else ""
    folder = team.locate(named) if named else state_dir / DEFAULT_FOLDER
    memory = HeadMemory(StateDir(state_dir), team.config.endpoint(account))
    return LedgerJobs(team, account, source, memory, AnchorFolder(folder / account))


def write_evidence(
    team: Team, every: Iterable[LedgerJobs], folder: Path, made_at: float
) -> WrittenBundle:
    """Write a bundle of evidence; the verifier in it names what differs."""
    policy = describe_policy(team.config, team.policies)
    return write_bundle(folder, (jobs.collect() for jobs in every), policy, made_at)


def describe_faults(faults: Sequence[ChainFault]) -> str:
    return "; ".join(f"entry {fault.n}: {fault.why}" for fault in faults)


def _require_sound(witnesses: WitnessReport) -> None:
    if witnesses.faults:
        raise RefusedError(
            "ledger_unavailable",
            f"The ledger is broken: {describe_faults(witnesses.faults[:3])}. Nothing was anchored.",
            "Stop the writes, and run `kartra-mcp team verify`.",
        )
