"""Reading of what protects the ledgers of a deployment: durability, standby, rights, versions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from kartra_mcp.ledger.postgres import migrations
from kartra_mcp.ledger.postgres.errors import from_postgres_error

CONNECT_SECONDS = 10
_SERVER = """
SELECT current_setting('server_version') AS version,
  current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' AS durable,
  current_setting('synchronous_standby_names') <> '' AS names_standby,
  current_setting('synchronous_commit') NOT IN ('off', 'local') AS waits_for_standby,
  current_user AS role, pg_is_in_recovery() AS is_standby,
  (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
  COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,
  extract(epoch FROM clock_timestamp())::float8 AS clock
"""
_FORBIDDEN = ("UPDATE", "DELETE", "TRUNCATE")
_LEDGER = """
SELECT has_schema_privilege(s.oid, 'USAGE') AS usable,
  to_regclass(%(schema)s || '.lines') AS lines,
  (SELECT pg_has_role(c.relowner, 'MEMBER') FROM pg_class c
    WHERE c.oid = to_regclass(%(schema)s || '.lines')) AS owns
FROM pg_namespace s WHERE s.oid = to_regnamespace(%(schema)s)
"""
_RIGHTS = """
SELECT r AS forbidden FROM unnest(%(rights)s::text[]) r
WHERE has_table_privilege(to_regclass(%(schema)s || '.lines'), r)
"""
_CAN_READ_NOTICES = """
SELECT COALESCE((SELECT has_schema_privilege(n.oid, 'USAGE') FROM pg_namespace n
    WHERE n.oid = to_regnamespace('service')), false)
  AND COALESCE(has_table_privilege(to_regclass('service.notices'), 'SELECT'), false) AS found
"""
_NEWEST_NOTICE = (
    "SELECT account, number, extract(epoch FROM at)::float8 AS at, outcome"
    " FROM service.notices ORDER BY at DESC LIMIT 1"
)
_VERSION = "SELECT max(number) AS found, max(oldest_program) AS oldest FROM {}.schema_version"


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The tables of one account, as the role of the service sees them.

    Attributes:
        version: of its schema; None: there is none, or it cannot be read.
        oldest_program: schema version of the oldest program that still runs on it.
        forbidden: rights on entries that the role must not have.
        owns: the role is, or can become, the owner of the entries.
    """

    version: int | None = None
    oldest_program: int | None = None
    forbidden: tuple[str, ...] = ()
    owns: bool = False


@dataclass(frozen=True, slots=True)
class NoticeState:
    """The newest notice of a request for approval; `outcome` as `NoticeLog` records it."""

    account: str
    number: int
    at: float
    outcome: str


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """A database as the role of the service sees it.

    Attributes:
        version: of the server, as it names itself.
        role: of the service.
        durable: `fsync` and `full_page_writes` are on.
        has_standby: a commit waits for a synchronous standby.
        is_standby: it is one itself, and takes no writes.
        encrypted: the connection uses TLS.
        clock_ahead: seconds by which its clock is certainly ahead of this machine's; negative if
            it is behind, 0 if it may agree.
        ledgers: by account.
        notice: the newest one; None: there is none, or its table cannot be read.
    """

    version: str
    role: str
    is_superuser: bool
    durable: bool
    has_standby: bool
    is_standby: bool
    encrypted: bool
    clock_ahead: float
    ledgers: Mapping[str, LedgerState] = field(default_factory=dict[str, LedgerState])
    notice: NoticeState | None = None


def inspect_database(conninfo: str, accounts: Sequence[str]) -> DatabaseState:
    """Read the state of a database. Nothing is changed.

    Raises:
        RefusedError: it cannot be reached or read.
    """
    try:
        return _inspect(conninfo, accounts)
    except psycopg.Error as problem:
        raise from_postgres_error(problem) from problem


def _inspect(conninfo: str, accounts: Sequence[str]) -> DatabaseState:
    with psycopg.Connection[dict[str, Any]].connect(
        conninfo, connect_timeout=CONNECT_SECONDS, row_factory=dict_row, autocommit=True
    ) as connection:
        connection.execute("SET default_transaction_read_only = on")
        connection.execute("SET statement_timeout = '10s'")
        before = time.time()
        server = _fetch(connection, _SERVER)
        after = time.time()
        return DatabaseState(
            version=server["version"],
            role=server["role"],
            is_superuser=server["is_superuser"],
            durable=server["durable"],
            has_standby=server["names_standby"] and server["waits_for_standby"],
            is_standby=server["is_standby"],
            encrypted=server["encrypted"],
            clock_ahead=_certain_difference(server["clock"], before, after),
            ledgers={name: _inspect_ledger(connection, name) for name in accounts},
            notice=_find_notice(connection),
        )


def _certain_difference(clock: float, before: float, after: float) -> float:
    if before <= clock <= after:
        return 0.0
    return clock - after if clock > after else clock - before


def _inspect_ledger(connection: psycopg.Connection[dict[str, Any]], account: str) -> LedgerState:
    schema = migrations.quote_schema(account)
    about = {"schema": schema, "rights": list(_FORBIDDEN)}
    found = connection.execute(_LEDGER, about).fetchone()
    if found is None or not found["usable"] or found["lines"] is None:
        return LedgerState()
    rights = connection.execute(_RIGHTS, about).fetchall()
    version = _fetch(connection, _VERSION.format(schema))
    return LedgerState(
        version=version["found"],
        oldest_program=version["oldest"],
        forbidden=tuple(row["forbidden"] for row in rights),
        owns=found["owns"],
    )


def _find_notice(connection: psycopg.Connection[dict[str, Any]]) -> NoticeState | None:
    if not _fetch(connection, _CAN_READ_NOTICES)["found"]:
        return None
    row = connection.execute(_NEWEST_NOTICE).fetchone()
    return None if row is None else NoticeState(**row)


def _fetch(connection: psycopg.Connection[dict[str, Any]], statement: str) -> dict[str, Any]:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None  # noqa: S101  a select without a table, or an aggregate
    return row
