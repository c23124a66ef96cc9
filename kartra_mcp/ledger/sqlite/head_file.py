"""The head file: count and hash of the newest entry, to detect entries cut from the end.

The chain alone cannot detect a cut end: what remains is a valid chain. The file has two slots of
fixed width, written in turn and in place. A torn write leaves the other slot, which is one commit
older, and a full disk cannot prevent the write.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from kartra_mcp.core.json_types import is_object
from kartra_mcp.ledger.errors import LedgerDamagedError
from kartra_mcp.ledger.hash_chain import Head

SLOT = 128
_BINARY = getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class HeadFile:
    """One head file, used only while the write lock is held."""

    path: Path

    def read(self) -> Head | None:
        """Return the newest head, or None if there is no file.

        Raises:
            LedgerDamagedError: there is a file, but it contains no valid head.
        """
        try:
            file = os.open(self.path, os.O_RDONLY | _BINARY)
        except FileNotFoundError:
            return None
        try:
            known = [head for head in _read_slots(file) if head is not None]
        finally:
            os.close(file)
        if not known:
            raise LedgerDamagedError(f"{self.path.name} was altered")
        return max(known, key=_count)

    def write(self, head: Head) -> None:
        """Write durably into the slot that does not hold the newest head."""
        try:
            file = os.open(self.path, os.O_RDWR | _BINARY)
        except FileNotFoundError:
            self.replace(head)
            return
        try:
            counts = [-1 if slot is None else slot.count for slot in _read_slots(file)]
            os.lseek(file, counts.index(min(counts)) * SLOT, os.SEEK_SET)
            os.write(file, _encode(head))
            os.fsync(file)
        finally:
            os.close(file)

    def replace(self, head: Head) -> None:
        """Replace the file by one with only this head, atomically."""
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


def _read_slots(file: int) -> list[Head | None]:
    content = os.read(file, 2 * SLOT)
    return [_decode(content[at : at + SLOT]) for at in (0, SLOT)]


def keep_names(folder: Path) -> None:
    """Make created and renamed files in a folder durable, where the system supports it.

    POSIX does not write a directory entry with the file's own fsync; Windows has no directory
    fsync.
    """
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


@lru_cache(maxsize=8)
def _decode(slot: bytes) -> Head | None:
    try:
        payload = json.loads(slot)
    except ValueError:
        return None
    if not is_object(payload):
        return None
    count, text = payload.get("count"), payload.get("hash")
    if not isinstance(count, int) or not isinstance(text, str):
        return None
    head = Head(count, text)
    return head if payload.get("check") == _check(head) else None
