"""Tables of the ledger and their migrations.

`lines` only grows and is authoritative; the other tables derive from it or expire.

A released migration never changes: the tables of an existing file must be exactly those that its
migrations create.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from kartra_mcp.ledger.errors import LedgerDamagedError, wrong_version_error

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

QUESTIONS = """
CREATE TABLE confirmations (
  hash TEXT PRIMARY KEY, kind TEXT NOT NULL, binding TEXT NOT NULL, summary TEXT NOT NULL,
  facts TEXT NOT NULL, asked_at REAL, question_number INTEGER, typed_confirmation TEXT,
  made_at REAL NOT NULL, expires_at REAL NOT NULL, used_by TEXT) WITHOUT ROWID;
"""
PARTS = """
CREATE TABLE parts (
  intent TEXT NOT NULL, number INTEGER NOT NULL, line INTEGER NOT NULL, at REAL NOT NULL,
  operation TEXT NOT NULL, risk INTEGER NOT NULL, connection TEXT NOT NULL,
  target_kind TEXT NOT NULL, target TEXT, known_amount TEXT, equality TEXT,
  PRIMARY KEY (intent, number)) WITHOUT ROWID;
CREATE INDEX parts_target ON parts (connection, target_kind, target);
CREATE INDEX parts_equal ON parts (connection, operation, equality);
CREATE INDEX parts_final ON parts (at) WHERE risk = 3;
"""
"""Each writing command of an intent; derived from the lines, as `intents` is."""

LEADS = """
CREATE TABLE leads (
  connection TEXT NOT NULL, target TEXT NOT NULL, lead_id TEXT NOT NULL,
  PRIMARY KEY (connection, target)) WITHOUT ROWID;
CREATE INDEX leads_id ON leads (connection, lead_id);
"""
"""The id of a lead by its masked and hashed address, as it was read."""
BULK_INTENTS = """
CREATE TABLE bulk_intents (
  bulk TEXT NOT NULL, item INTEGER NOT NULL, intent TEXT NOT NULL,
  PRIMARY KEY (bulk, item)) WITHOUT ROWID;
