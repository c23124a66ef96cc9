"""All run logs of a connection: what Membrane itself recorded of each run of an action."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kartra_mcp.core.json_types import as_dict, is_object
from kartra_mcp.membrane.errors import safe_id
from kartra_mcp.membrane.responses import get_cursor, list_items

MAX_LOG_PAGES = 200
PAGE_SIZE = 100

FetchLogs = Callable[[Mapping[str, str]], Awaitable[Any]]
"""Fetches one page of run logs by its query."""


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """One run in Membrane's own log, without its output: there are thousands of them in memory.

    Attributes:
        id: of the run.
        created_at: seconds since the epoch; None if it cannot be read.
        action: id or key of the action; "" if the log names none.
        arguments: the input of the action.
        meta: what the sender marked it with.
    """

    id: str
    created_at: float | None = None
    action: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class LoggedRuns:
    """The runs of a connection since a time, newest first; `complete` unless pages were left."""

    runs: tuple[LoggedRun, ...]
    complete: bool


async def list_logged_runs(fetch: FetchLogs, connection: str, since: float) -> LoggedRuns:
    """List every logged run of a connection.

    Args:
        fetch: fetches one page.
        connection: id of the connection; runs of others are left out.
        since: seconds since the epoch.

    Raises:
        KartraMCPError: a page could not be read.
    """
    began = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    query = {"from": began.replace("+00:00", "Z"), "limit": str(PAGE_SIZE)}
    found: list[LoggedRun] = []
    for _ in range(MAX_LOG_PAGES):
        value = await fetch(query)
        found += _iter_runs(list_items(value), connection)
        cursor = get_cursor(value)
        if cursor is None:
            return LoggedRuns(tuple(found), complete=True)
        query = {**query, "cursor": cursor}
    return LoggedRuns(tuple(found), complete=False)


def _iter_runs(entries: list[Any], connection: str) -> Iterator[LoggedRun]:
    for entry in entries:
        if is_object(entry):
            run = parse_logged_run(entry)
            sent = as_dict(entry.get("action"))
            named = entry.get("connectionId") or sent.get("connectionId")
            if named in (None, connection):
                yield run


def parse_logged_run(entry: Mapping[str, Any]) -> LoggedRun:
    """Parse one entry; `action` is the body that was sent to `/act`, newer than the other names."""
    sent = as_dict(entry.get("action"))
    action = sent.get("id") or sent.get("key") or entry.get("integrationActionId") or ""
    arguments = sent.get("input", entry.get("input"))
    meta = entry.get("meta", sent.get("meta"))
    return LoggedRun(
        safe_id(entry.get("id") or ""),
        _parse_time(entry.get("createdAt")),
        str(action),
        as_dict(arguments),
        as_dict(meta),
    )


def _parse_time(value: Any) -> float | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
