"""Truncated results as files of the state folder, shared by the processes of one user."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kartra_mcp.calls import result_store
from kartra_mcp.core.state_dir import StateDir


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """A file for each result; the oldest are removed beyond the bound."""

    state: StateDir

    def save(self, identity: str, owner: str, text: str) -> bool:
        del owner  # the folder belongs to one user
        written = self.state.write_text(_file_name(identity), text)
        self._tidy()
        return written

    def load(self, identity: str, owner: str) -> str | None:
        del owner
        try:
            return (self.state.folder / _file_name(identity)).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def is_stored(self, identity: str, owner: str) -> bool:
        del owner
        file = self.state.folder / _file_name(identity)
        try:
            fresh = time.time() - file.stat().st_mtime <= result_store.TTL
            if not fresh:
                file.unlink(missing_ok=True)
        except OSError:
            return False
        return fresh

    @property
    def problem(self) -> str:
        return self.state.error

    def _tidy(self) -> None:
        """Remove expired results, and the oldest beyond the bound."""
        files = sorted(_list_files(self.state.folder), key=lambda found: found[1], reverse=True)
        total = 0
        for file, at, size in files:
            total += size
            if total > result_store.MAX_TOTAL_BYTES or time.time() - at > result_store.TTL:
                with suppress(OSError):
                    file.unlink()


def _list_files(folder: Path) -> list[tuple[Path, float, int]]:
    found: list[tuple[Path, float, int]] = []
    for file in folder.glob("result-*.json"):
        with suppress(OSError):
            about = file.stat()
            found.append((file, about.st_mtime, about.st_size))
    return found


def _file_name(identity: str) -> str:
    return f"result-{identity}.json"
