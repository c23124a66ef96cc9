"""The head file: count and hash of the newest line, kept beside the ledger against a cut tail.

Two slots of fixed width, written in turn and in place: a torn write leaves the other slot, which
is one commit older, and a full disk cannot keep the head from being written.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kartra_mcp.core.json_types import is_object
from kartra_mcp.ledger.errors import LedgerDamagedError
from kartra_mcp.ledger.hash_chain import Head

SLOT = 128
_BINARY = getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class HeadFile:
    """One head file. To be used only while the ledger's turn is held."""

    path: Path

    def read(self) -> Head | None:
        """The newest head; None where there is no file.

        Raises:
            Damaged: there is a file, but no head in it.
        """
        slots = self._read_slots()
        if slots is None:
            return None
        known = [head for head in slots if head is not None]
        if not known:
            raise LedgerDamagedError(f"{self.path.name} does not hold what was written there")
        return max(known, key=_count)

    def write(self, head: Head) -> None:
        """Durably, into the slot that does not hold the newest head."""
        slots = self._read_slots()
        if slots is None:
            self.replace(head)
            return
        counts = [-1 if slot is None else slot.count for slot in slots]
        at = counts.index(min(counts)) * SLOT
        file = os.open(self.path, os.O_RDWR | _BINARY)
        try:
            os.lseek(file, at, os.SEEK_SET)
            os.write(file, _encode(head))
            os.fsync(file)
        finally:
            os.close(file)

    def replace(self, head: Head) -> None:
        """A file with this head alone, in place of whatever is there."""
        handle, aside = tempfile.mkstemp(dir=self.path.parent, prefix=".head.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_encode(head) + b" " * (SLOT - 1) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            Path(aside).replace(self.path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        keep_names(self.path.parent)

    def _read_slots(self) -> list[Head | None] | None:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        return [_decode(content[at : at + SLOT]) for at in (0, SLOT)]


def keep_names(folder: Path) -> None:
    """Make what was created or renamed in a folder durable, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _count(head: Head) -> int:
    return head.count


def _check(head: Head) -> str:
    return sha256(f"{head.count} {head.hash}".encode()).hexdigest()[:8]


def _encode(head: Head) -> bytes:
    text = json.dumps({"count": head.count, "hash": head.hash, "check": _check(head)})
    return text.ljust(SLOT - 1).encode() + b"\n"


def _decode(slot: bytes) -> Head | None:
    try:
        told = json.loads(slot)
    except ValueError:
        return None
    if not is_object(told):
        return None
    count, text = told.get("count"), told.get("hash")
    if not isinstance(count, int) or not isinstance(text, str):
        return None
    head = Head(count, text)
    return head if told.get("check") == _check(head) else None
