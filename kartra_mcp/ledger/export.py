"""The ledger as CSV or JSON, for another program: no cell is a formula."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.sanitize import strip_control_chars
from kartra_mcp.ledger.records import format_utc

FORMATS = ("csv", "json")
COLUMNS = (
    "line",
    "time",
    "ended",
    "intent",
    "tool",
    "operation",
    "risk",
    "connection",
    "target_kind",
    "target",
    "amount",
    "known_amount",
    "remainder",
    "state",
    "executed",
    "consent",
    "confirmation",
    "repeat",
    "mail",
    "actor",
    "client",
    "lead",
    "facts",
    "detail",
    "evidence",
    "action_run_id",
    "undo",
)
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # wide ones count in some languages


def render_entries(entries: Sequence[Mapping[str, Any]], form: str) -> str:
    if form == "json":
        return json.dumps({"lines": list(entries)}, indent=2) + "\n"
    text = io.StringIO()
    rows = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    rows.writerows([_format_cell(value) for value in _list_values(entry)] for entry in entries)
    return text.getvalue()


def _list_values(entry: Mapping[str, Any]) -> list[Any]:
    ended = entry["ended_at"]
    told = {**entry, "ended": None if ended is None else format_utc(ended)}
    return [told[name] for name in COLUMNS]


def _format_cell(value: Any) -> str:
    """Text in one line; what a spreadsheet would take for a formula begins with an apostrophe."""
    if value is None or isinstance(value, str):
        text = value or ""
    else:
        compound = is_object(value) or is_array(value) or isinstance(value, bool)
        text = json.dumps(value) if compound else str(value)
    text = " ".join(strip_control_chars(text).split())
    return f"'{text}" if text.startswith(_FORMULA) else text
