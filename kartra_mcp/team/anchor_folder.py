"""Receipts of anchors: a folder that only grows, outside the database.

`N.json` has the hash of entry N; `N.tsr` an RFC 3161 timestamp of it. A file is created once and
never replaced, so that a folder on storage that forbids replacing (object lock, WORM) can be used.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.files import read_small_file
from kartra_mcp.core.json_types import as_dict
from kartra_mcp.ledger.hash_chain import Head
from kartra_mcp.team.offline_verifier import anchor_name

MAX_RECEIPT_BYTES = 64 * 1024
HEAD_SUFFIX, TIMESTAMP_SUFFIX = ".json", ".tsr"
_NAME = re.compile(r"([0-9]{12})\.(json|tsr)")


@dataclass(frozen=True, slots=True)
class Receipt:
    """One file of the folder. `content` is as it was written."""

    n: int
    name: str
    content: bytes

    @property
    def is_timestamp(self) -> bool:
        return self.name.endswith(TIMESTAMP_SUFFIX)

    @property
    def hash(self) -> str:
        """Return the hash in a receipt that is no timestamp; "" if it cannot be read."""
        try:
            found: Any = as_dict(json.loads(self.content))
        except ValueError:
            return ""
        return str(found.get("hash", "")) if found.get("n") == self.n else ""


@dataclass(frozen=True, slots=True)
class AnchorFolder:
    """One folder of receipts."""

    path: Path

    def add_head(self, head: Head, at: float) -> bool:
        """Write the hash of an entry; return False if it was there already.

        Raises:
            RefusedError: it was anchored with another hash, or the folder cannot be written.
        """
        content = json.dumps({"n": head.count, "hash": head.hash, "at": at}).encode()
        if self._add(anchor_name(head.count) + HEAD_SUFFIX, content):
            return True
        found = self.get(head.count, HEAD_SUFFIX)
        if found is None or found.hash != head.hash:
            raise RefusedError(
                "ledger_unavailable",
                f"Entry {head.count} was anchored with another hash: the ledger was altered,"
                " replaced or restored. Nothing was anchored.",
                "Stop the writes, keep both, and run `kartra-mcp team verify`.",
            )
        return False

    def add_timestamp(self, n: int, content: bytes) -> bool:
        """Write a timestamp of entry `n`; return False if there was one already."""
        return self._add(anchor_name(n) + TIMESTAMP_SUFFIX, content)

    def get(self, n: int, suffix: str) -> Receipt | None:
        """Return one receipt, or None if there is none."""
        name = anchor_name(n) + suffix
        return self._read(name) if (self.path / name).exists() else None

    def iterate(self) -> Iterator[Receipt]:
        """Yield every receipt in the order of the entries.

        Raises:
            RefusedError: the folder or a file in it cannot be read.
        """
        if not self.path.exists():
            return
        try:
            names = sorted(one.name for one in self.path.iterdir())
        except OSError as problem:
            raise _unreadable_error(self.path) from problem
        yield from (self._read(name) for name in names if _NAME.fullmatch(name))

    def latest(self) -> int:
        """Return the number of the newest anchored entry; 0 if there is none."""
        return max((receipt.n for receipt in self.iterate()), default=0)

    def _read(self, name: str) -> Receipt:
        try:
            content = read_small_file(self.path / name, MAX_RECEIPT_BYTES)
        except OSError as problem:
            raise _unreadable_error(self.path / name) from problem
        return Receipt(int(name.partition(".")[0]), name, content)

    def _add(self, name: str, content: bytes) -> bool:
        """Create a file, durably and whole; return False if it exists."""
        file = self.path / name
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if file.exists():
                return False
            _create(file, content)
            _sync_folder(self.path)
        except FileExistsError:
            return False
        except OSError as problem:
            raise _unwritable_error(file, problem) from problem
        return True


def _create(file: Path, content: bytes) -> None:
    """Create a file under its name only when it is whole; FileExistsError if there is one.

    A link is made of a finished file, because a rename would replace an existing one. Storage
    without links gets the file in place.
    """
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    _write(aside, content)
    try:
        os.link(aside, file)
    except FileExistsError:
        raise
    except OSError:
        _write(file, content)
    finally:
        with suppress(OSError):
            aside.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a created name durable; Windows cannot."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(file: Path, content: bytes) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o444)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _unreadable_error(path: Path) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"The receipts of anchors in {path} cannot be read. Nothing was done.",
        "Let this user read them; `anchor.directory` of the team file names their folder.",
    )


def _unwritable_error(file: Path, problem: OSError) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"The receipt {file} was not written: {problem.strerror}.",
        "Let this user create files in that folder, then run `kartra-mcp team anchor` again.",
    )
