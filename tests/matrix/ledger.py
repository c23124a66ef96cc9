"""The team's ledger in a database of the pair: made by the product's migrations, read as rows."""

from __future__ import annotations

from postgres_server import OWNER, PostgresServer

from matrix.history import Line

TEMPLATE = "ledger_template"
APP = "kartra_app"
_OPTIONS = "target_session_attrs=read-write&sslmode=disable&gssencmode=disable"


def make_template(server: PostgresServer) -> None:
    """Create the database that each ledger is a copy of."""
    raise NotImplementedError


def create(server: PostgresServer, name: str) -> None:
    server.run_sql(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")


def address(name: str, hosts: str, ports: str) -> str:
    return f"postgresql://{APP}@/{name}?host={hosts}&port={ports}&{_OPTIONS}"


def read_chain(server: PostgresServer, name: str) -> list[Line]:
    rows = server.run_sql("SELECT n, at, kind, body, prev, hash FROM lines ORDER BY n", dbname=name)
    return [Line(*row) for row in rows]


__all__ = ["OWNER", "address", "create", "make_template", "read_chain"]
