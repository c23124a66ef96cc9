"""Truncated results in the state folder for `kartra_read_more`, shared by its processes."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.sanitize import dump_json
from kartra_mcp.core.state_dir import StateDir

TTL = 15 * 60
MAX_TOTAL_BYTES = 50 * 1024 * 1024
_ID_BYTES = 12


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result, the location that was cut, and where it continues.

    `bulk_rows` identifies the rows of a bulk run that are the result, if they are.
    """

    result: Any
    path: str
    offset: int
    bulk_rows: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ResultStore:
    """Results on disk: 15 minutes each, 50 MB in total, the oldest removed first."""

    state: StateDir
    _newest: dict[tuple[str, float], Any] = field(default_factory=dict[tuple[str, float], Any])

    def save(self, text: str, path: str, offset: int) -> str:
        """Store a result's JSON, the location that was cut, and the first item that was left out.

        Return the id of the result, or "" on failure.

        A result above the bound is not stored: it would be the first to be removed.
        """
        identity = secrets.token_urlsafe(_ID_BYTES)
        kept = f'{{"path":{json.dumps(path)},"offset":{offset},"result":{text}}}'
        if len(kept.encode()) > MAX_TOTAL_BYTES:
            return ""
        written = self.state.write_text(_file_name(identity), kept)
        self._tidy()
        return identity if written else ""

    def save_rows(self, bulk_rows: Mapping[str, Any], offset: int) -> str:
        """Store which rows of a bulk run a result showed; the rows stay where they are.

        Return the id of the result, or "" on failure.
        """
        identity = secrets.token_urlsafe(_ID_BYTES)
        kept = {"path": "", "offset": offset, "result": None, "bulk_rows": dict(bulk_rows)}
        written = self.state.write_text(_file_name(identity), dump_json(kept))
        return identity if written else ""

    def read(self, identity: str) -> StoredResult:
        """Return a stored result.

        Raises:
            RefusedError: `result_expired`.
        """
        found = self._load_fresh(identity)
        if found is None:
            raise RefusedError(
                "result_expired",
                "This result has expired: results are stored for 15 minutes.",
                "Repeat the call that returned it, if that was a read.",
            )
        offset = int(found.get("offset", 0))
        return StoredResult(found["result"], str(found["path"]), offset, found.get("bulk_rows"))

    def _load_fresh(self, identity: str) -> dict[str, Any] | None:
        if not _is_id(identity):
            return None
        file = self.state.folder / _file_name(identity)
        try:
            written_at = file.stat().st_mtime
            if time.time() - written_at > TTL:
                self._newest.clear()
                file.unlink(missing_ok=True)
                return None
            found = self._parse_cached(file, written_at)
        except (OSError, ValueError):
            return None
        return found if is_object(found) and "result" in found and "path" in found else None

    def _parse_cached(self, file: Path, written_at: float) -> Any:
        """Parse a result once while it is being read: a large one takes time."""
        key = (file.name, written_at)
        found = self._newest.get(key)  # threads share it: it may be cleared at any time
        if found is None:
            found = json.loads(file.read_text(encoding="utf-8"))
            self._newest.clear()
            self._newest[key] = found
        return found

    def _tidy(self) -> None:
        """Remove expired results, and the oldest beyond the bound."""
        files = sorted(_list_files(self.state.folder), key=lambda found: found[1], reverse=True)
        total = 0
        for file, at, size in files:
            total += size
            if total > MAX_TOTAL_BYTES or time.time() - at > TTL:
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


def _is_id(identity: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]{1,40}", identity) is not None
