"""The seal: sizes and times of the database's files after the newest commit of kartra-mcp.

Checking every entry before each commit would cost a second at 20,000 entries. While the files are
as the last commit left them, the entries are intact. Otherwise something else wrote to the files,
and every entry is checked again.

A program can put back the time of the last write, but not that of the last change (ctime), which
Windows does not have.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 1024
_BINARY = getattr(os, "O_BINARY", 0)

PARTS = ("", "-wal")
"""The files that hold entries; the shared memory of SQLite holds none."""


@dataclass(frozen=True, slots=True)
class Seal:
    """The seal of one database; written only while the write lock is held, or on closing."""

    database: Path
    path: Path

    def matches(self) -> bool:
        """Return True if nothing but kartra-mcp wrote to the database since it was checked."""
        try:
            file = os.open(self.path, os.O_RDONLY | _BINARY)
        except OSError:
            return False
        try:
            return os.read(file, _LONGEST) == self._describe()
        except OSError:
            return False
        finally:
            os.close(file)

    def write(self) -> None:
        """Describe the files as they are. Without a seal, the next commit checks them."""
        with suppress(OSError):
            described = self._describe()
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | _BINARY, 0o600)
            try:
                # In place: to cut a file to nothing and write it again takes the disk much longer.
                if os.fstat(file).st_size != len(described):
                    os.ftruncate(file, len(described))
                os.write(file, described)
            finally:
                os.close(file)

    def _describe(self) -> bytes:
        found: list[list[int]] = []
        for part in PARTS:
            try:
                stat = os.stat(f"{self.database}{part}")  # noqa: PTH116  before each commit
            except FileNotFoundError:
                found.append([])
            else:
                times = stat.st_mtime_ns, stat.st_ctime_ns
                found.append([stat.st_dev, stat.st_ino, stat.st_size, *times])
        return json.dumps(found).encode()
