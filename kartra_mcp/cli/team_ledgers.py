"""The ledgers of a team for its commands. PostgreSQL is imported when one of them is opened."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.surroundings import surroundings
from kartra_mcp.options import MIGRATE_VARIABLE
from kartra_mcp.team.loading import Team
from kartra_mcp.team.timestamp_client import not_installed_error

if TYPE_CHECKING:
    from kartra_mcp.ledger.postgres.connections import Connections
    from kartra_mcp.ledger.postgres.store import PostgresStore


@contextmanager
def open_database(team: Team) -> Generator[Connections]:
    """Open the database of a team file; the first use connects."""
    try:
        from kartra_mcp.ledger.postgres.connections import Connections
    except ImportError as problem:
        raise not_installed_error() from problem
    # Its pool reports every try to stderr; a command reports the last one, in one sentence.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    connections = Connections(team.read_database().reveal())
    try:
        yield connections
    finally:
        connections.close()


def make_store(connections: Connections, account: str, lead_key: bytes) -> PostgresStore:
    from kartra_mcp.ledger.postgres.store import PostgresStore

    return PostgresStore(connections, account, lead_key)


def migrate_database(team: Team) -> dict[str, list[int]]:
    """Bring the tables of every account, and of the service, to this program's version.

    Returns:
        The numbers of the migrations that were applied, by account.
    """
    try:
        import psycopg

        from kartra_mcp.ledger.postgres.errors import from_postgres_error
        from kartra_mcp.ledger.postgres.migrations import migrate, migrate_service
    except ImportError as problem:
        raise not_installed_error() from problem
    service = team.read_database().reveal()
    owner = surroundings().environment.get(MIGRATE_VARIABLE, "")
    role = _find_role(service) if owner else ""
    try:
        migrate_service(owner or service, role)
        return migrate(owner or service, team.config.accounts, role)
    except psycopg.Error as problem:
        found = from_postgres_error(problem)
        found.remedy = (
            f"Check {MIGRATE_VARIABLE if owner else 'database in the team file'}: its role must be "
            "allowed to create schemas in that database. Then run `kartra-mcp team migrate` again."
        )
        raise found from problem


def _find_role(address: str) -> str:
    """Return the role of the service in the address of its database."""
    role = urlsplit(address).username or surroundings().environment.get("PGUSER", "")
    if not role:
        raise RefusedError(
            "invalid_arguments",
            "The team file's database names no role, so that none can be given its rights."
            " Nothing was changed.",
            "Write postgresql://ROLE@HOST/NAME.",
        )
    return role
