"""The seal: sizes and times of the database's files after the newest commit of kartra-mcp.

Checking every entry before each commit would cost a second at 20,000 entries. While the files are
as the last commit left them, the entries are intact. Otherwise something else wrote to the files,
and every entry is checked again.

A program can put back the time of the last write, but not that of the last change (ctime), which
Windows does not have.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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
            return self.path.read_text("ascii") == self._describe()
        except (OSError, ValueError):
            return False

    def write(self) -> None:
        """Describe the files as they are. Without a seal, the next commit checks them."""
        with suppress(OSError):
            self.path.touch(mode=0o600)
            self.path.write_text(self._describe(), "ascii")

    def _describe(self) -> str:
        found: list[list[int]] = []
        for part in PARTS:
            try:
                stat = Path(f"{self.database}{part}").stat()
            except FileNotFoundError:
                found.append([])
            else:
                times = stat.st_mtime_ns, stat.st_ctime_ns
                found.append([stat.st_dev, stat.st_ino, stat.st_size, *times])
        return json.dumps(found)
