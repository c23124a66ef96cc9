"""Check a bundle of evidence: `python3 verify.py`, offline, with Python 3.8 or newer alone.

The bundle is the folder of this file. Every file is compared with `manifest.json`, the hash of
every entry is computed again, and every anchor is compared with its entry. Each difference is
printed with its file; the exit status is 1 if there is one.

Files:
    entries/ACCOUNT.txt     one entry a line: the JSON list [n, at, kind, body, prev], a blank, and
                            its SHA-256. `prev` is the hash of the entry before; of entry 1 it is
                            64 zeros.
    anchors/ACCOUNT/N.json  the hash of entry N, as it was written outside the database
    anchors/ACCOUNT/N.tsr   an RFC 3161 timestamp of entry N's hash
    policy.json             accounts, roles, approvals, gates and limits at the time of the bundle

Not found by this program: entries newer than the newest anchor that were rewritten together with
all hashes after them, and a changed copy of this program. Compare the printed SHA-256 of
manifest.json with the one that `kartra-mcp team evidence` printed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

GENESIS_HASH = "0" * 64
MANIFEST = "manifest.json"
ENTRIES = "entries"
ANCHORS = "anchors"
_TIMESTAMP_CONTENT = bytes.fromhex("2a864886f70d0109100104")
"""Object identifier of TSTInfo, 1.2.840.113549.1.9.16.1.4."""
_SHA256 = bytes.fromhex("608648016503040201")
_SEQUENCE, _OBJECT_ID, _OCTETS, _TIME = 0x30, 0x06, 0x04, 0x18


def anchor_message(n: int, hash_: str) -> bytes:
    """Return the bytes whose SHA-256 a timestamp contains.

    Args:
        n: number of the entry.
        hash_: its hash, in hexadecimal.
    """
    return f"KARTRA-MCP-ANCHOR-1\n{n}\n{hash_}\n".encode()


def anchor_name(n: int) -> str:
    """Return the name of an anchor's files without their ending."""
    return f"{n:012d}"


def self_digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its field `digest`."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