CREATE INDEX bulk_intents_intent ON bulk_intents (intent);
"""
"""The intent of each item of a bulk run, derived from the lines: an item has at most one."""

BULK_RUNS = """
CREATE TABLE bulk_runs (
  id TEXT PRIMARY KEY, tool TEXT NOT NULL, operation TEXT NOT NULL, risk INTEGER NOT NULL,
  connection TEXT NOT NULL, request TEXT NOT NULL, state TEXT NOT NULL, made_at REAL NOT NULL,
  actor TEXT NOT NULL, client TEXT NOT NULL, digest TEXT NOT NULL, binding TEXT,
  facts TEXT NOT NULL, consent TEXT NOT NULL, agreed_at REAL, ended_at REAL, why TEXT NOT NULL,
  total INTEGER NOT NULL, duplicates INTEGER NOT NULL, options TEXT NOT NULL,
  undoes TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX bulk_runs_made ON bulk_runs (made_at);
CREATE TABLE bulk_items (
  bulk TEXT NOT NULL, number INTEGER NOT NULL, source INTEGER NOT NULL, arguments TEXT NOT NULL,
  state TEXT NOT NULL, digest TEXT NOT NULL, facts_digest TEXT NOT NULL, amount TEXT NOT NULL,
  risk INTEGER NOT NULL, mail INTEGER NOT NULL, gate TEXT NOT NULL, changes INTEGER,
  looked_at REAL, code TEXT NOT NULL, reason TEXT NOT NULL, result TEXT,
  held TEXT NOT NULL, claimed_until REAL NOT NULL, PRIMARY KEY (bulk, number)) WITHOUT ROWID;
CREATE INDEX bulk_items_state ON bulk_items (bulk, state, number);
"""
"""Runs and their items, which hold the user's data until it is removed."""
ATTEMPTS = """
CREATE TABLE pin_attempts (number INTEGER PRIMARY KEY, at REAL NOT NULL, correct INTEGER NOT NULL);
"""
_PACKED_QUESTION = re.compile(
    r"([0-9a-f]{64}) ([0-9]{1,12}(?:\.[0-9]+)?) ([0-9]{1,3}) (.*)", re.DOTALL
)
"""Version 1 of `facts` of a question: digest, time asked, number and text to type."""

_STATED = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"


Objects = tuple[tuple[str, str, str], ...]
"""Type, name and SQL of each table, index and trigger."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema, run inside the caller's transaction."""

    number: int
    sentence: str
    apply: Callable[[sqlite3.Connection], None]


def _create_first_tables(db: sqlite3.Connection) -> None:
    _run_script(db, ENTRIES_DDL + INTENTS + BESIDE)


def _unpack_questions(db: sqlite3.Connection) -> None:
    """Move the packed values of a question to columns; a question that cannot be read expires."""
    # Create a new table instead of ALTER ... ADD COLUMN: SQLite's own edit of the stored SQL may
    # differ between its versions, and a damaged file is recognized by its stored SQL.
    db.execute("ALTER TABLE confirmations RENAME TO packed_confirmations")
    _run_script(db, QUESTIONS)
    old = "SELECT hash, kind, binding, summary, facts, made_at, expires_at, used_by"
    for row in db.execute(f"{old} FROM packed_confirmations").fetchall():
        db.execute(
            "INSERT INTO confirmations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _unpack(row)
        )
    db.execute("DROP TABLE packed_confirmations")
    db.execute("CREATE INDEX confirmations_end ON confirmations (expires_at)")


def _add_parts(db: sqlite3.Connection) -> None:
    """Give every earlier intent its parts; those of 0.1.0 name the commands of a chain only."""
    _run_script(db, PARTS + LEADS)
    db.execute(
        "INSERT INTO parts SELECT id, 0, line, at, operation, risk, connection, target_kind,"
        " target, known_amount, NULL FROM intents WHERE operation NOT LIKE '%+%'"
    )
    chains = "SELECT id, line, at, operation, risk, connection, target_kind, target, known_amount"
    for row in db.execute(f"{chains} FROM intents WHERE operation LIKE '%+%'").fetchall():
        id_, line, at, operation, *rest = row
        for number, name in enumerate(str(operation).split("+")):
            values = (id_, number, line, at, name, *rest, None)
            db.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def _add_bulk_runs(db: sqlite3.Connection) -> None:
    _run_script(db, BULK_INTENTS + BULK_RUNS)


def _number_attempts(db: sqlite3.Connection) -> None:
    """Number the attempts at the PIN; SQLite alone has the row ids that ordered them."""
    db.execute("ALTER TABLE pin_attempts RENAME TO unnumbered_attempts")
    _run_script(db, ATTEMPTS)
    db.execute(
        "INSERT INTO pin_attempts (at, correct)"
        " SELECT at, correct FROM unnumbered_attempts ORDER BY rowid"
    )
    db.execute("DROP TABLE unnumbered_attempts")


def _unpack(row: Sequence[object]) -> tuple[object, ...]:
    hash_, kind, binding, summary, facts, made_at, expires_at, used_by = row
    if kind != "question":
        values = (facts, None, None, None, made_at, expires_at)
    elif found := _PACKED_QUESTION.fullmatch(str(facts)):
        digest, asked_at, number, typed = found.groups()
        values = (digest, float(asked_at), int(number), typed, made_at, expires_at)
    else:
        values = ("", None, None, None, made_at, made_at)
    return (hash_, kind, binding, summary, *values, used_by)


MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "Create the tables of 0.1.0.", _create_first_tables),
    Migration(2, "Give the values of a question columns of their own.", _unpack_questions),
    Migration(3, "Give each command of an intent a row, and each lead one name.", _add_parts),
    Migration(4, "Add bulk runs, their items, and the intent of each item.", _add_bulk_runs),
    Migration(5, "Number the attempts at the PIN.", _number_attempts),
)
VERSION = MIGRATIONS[-1].number


def make(db: sqlite3.Connection) -> None:
    """Create all tables inside the caller's transaction."""
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    migrate(db)


def migrate(db: sqlite3.Connection, to: int = VERSION) -> None:
    """Run the missing migrations, in order, inside the caller's transaction."""
    version = get_version(db)
    for migration in MIGRATIONS:
        if version < migration.number <= to:
            migration.apply(db)
            db.execute(f"PRAGMA user_version = {migration.number}")


def get_version(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]


def is_empty(db: sqlite3.Connection) -> bool:
    return not db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]


def must_be_ours(db: sqlite3.Connection) -> None:
    """Raise unless the file is a ledger of this version or of one that can be migrated to it."""
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise LedgerDamagedError("the file is not a ledger")
    version = get_version(db)
    if not MIGRATIONS[0].number <= version <= VERSION:
        raise wrong_version_error(version, VERSION)


def is_whole(db: sqlite3.Connection) -> bool:
    """Return whether tables, indexes and triggers are exactly those of the file's version."""
    return _list_objects(db) == _list_expected_objects(get_version(db))


def _list_objects(db: sqlite3.Connection) -> Objects:
    return tuple((kind, name, sql) for kind, name, sql in db.execute(_STATED))


@cache
def _list_expected_objects(version: int) -> Objects:
    """Run the migrations on an empty database, once for each version: most of an open was this."""
    aside = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(aside, to=version)
        return _list_objects(aside)
    finally:
        aside.close()


def _run_script(db: sqlite3.Connection, script: str) -> None:
    """Run the statements one by one; `executescript` would commit the caller's transaction."""
    for statement in _split_statements(script):
        db.execute(statement)


def _split_statements(script: str) -> list[str]:
    """Split a script into statements; a trigger contains semicolons of its own before its `END`."""
    found: list[str] = []
    rest = ""
    for piece in script.split(";"):
        rest += piece + ";"
        if sqlite3.complete_statement(rest):
            found.append(rest)
            rest = ""
    return [statement.strip() for statement in found if statement.strip(" ;\n")]
