"""Routes for run logs: newest first, filtered, in pages that later runs do not shift."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from kartra_mcp.sandbox.http.request import Call, invalid
from kartra_mcp.sandbox.membrane import engine
from kartra_mcp.sandbox.store import php_values

Map = dict[str, Any]
_FILTERS = {
    # name in the query → field of a log
    "actionId": "integrationActionId",
    "integrationActionId": "integrationActionId",
    "integrationId": "integrationId",
    "connectionId": "connectionId",
    "userId": "userId",
    "status": "status",
}
_PAGE = 100
_LONGEST = 1000


def listed(call: Call) -> Map:
    size = _size(call.asked("limit"))
    where, values = _wanted(call)
    rows = call.account.rows(
        f"SELECT rowid, log FROM run_logs WHERE {where} ORDER BY rowid DESC LIMIT ?",
        *(*values, size + 1),
    )
    page: Map = {"items": [json.loads(row["log"]) for row in rows[:size]]}
    if len(rows) > size:
        page["cursor"] = f"{rows[size - 1]['rowid']:x}"
    return page


def _size(limit: str) -> int:
    size = php_values.integer(limit or str(_PAGE))
    if size is None or not 1 <= size <= _LONGEST:
        raise invalid(f"limit has to be from 1 to {_LONGEST}", "limit")
    return size


def _wanted(call: Call) -> tuple[str, list[Any]]:
    if call.asked("status") not in {"", "success", "error"}:
        raise invalid("status has to be success or error", "status")
    asked = {name: call.asked(name) for name in _FILTERS if call.asked(name)}
    parts = [f"json_extract(log, '$.{_FILTERS[name]}') = ?" for name in asked]
    values: list[Any] = list(asked.values())
    for name, sign in (("from", ">="), ("to", "<=")):
        if call.asked(name):
            parts.append(f"at {sign} ?")
            values.append(_moment(name, call.asked(name)))
    if call.asked("cursor") not in {"", "0"}:
        parts.append("rowid < ?")
        values.append(_row(call.asked("cursor")))
    return " AND ".join(parts) or "1", values


def _moment(name: str, text: str) -> str:
    """Parse a date and time as the logs write it; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise invalid(f"{name} is no date and time", name) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _row(cursor: str) -> int:
    try:
        return int(cursor, 16)
    except ValueError as error:
        raise invalid("The cursor is not valid", "cursor") from error


def got(call: Call) -> Map:
    return engine.run_log(call.account, call.part("run"), details=call.flag("details"))


def detailed(call: Call) -> Map:
    return engine.run_log(call.account, call.part("run"), details=True)