class LedgerCheck:
    """The entries and anchors of one account's ledger, and the differences found."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.file = f"{ENTRIES}/{name}.txt"
        self.faults: list[str] = []
        self.hashes: dict[int, str] = {}
        self.timestamps: list[tuple[int, str, Path]] = []
        self.anchored = 0

    def check(self, end: list[Any]) -> None:
        """Check every entry and anchor; the newest entry must have this number and hash."""
        try:
            with (self.folder / self.file).open(encoding="ascii", newline="\n") as lines:
                self.check_lines(lines)
        except (OSError, ValueError):
            self.fault(self.file, f"cannot be read after entry {len(self.hashes)}")
        count = len(self.hashes)
        if [count, self.hashes.get(count, GENESIS_HASH)] != end:
            self.fault(self.file, f"does not end at entry {end[0]}, {end[1]}")
        for file in sorted((self.folder / ANCHORS / self.name).glob("*")):
            self.check_anchor(file)

    def fault(self, file: str, problem: str) -> None:
        self.faults.append(f"{file}: {problem}")

    def check_lines(self, lines: Iterable[str]) -> None:
        previous = GENESIS_HASH
        for number, line in enumerate(lines, 1):
            text, _, hash_ = line.rstrip("\n").rpartition(" ")
            problem = find_entry_fault(text, hash_, number, previous)
            if problem:
                self.fault(self.file, f"entry {number} {problem}")
                return
            self.hashes[number] = previous = hash_

    def check_anchor(self, file: Path) -> None:
        name = file.relative_to(self.folder).as_posix()
        try:
            number = int(file.stem)
            problem = self.find_anchor_fault(file, number)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            self.fault(name, "cannot be read")
            return
        if problem:
            self.fault(name, f"entry {number} {problem}")
        else:
            self.anchored = max(self.anchored, number)

    def find_anchor_fault(self, file: Path, number: int) -> str:
        """Return why an anchor does not fit its entry, or ""."""
        hash_ = self.hashes.get(number)
        if hash_ is None:
            return "is missing or broken"
        if file.suffix == ".json":
            found: dict[str, Any] = json.loads(file.read_text("utf-8"))
            fits = [found["n"], found["hash"]] == [number, hash_]
        else:
            imprint, time = read_timestamp(file.read_bytes())
            fits = imprint == hashlib.sha256(anchor_message(number, hash_)).digest()
            self.timestamps.append((number, time, file))
        return "" if fits else "had another hash when it was anchored"

    def describe(self) -> Iterator[str]:
        """Yield the lines of a report."""
        yield f"{self.name}: entries with the right hash: {len(self.hashes)}"
        left = len(self.hashes) - self.anchored
        if self.anchored:
            yield f"{self.name}: newest anchor: entry {self.anchored}"
        if left > 0:
            yield f"{self.name}: entries newer than every anchor: {left} (the chain alone has them)"
        for number, time, file in self.timestamps:
            message = hashlib.sha256(anchor_message(number, self.hashes[number])).hexdigest()
            name = file.relative_to(self.folder).as_posix()
            yield f"{self.name}: timestamp of entry {number}: {time}"
            yield "  Its signature was not checked. To check it:"
            yield f"  openssl ts -verify -digest {message} -in {name} -CAfile ROOT.pem"


class Bundle:
    """The files of one bundle, and the differences found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[str] = []
        self.ledgers: list[LedgerCheck] = []

    def check(self) -> None:
        manifest = self.read_manifest()
        if manifest:
            self.check_files(manifest["files"])
        known: dict[str, list[Any]] = manifest.get("ledgers", {})
        for name in manifest.get("files", {}):
            account = Path(name).stem if name.startswith(ENTRIES) else Path(name).parent.name
            if name.startswith((ENTRIES, ANCHORS)) and account not in known:
                self.fault(name, "its account is not in the manifest")
        for name, end in sorted(known.items()):
            ledger = LedgerCheck(self.folder, name)
            ledger.check(end)
            self.ledgers.append(ledger)
            self.faults += ledger.faults

    def fault(self, file: str, problem: str) -> None:
        self.faults.append(f"{file}: {problem}")

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest, or an empty one if it cannot be read."""
        try:
            found: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text("utf-8"))
            names = {"format": int, "ledgers": dict, "files": dict, "digest": str}
            if all(isinstance(found[name], kind) for name, kind in names.items()):
                if self_digest(found) != found["digest"]:
                    self.fault(MANIFEST, "was altered: its digest does not match")
                return found
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.fault(MANIFEST, "is missing or cannot be read")
        return {}

    def check_files(self, files: Mapping[str, str]) -> None:
        present = {
            file.relative_to(self.folder).as_posix()
            for file in self.folder.rglob("*")
            if not file.is_dir() and "__pycache__" not in file.parts
        }
        for name in sorted(present - set(files) - {MANIFEST}):
            self.fault(name, "is not in the manifest: it was added")
        for name in sorted(files):
            if name not in present:
                self.fault(name, "is missing")
            elif hashlib.sha256((self.folder / name).read_bytes()).hexdigest() != files[name]:
                self.fault(name, "was altered: its SHA-256 differs from the manifest")

    def describe(self) -> Iterator[str]:
        """Yield the lines of a report."""
        manifest = self.folder / MANIFEST
        if manifest.exists():
            digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
            yield f"SHA-256 of {MANIFEST}: {digest}"
        for ledger in self.ledgers:
            yield from ledger.describe()
        yield from self.faults
        yield f"NOT VALID: {len(self.faults)} faults" if self.faults else "VALID"


def find_entry_fault(text: str, hash_: str, number: int, previous: str) -> str:
    """Return why a line of entries.txt does not follow the one before, or ""."""
    if hashlib.sha256(text.encode()).hexdigest() != hash_:
        return "was altered: its hash does not match"
    try:
        n, _, _, body, prev = json.loads(text)
        json.loads(body)
    except (ValueError, TypeError):
        return "cannot be read"
    if n != number:
        return f"is missing: line {number} has entry {n}"
    return "" if prev == previous else "does not follow the entry before it"


def read_timestamp(der: bytes) -> tuple[bytes, str]:
    """Return imprint and time of an RFC 3161 response or token.

    Its signature is not checked: that needs more than Python's standard library.

    Raises:
        ValueError: it is not a timestamp over a SHA-256.
    """
    at = der.find(bytes([_OBJECT_ID, len(_TIMESTAMP_CONTENT)]) + _TIMESTAMP_CONTENT)
    if at < 0:
        raise ValueError("not a timestamp")
    _, _, at = read_element(der, at)
    _, wrapped, _ = read_element(der, at)
    tag, content, _ = read_element(wrapped, 0)
    if tag != _OCTETS:
        raise ValueError("not a timestamp")
    parts = list_elements(list_elements(content)[0][1])
    algorithm, imprint = list_elements(parts[2][1])
    if list_elements(algorithm[1])[0] != (_OBJECT_ID, _SHA256) or parts[4][0] != _TIME:
        raise ValueError("not a timestamp over a SHA-256")
    return imprint[1], parts[4][1].decode("ascii")


def list_elements(der: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of the elements that follow each other."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(der):
        tag, content, at = read_element(der, at)
        found.append((tag, content))
    return found


def read_element(der: bytes, at: int) -> tuple[int, bytes, int]:
    """Return tag, content and end of the DER element at a position."""
    tag, length, at = der[at], der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, at = int.from_bytes(der[at : at + size], "big"), at + size
    if at + length > len(der):
        raise ValueError("cut off")
    return tag, der[at : at + length], at + length


def main(folder: Path) -> int:
    bundle = Bundle(folder)
    bundle.check()
    sys.stdout.write("".join(f"{line}\n" for line in bundle.describe()))
    return 1 if bundle.faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
