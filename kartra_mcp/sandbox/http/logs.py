"""Routes for run logs: newest first, filtered, in pages that later runs do not shift."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from kartra_mcp.sandbox.http.request import Call, invalid_error
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


def list_logs(call: Call) -> Map:
    size = _parse_size(call.get_query("limit"))
    where, values = _parse_filters(call)
    rows = call.account.rows(
        f"SELECT rowid, log FROM run_logs WHERE {where} ORDER BY rowid DESC LIMIT ?",
        *(*values, size + 1),
    )
    page: Map = {"items": [json.loads(row["log"]) for row in rows[:size]]}
    if len(rows) > size:
        page["cursor"] = f"{rows[size - 1]['rowid']:x}"
    return page


def _parse_size(limit: str) -> int:
    size = php_values.integer(limit or str(_PAGE))
    if size is None or not 1 <= size <= _LONGEST:
        raise invalid_error(f"limit has to be from 1 to {_LONGEST}", "limit")
    return size


def _parse_filters(call: Call) -> tuple[str, list[Any]]:
    if call.get_query("status") not in {"", "success", "error"}:
        raise invalid_error("status has to be success or error", "status")
    asked = {name: call.get_query(name) for name in _FILTERS if call.get_query(name)}
    parts = [f"json_extract(log, '$.{_FILTERS[name]}') = ?" for name in asked]
    values: list[Any] = list(asked.values())
    for name, sign in (("from", ">="), ("to", "<=")):
        if call.get_query(name):
            parts.append(f"at {sign} ?")
            values.append(_parse_time(name, call.get_query(name)))
    if call.get_query("cursor") not in {"", "0"}:
        parts.append("rowid < ?")
        values.append(_parse_cursor(call.get_query("cursor")))
    return " AND ".join(parts) or "1", values


def _parse_time(name: str, text: str) -> str:
    """Parse a date and time as the logs write it; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise invalid_error(f"{name} is not a date and time", name) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parse_cursor(cursor: str) -> int:
    try:
        return int(cursor, 16)
    except ValueError as error:
        raise invalid_error("The cursor is not valid", "cursor") from error


def get_log(call: Call) -> Map:
    return engine.run_log(call.account, call.get_part("run"), details=call.has_flag("details"))


def get_log_details(call: Call) -> Map:
    return engine.run_log(call.account, call.get_part("run"), details=True)
