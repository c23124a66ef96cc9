"""The ledger's tables: `lines` only grows and is the truth; the others follow it, or expire."""

from __future__ import annotations

import sqlite3

from kartra_mcp.ledger.errors import LedgerDamagedError, wrong_version_error

VERSION = 1
APPLICATION = 0x4B4D4350
"""`KMCP`, in the header of the file."""

ENTRIES_DDL = """
CREATE TABLE lines (
  n INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
  prev TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX lines_kind ON lines (kind, n);
CREATE TRIGGER lines_stay BEFORE UPDATE ON lines
  BEGIN SELECT RAISE(ABORT, 'lines are never changed'); END;
CREATE TRIGGER lines_remain BEFORE DELETE ON lines
  BEGIN SELECT RAISE(ABORT, 'lines are never removed'); END;
CREATE TRIGGER lines_follow BEFORE INSERT ON lines
  WHEN NEW.n IS NOT (SELECT COALESCE(MAX(n), 0) + 1 FROM lines)
  BEGIN SELECT RAISE(ABORT, 'lines only follow each other'); END;
"""

INTENTS = """
CREATE TABLE intents (
  id TEXT PRIMARY KEY, line INTEGER NOT NULL, at REAL NOT NULL, tool TEXT NOT NULL,
  operation TEXT NOT NULL, risk INTEGER NOT NULL, connection TEXT NOT NULL,
  target_kind TEXT NOT NULL, target TEXT, amount TEXT, remainder TEXT, known_amount TEXT,
  mail INTEGER NOT NULL, lead_hash TEXT NOT NULL, state TEXT NOT NULL, executed TEXT NOT NULL,
  ended_at REAL, outcome_line INTEGER, reconcile_line INTEGER, action_run_id TEXT) WITHOUT ROWID;
CREATE INDEX intents_line ON intents (line);
CREATE INDEX intents_target ON intents (connection, target_kind, target);
CREATE INDEX intents_found ON intents (target);
CREATE INDEX intents_lead ON intents (lead_hash) WHERE lead_hash <> '';
CREATE INDEX intents_running ON intents (state) WHERE state = 'running';
CREATE INDEX intents_final ON intents (at) WHERE risk = 3;
CREATE INDEX intents_mail ON intents (at) WHERE mail > 0;
"""

BESIDE = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE confirmations (
  hash TEXT PRIMARY KEY, kind TEXT NOT NULL, binding TEXT NOT NULL, summary TEXT NOT NULL,
  facts TEXT NOT NULL, made_at REAL NOT NULL, expires_at REAL NOT NULL,
  used_by TEXT) WITHOUT ROWID;
CREATE INDEX confirmations_end ON confirmations (expires_at);
CREATE TABLE blocks (
  key TEXT PRIMARY KEY, why TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE approvals (
  number INTEGER PRIMARY KEY, binding TEXT NOT NULL, summary TEXT NOT NULL, facts TEXT,
  facts_digest TEXT NOT NULL, asked_at REAL NOT NULL, expires_at REAL NOT NULL,
  asked_by TEXT NOT NULL, key TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, decided_at REAL,
  who TEXT, reason TEXT,
  used_by TEXT);
CREATE INDEX approvals_open ON approvals (state, expires_at);
CREATE INDEX approvals_bound ON approvals (binding);
CREATE TABLE pin_attempts (at REAL NOT NULL, correct INTEGER NOT NULL);
"""

_STATED = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"


def make(db: sqlite3.Connection) -> None:
    """All tables, inside the caller's transaction."""
    for statement in _split_statements(ENTRIES_DDL + INTENTS + BESIDE):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def make_intents(db: sqlite3.Connection) -> None:
    for statement in _split_statements(INTENTS):
        db.execute(statement)


def is_empty(db: sqlite3.Connection) -> bool:
    return not db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]


def must_be_ours(db: sqlite3.Connection) -> None:
    """Raise unless the file is a ledger of this version."""
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise LedgerDamagedError("the file is not a ledger")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise wrong_version_error(version, VERSION)


def is_whole(db: sqlite3.Connection) -> bool:
    """Whether tables, indexes and triggers are exactly those that `make` makes."""
    return _list_objects(db) == _list_expected_objects()


def _list_objects(db: sqlite3.Connection) -> list[tuple[str, str, str]]:
    return [(kind, name, sql) for kind, name, sql in db.execute(_STATED)]


def _list_expected_objects() -> list[tuple[str, str, str]]:
    aside = sqlite3.connect(":memory:", isolation_level=None)
    try:
        make(aside)
        return _list_objects(aside)
    finally:
        aside.close()


def _split_statements(script: str) -> list[str]:
    """The statements of a script; a trigger's own end stands behind its `END`."""
    found: list[str] = []
    rest = ""
    for piece in script.split(";"):
        rest += piece + ";"
        if sqlite3.complete_statement(rest):
            found.append(rest)
            rest = ""
    return [statement.strip() for statement in found if statement.strip(" ;\n")]
