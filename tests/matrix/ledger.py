"""The team's ledger in the database of the pair: made by the product, read as rows.

Each story has an account of its own, and so a schema.
"""

from __future__ import annotations

from postgres_server import PostgresServer

from kartra_mcp.ledger.postgres.migrations import migrate, quote_schema
from matrix.history import Line

DATABASE = "kartra"
APP = "kartra_app"
"""The role of the replicas, which owns nothing."""

_OPTIONS = "sslmode=disable&gssencmode=disable"


def prepare(server: PostgresServer) -> None:
    """Create the database and the role."""
    server.run_sql(f"CREATE DATABASE {DATABASE}")
    server.run_sql(f"CREATE ROLE {APP} LOGIN")


def create(server: PostgresServer, account: str) -> None:
    """Create the ledger of an account, as `kartra-mcp team migrate` does."""
    migrate(server.dsn(dbname=DATABASE), [account], APP)


def alter(server: PostgresServer, account: str, statement: str) -> None:
    """Run a statement of a seeded fault as the owner."""
    schema = quote_schema(account)
    server.run_sql(f"SET search_path = {schema}; {statement}", dbname=DATABASE)


def address(hosts: str, ports: str) -> str:
    """Return the address for a replica: of the primary and of the standby."""
    return f"postgresql://{APP}@/{DATABASE}?host={hosts}&port={ports}&{_OPTIONS}"


def read_chain(server: PostgresServer, account: str) -> list[Line]:
    schema = quote_schema(account)
    sql = f"SELECT n, at, kind, body, prev, hash FROM {schema}.lines ORDER BY n"
    return [Line(*row) for row in server.run_sql(sql, dbname=DATABASE)]
