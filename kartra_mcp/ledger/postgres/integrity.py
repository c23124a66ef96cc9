"""Verification of a whole ledger in PostgreSQL: its entries, and what protects them."""

from __future__ import annotations

from kartra_mcp.ledger.database import Database
from kartra_mcp.ledger.integrity import verify_entries
from kartra_mcp.ledger.postgres.history import SWEPT_KEY
from kartra_mcp.ledger.projection import parse_payload
from kartra_mcp.ledger.records import VerificationReport

_TRIGGERS = frozenset(
    {"lines_stay", "lines_remain", "lines_follow", "parts_marked", "parts_follow"}
)
_INDEXES = frozenset({"parts_one_running", "parts_one_unsettled"})
_ENABLED = """
SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = to_regnamespace(current_schema()) AND t.tgenabled IN ('O', 'A')
"""
_VALID = """
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = to_regnamespace(current_schema()) AND i.indisunique AND i.indisvalid
"""


def verify_database(db: Database) -> VerificationReport:
    """Verify every entry, what protects it, and every table that derives from the entries."""
    return verify_entries(db, lambda: _find_protection_fault(db))


def _find_protection_fault(db: Database) -> str:
    if not {row[0] for row in db.execute(_ENABLED)} >= _TRIGGERS:
        return "a trigger that protects its tables is gone or disabled"
    if not {row[0] for row in db.execute(_VALID)} >= _INDEXES:
        return "an index that backs its main rule is gone"
    swept = db.execute("SELECT value FROM meta WHERE key = ?", (SWEPT_KEY,)).fetchone()
    sql = "SELECT body FROM lines WHERE kind = 'sweep' ORDER BY n DESC LIMIT 1"
    line = db.execute(sql).fetchone()
    if line is not None and (swept is None or swept[0] != parse_payload(line[0])["timeline"]):
        return "the swept timeline does not match the lines"
    return ""
