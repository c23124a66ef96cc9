"""Numbered SQL migrations of a team's database, applied once, by one process at a time.

A released file never changes. Each names in its second line the oldest schema version whose
programs still run on the tables that it leaves: first a migration only adds (expand), and a later
one removes what no program uses any more (contract), so that replicas of two versions run side by
side while a new one is rolled out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql

from kartra_mcp.ledger.errors import LedgerRefusedError
from kartra_mcp.ledger.postgres.errors import MIGRATE
from kartra_mcp.ledger.postgres.history import SWEPT_KEY

LOCK_KEY = 0x4B4D4350
"""`KMCP`: the advisory lock of every migration of a database."""

_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_FILE = re.compile(r"([0-9]{4})_([a-z_]+)\.sql")
_COMPATIBLE = re.compile(r"^-- compatible: ([0-9]+)$", re.MULTILINE)
_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL,
  oldest_program INTEGER NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp())
"""
_RIGHTS = {
    "SELECT": ("schema_version", "head", "lines"),
    "INSERT": ("lines",),
    "UPDATE": ("head",),
    "SELECT, INSERT": ("bulk_intents", "pin_attempts"),
    "SELECT, INSERT, UPDATE": (
        *("intents", "parts", "leads", "meta", "blocks", "approvals", "bulk_runs", "bulk_items"),
        "pace",
    ),
    "SELECT, INSERT, DELETE": ("results",),
    "SELECT, INSERT, UPDATE, DELETE": ("confirmations",),
}
"""Rights of the role of the service on each table: entries are added and read, nothing else."""

