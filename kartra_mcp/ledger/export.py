"""Export of the ledger for other programs: JSON, or CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.sanitize import strip_control_chars
from kartra_mcp.ledger.entry_fields import ENTRY_FIELDS
from kartra_mcp.ledger.records import format_utc

FORMATS = ("csv", "json")
COLUMNS = tuple(field.name for field in ENTRY_FIELDS)
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""Characters that begin a formula; spreadsheets in some locales accept the full-width ones."""


def render_entries(entries: Sequence[Mapping[str, Any]], form: str) -> str:
    """Return the entries as text in the given form: "csv" (RFC 4180) or "json"."""
    if form == "json":
        return json.dumps({"lines": list(entries)}, indent=2) + "\n"
    return render_csv(COLUMNS, map(_list_values, entries))


def render_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV (RFC 4180) that is safe to open in a spreadsheet."""
    text = io.StringIO()
    out = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    out.writerow(map(_format_cell, columns))
    out.writerows([_format_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _list_values(entry: Mapping[str, Any]) -> list[Any]:
    ended = entry["ended_at"]
    values = {**entry, "ended": None if ended is None else format_utc(ended)}
    return [values.get(name) for name in COLUMNS]


def _format_cell(value: Any) -> str:
    """Return a cell as one line of text; a leading formula character is escaped by an apostrophe.

    Ids and names come from callers and from Kartra. A spreadsheet would run `=HYPERLINK(…)` in such
    a cell.
    """
    if value is None or isinstance(value, str):
        text = value or ""
    else:
        compound = is_object(value) or is_array(value) or isinstance(value, bool)
        text = json.dumps(value) if compound else str(value)
    text = " ".join(strip_control_chars(text).split())
    return f"'{text}" if text.startswith(_FORMULA) else text
