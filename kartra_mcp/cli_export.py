"""The ledger as CSV or JSON: no cell is a formula, no file is another user's or overwritten."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kartra_mcp.errors import Refused
from kartra_mcp.ledger.words import moment
from kartra_mcp.shapes import is_array, is_object
from kartra_mcp.text import clean

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


def written(entries: Sequence[Mapping[str, Any]], form: str) -> str:
    if form == "json":
        return json.dumps({"lines": list(entries)}, indent=2) + "\n"
    text = io.StringIO()
    rows = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    rows.writerows([_cell(value) for value in _values(entry)] for entry in entries)
    return text.getvalue()


def put(text: str) -> None:
    """To stdout in UTF-8, byte for byte as in a file."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def save(file: Path, text: str, *, away_from: Path, force: bool) -> None:
    """Into a file of this user alone, whole or not at all.

    Raises:
        Refused: it is there already, stands among the ledger's own, or cannot be written.
    """
    if file.resolve().parent == away_from.resolve():
        raise _unwritable(file, "it would stand among the ledger's own files")
    place = file.with_name(f".{file.name}.{os.getpid()}") if force else file
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _unwritable(file, "it is there already, and --force was not said") from None
    except OSError as problem:
        raise _unwritable(file, str(problem.strerror)) from problem
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            out.write(text)
        place.replace(file)
    except BaseException as problem:
        place.unlink(missing_ok=True)
        if isinstance(problem, OSError):
            raise _unwritable(file, str(problem.strerror)) from problem
        raise


def _values(entry: Mapping[str, Any]) -> list[Any]:
    ended = entry["ended_at"]
    told = {**entry, "ended": None if ended is None else moment(ended)}
    return [told[name] for name in COLUMNS]


def _cell(value: Any) -> str:
    """Text in one line; what a spreadsheet would take for a formula begins with an apostrophe."""
    if value is None or isinstance(value, str):
        text = value or ""
    else:
        compound = is_object(value) or is_array(value) or isinstance(value, bool)
        text = json.dumps(value) if compound else str(value)
    text = " ".join(clean(text).split())
    return f"'{text}" if text.startswith(_FORMULA) else text


def _unwritable(file: Path, why: str) -> Refused:
    return Refused(
        "invalid_arguments",
        f"{file} was not written: {why}.",
        "Name another file with --output.",
    )