SERVICE_SCHEMA = "service"
"""Schema of what belongs to no account. That of an account has the prefix `ledger_`."""
_SERVICE_RIGHTS = {
    "SELECT": ("schema_version",),
    "SELECT, INSERT, UPDATE": ("jobs",),
    "SELECT, INSERT, DELETE": ("logins",),
    "SELECT, INSERT, UPDATE, DELETE": ("sessions", "notices"),
}


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; `oldest_program` is the schema version of the oldest program that still runs."""

    number: int
    name: str
    text: str
    oldest_program: int

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@cache
def load_migrations(folder_name: str = "migrations") -> tuple[Migration, ...]:
    """Return the migrations of this program in order: of an account, or of another folder."""
    folder = files("kartra_mcp.ledger.postgres") / folder_name
    found = [
        parse_migration(entry.name, entry.read_text("utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    ]
    return tuple(sorted(found, key=_get_number))


def parse_migration(name: str, text: str) -> Migration:
    """Return the migration of a file.

    Raises:
        ValueError: its name or its second line has another form.
    """
    named, compatible = _FILE.fullmatch(name), _COMPATIBLE.search(text)
    if named is None or compatible is None:
        raise ValueError(f"{name} is not a migration")
    lines = text.replace("\r\n", "\n")
    return Migration(int(named[1]), named[2], lines, int(compatible[1]))


def get_version() -> int:
    """Return the schema version of this program."""
    return load_migrations()[-1].number


def quote_schema(account: str) -> str:
    """Return the schema of an account, quoted for SQL.

    Raises:
        ValueError: the name has other characters than small letters, digits, `-` and `_`.
    """
    if not _ACCOUNT.fullmatch(account):
        raise ValueError(f"{account!r} is not the name of an account")
    return f'"ledger_{account}"'


def require_version(found: int | None, oldest_program: int | None) -> None:
    """Raise unless this program runs on tables of this version.

    Raises:
        LedgerRefusedError: they are older, or newer than this program can use.
    """
    own = get_version()
    if found is None or found < own:
        raise LedgerRefusedError(
            f"its database has schema version {found or 0}, and this program needs {own}", MIGRATE
        )
    if found > own and (oldest_program or found) > own:
        raise LedgerRefusedError(
            f"its database has schema version {found}, which this program does not know",
            "An admin should update kartra-mcp on each replica.",
        )


def migrate(
    conninfo: str,
    accounts: Iterable[str],
    role: str = "",
    migrations: Sequence[Migration] | None = None,
) -> dict[str, list[int]]:
    """Bring the ledger of each account to the newest version, and grant the service its rights.

    Args:
        conninfo: address of the database, with the role that owns the tables.
        accounts: names of the accounts; the schema of a new one is created.
        role: the role of the service; "" for the one of `conninfo`.
        migrations: those of this program, unless a test has others.

    Returns:
        The numbers of the migrations that were applied, by account.

    Raises:
        LedgerRefusedError: an applied migration was altered, or the database is newer.
        psycopg.Error: the database refused; nothing of that account was changed.
    """
    wanted = load_migrations() if migrations is None else migrations
    applied: dict[str, list[int]] = {}
    with psycopg.connect(conninfo, connect_timeout=10) as connection:
        for account in accounts:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
                applied[account] = _migrate_account(connection, account, wanted)
                _protect_entries(connection, role)
                _grant(connection, quote_schema(account), role, _RIGHTS)
    return applied


def migrate_service(conninfo: str, role: str = "") -> list[int]:
    """Bring the tables of the service to the newest version; return what was applied.

    Arguments and errors as of `migrate`.
    """
    wanted = load_migrations("service_migrations")
    with psycopg.connect(conninfo, connect_timeout=10) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        done, _ = _migrate_schema(connection, SERVICE_SCHEMA, wanted)
        _grant(connection, SERVICE_SCHEMA, role, _SERVICE_RIGHTS)
    return done


def _migrate_account(
    connection: psycopg.Connection[Any], account: str, wanted: Sequence[Migration]
) -> list[int]:
    done, is_new = _migrate_schema(connection, quote_schema(account), wanted)
    if is_new:
        # A new ledger lacks nothing: its writes begin on the timeline of today.
        insert = f"INSERT INTO meta (key, value) SELECT '{SWEPT_KEY}', current_timeline()"
        connection.execute(insert.encode())
    return done


def _migrate_schema(
    connection: psycopg.Connection[Any], schema: str, wanted: Sequence[Migration]
) -> tuple[list[int], bool]:
    """Apply the missing migrations; return their numbers, and whether the schema was empty."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
    connection.execute(f"SET LOCAL search_path = {schema}, pg_temp".encode())
    connection.execute(_VERSIONS)
    sql_ = "SELECT number, checksum, oldest_program FROM schema_version"
    known = {row[0]: row[1:] for row in connection.execute(sql_)}
    newest = max(known, default=0)
    if newest > wanted[-1].number:
        oldest = max(oldest for _, oldest in known.values())
        if oldest > wanted[-1].number:
            require_version(newest, oldest)
    done: list[int] = []
    for migration in wanted:
        if migration.number not in known:
            _apply(connection, migration)
            done.append(migration.number)
        elif known[migration.number][0] != migration.checksum:
            raise LedgerRefusedError(
                f"migration {migration.number} was altered after it was applied",
                "Install the released version of kartra-mcp, and run the command again.",
            )
    return done, not known


def _apply(connection: psycopg.Connection[Any], migration: Migration) -> None:
    connection.execute(migration.text.encode())
    connection.execute(
        "INSERT INTO schema_version (number, name, checksum, oldest_program)"
        " VALUES (%s, %s, %s, %s)",
        (migration.number, migration.name, migration.checksum, migration.oldest_program),
    )


def _protect_entries(connection: psycopg.Connection[Any], role: str) -> None:
    """Take the rights to change entries from the role of the service, and from an owner, too."""
    name = sql.Identifier(role or connection.info.user)
    connection.execute(
        sql.SQL("REVOKE UPDATE, DELETE, TRUNCATE ON lines FROM PUBLIC, {}").format(name)
    )


def _grant(
    connection: psycopg.Connection[Any],
    schema_name: str,
    role: str,
    granted: Mapping[str, Sequence[str]],
) -> None:
    """Give the role of the service its rights; an owner has them."""
    schema = sql.SQL(schema_name)  # pyright: ignore[reportArgumentType]  quoted and checked
    name = sql.Identifier(role or connection.info.user)
    if name == sql.Identifier(connection.info.user):
        return
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, name))
    for rights, tables in granted.items():
        names = sql.SQL(", ").join(map(sql.Identifier, tables))
        text = sql.SQL("GRANT {} ON {} TO {}")
        connection.execute(text.format(sql.SQL(rights), names, name))  # pyright: ignore[reportArgumentType]


def _get_number(migration: Migration) -> int:
    return migration.number
