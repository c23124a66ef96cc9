"""Verification of a whole SQLite file: its pages and tables, and every entry in it."""

from __future__ import annotations

import sqlite3

from kartra_mcp.ledger.integrity import verify_entries
from kartra_mcp.ledger.records import VerificationReport
from kartra_mcp.ledger.sqlite import schema


def verify_file(db: sqlite3.Connection) -> VerificationReport:
    """Verify every entry, the file, and every table that derives from the entries."""
    return verify_entries(db, lambda: _find_file_fault(db))


def _find_file_fault(db: sqlite3.Connection) -> str:
    if not schema.is_whole(db):
        return "its tables were altered"
    if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
        return "parts of the file were overwritten or cut off"
    return ""
