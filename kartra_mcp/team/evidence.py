"""A bundle of evidence: entries, anchors, the public part of the policy, and a verifier.

The verifier is `offline_verifier.py`, copied as `verify.py`; it also defines the bundle's files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kartra_mcp import __version__
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.hash_chain import Head, LedgerEntry, format_hashed_text
from kartra_mcp.team import offline_verifier
from kartra_mcp.team.anchor_folder import Receipt
from kartra_mcp.team.offline_verifier import ANCHORS, ENTRIES, MANIFEST, self_digest

VERIFIER = "verify.py"
POLICY = "policy.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class LedgerEvidence:
    """Every entry of one account's ledger, from the first one, and its anchors."""

    account: str
    entries: Iterable[LedgerEntry]
    receipts: Iterable[Receipt]


@dataclass(frozen=True, slots=True)
class WrittenBundle:
    """A bundle on disk.

    Attributes:
        folder: its folder.
        ledgers: number and hash of the newest entry, by account.
        anchors: number of receipts.
        digest: SHA-256 of its manifest, to be kept elsewhere.
    """

    folder: Path
    ledgers: Mapping[str, Head]
    anchors: int
    digest: str


class _Writer:
    """Creates the files of a bundle, and their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        digest = hashlib.sha256()
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            for part in parts:
                digest.update(part)
                out.write(part)
        self.files[name] = digest.hexdigest()


def write_bundle(
    folder: Path, ledgers: Iterable[LedgerEvidence], policy: Mapping[str, Any], made_at: float
) -> WrittenBundle:
    """Write a bundle into a new or empty folder.

    Args:
        folder: created if it does not exist.
        ledgers: entries and anchors of each account. The verifier compares them.
        policy: the public part of the policy.
        made_at: seconds since the epoch.

    Raises:
        RefusedError: the folder has content, or cannot be written.
    """
    try:
        _require_empty(folder)
        return _write(_Writer(folder), ledgers, policy, made_at)
    except OSError as problem:
        raise RefusedError(
            "invalid_arguments",
            f"The evidence was not written into {folder}: {problem.strerror}.",
            "Name another folder with --output.",
        ) from problem


def _write(
    writer: _Writer, ledgers: Iterable[LedgerEvidence], policy: Mapping[str, Any], made_at: float
) -> WrittenBundle:
    heads: dict[str, Head] = {}
    anchors = 0
    for ledger in ledgers:
        lines = _EntryLines(ledger.entries)
        writer.write(f"{ENTRIES}/{ledger.account}.txt", lines.iterate())
        heads[ledger.account] = lines.head
        for receipt in ledger.receipts:
            writer.write(f"{ANCHORS}/{ledger.account}/{receipt.name}", [receipt.content])
            anchors += 1
    writer.write(POLICY, [_to_json(policy)])
    writer.write(VERIFIER, [Path(offline_verifier.__file__).read_bytes()])
    manifest = {
        "format": FORMAT,
        "made_at": made_at,
        "made_by": f"kartra-mcp {__version__}",
        "ledgers": {name: [head.count, head.hash] for name, head in heads.items()},
        "files": writer.files,
    }
    content = _to_json({**manifest, "digest": self_digest(manifest)})
    writer.write(MANIFEST, [content])
    return WrittenBundle(writer.folder, heads, anchors, hashlib.sha256(content).hexdigest())


class _EntryLines:
    """The lines of entries; `head` is the last one that was formatted."""

    def __init__(self, entries: Iterable[LedgerEntry]) -> None:
        self._entries = entries
        self.head = Head()

    def iterate(self) -> Iterator[bytes]:
        for entry in self._entries:
            self.head = Head(entry.n, entry.hash)
            yield f"{format_hashed_text(entry)} {entry.hash}\n".encode()


def _to_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _require_empty(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(folder.iterdir()):
        raise RefusedError(
            "invalid_arguments",
            f"{folder} is not empty. No evidence was written.",
            "Name a new folder with --output.",
        )
