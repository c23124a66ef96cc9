"""Truncated results for `kartra_read_more`: each belongs to its caller, for 15 minutes."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.principal import caller_key
from kartra_mcp.core.sanitize import dump_json

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


class ResultStorage(Protocol):
    """Texts by id and owner, for a time. The oldest are removed beyond a total size."""

    def save(self, identity: str, owner: str, text: str) -> bool:
        """Store a text; return False if that failed."""
        ...

    def is_stored(self, identity: str, owner: str) -> bool:
        """Return whether the text of this owner is there and has not expired."""
        ...

    def load(self, identity: str, owner: str) -> str | None: ...

    @property
    def problem(self) -> str:
        """Return why results cannot be stored at present, or ""."""
        ...


@dataclass(frozen=True, slots=True)
class ResultStore:
    """Results of calls: 15 minutes each, 50 MB in total, the oldest removed first."""

    storage: ResultStorage
    _newest: dict[tuple[str, str], Any] = field(default_factory=dict[tuple[str, str], Any])

    def save(self, text: str, path: str, offset: int) -> str:
        """Store a result's JSON, the location that was cut, and the first item that was left out.

        Return the id of the result, or "" on failure.

        A result above the bound is not stored: it would be the first to be removed.
        """
        kept = f'{{"path":{json.dumps(path)},"offset":{offset},"result":{text}}}'
        return "" if len(kept.encode()) > MAX_TOTAL_BYTES else self._save(kept)

    def save_rows(self, bulk_rows: Mapping[str, Any], offset: int) -> str:
        """Store which rows of a bulk run a result showed; the rows stay where they are.

        Return the id of the result, or "" on failure.
        """
        kept = {"path": "", "offset": offset, "result": None, "bulk_rows": dict(bulk_rows)}
        return self._save(dump_json(kept))

    def read(self, identity: str) -> StoredResult:
        """Return a stored result of this caller.

        Raises:
            RefusedError: `result_expired`.
        """
        found = self._load(identity) if _is_id(identity) else None
        if found is None:
            raise RefusedError(
                "result_expired",
                "This result has expired: results are stored for 15 minutes.",
                "Repeat the call that returned it, if that was a read.",
            )
        offset = int(found.get("offset", 0))
        return StoredResult(found["result"], str(found["path"]), offset, found.get("bulk_rows"))

    def _save(self, text: str) -> str:
        identity = secrets.token_urlsafe(_ID_BYTES)
        return identity if self.storage.save(identity, caller_key(), text) else ""

    def _load(self, identity: str) -> dict[str, Any] | None:
        """Parse a result once while it is being read: a large one takes time."""
        owner = caller_key()
        if not self.storage.is_stored(identity, owner):
            self._newest.pop((identity, owner), None)
            return None
        found = self._newest.get((identity, owner))  # threads share it
        if found is None:
            text = self.storage.load(identity, owner)
            try:
                found = None if text is None else json.loads(text)
            except ValueError:
                return None
            self._newest.clear()
            self._newest[identity, owner] = found
        return found if is_object(found) and "result" in found and "path" in found else None


def _is_id(identity: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]{1,40}", identity) is not None
