"""A team file with one account of its own, on a real PostgreSQL and the sandbox's API."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import command_line
import psycopg
from harness import SHORT, APISandbox, Sandbox, call, sandbox_served
from mcp import Client
from postgres_server import PostgresServer, running_postgres
from timestamp_authority import Authority

from kartra_mcp.app.composition import build_app
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.store import PostgresStore
from kartra_mcp.sandbox.http import auth
from kartra_mcp.sandbox.store.seed import CONNECTION
from kartra_mcp.settings import read_settings

APP = "kartra_app"
NUMBERS = count(1)
TEAM = """\
public_url: https://kartra.example.com
database: {database}
issuers: [{{issuer: '{issuer}', roles: {{support: operator}}}}]
accounts:
  {account}:
    membrane: {{api: {api}, workspace_key: {workspace}, workspace_secret_file: secret,
      tenant_key: {tenant}, connection: {connection}}}
anchor: {{url: {authority}, directory: anchors}}
{more}"""


@dataclass
class TeamPlace:
    """A team file in a folder, with one account of its own in the database."""

    folder: Path
    database: PostgresServer
    sandbox: APISandbox
    authority: Authority
    issuer: str = "https://login.example.com"
    account: str = field(default_factory=lambda: f"shop-{next(NUMBERS)}")

    def __post_init__(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(auth.SECRET)
        secret.chmod(0o600)
        self.write_file()

    def write_file(self, role: str = APP, more: str = "") -> None:
        """Write the team file; `more` are lines at its end."""
        text = TEAM.format(
            database=self.database.dsn(role),
            account=self.account,
            issuer=self.issuer,
            api=self.sandbox.address,
            workspace=auth.WORKSPACE,
            tenant=auth.TENANT,
            connection=CONNECTION,
            authority=self.authority.url,
            more=more,
        )
        self.file.write_text(text)

    @property
    def file(self) -> Path:
        return self.folder / "team.yaml"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "PATH": "/usr/bin:/bin",
            "KARTRA_MCP_STATE_DIR": str(self.folder / "state"),
            "KARTRA_MCP_TEAM": str(self.file),
            "KARTRA_MCP_MIGRATE_DATABASE": self.database.dsn(),
        }

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return command_line.run(["team", *words], env={**self.environment, **env})

    def json(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run with `--json`; return the exit status, and the part of the account."""
        done = self.run(*words, "--json")
        assert done.stdout, done.stderr
        found = json.loads(done.stdout)
        return done.returncode, found.get("accounts", {}).get(self.account, found)

    def sql(self, text: str) -> None:
        """Run SQL as the owner of the tables, past the triggers, as somebody who can would."""
        with psycopg.connect(self.database.dsn()) as db:
            db.execute("SET LOCAL session_replication_role = replica")
            db.execute(f'SET LOCAL search_path = "ledger_{self.account}"'.encode())
            db.execute(text.encode())

    def refund(self, amount: str = "20", target: int = 101) -> Any:
        """Refund by a server whose ledger is this one."""
        return anyio.run(self._refund, amount, target)

    async def _refund(self, amount: str, target: int) -> Any:
        connections = Connections(self.database.dsn(APP))
        place = APISandbox(self.folder, dict(self.sandbox.settings), self.sandbox.address)
        with closing(connections):
            ledger = Ledger(PostgresStore(connections, self.account, b"k" * 32))
            settings = read_settings({}, place.environment)
            app = build_app(settings, timings=SHORT, open_ledger=lambda: ledger)
            try:
                async with Client(app.mcp.server, mode="2026-07-28") as client:
                    given = {"transaction_id": target, "refund_amount": amount}
                    return await call(client, "kartra_refund_transaction", **given)
            finally:
                await app.close()


@contextmanager
def running_team_database() -> Generator[PostgresServer]:
    """Run a PostgreSQL with the role of the service."""
    with (
        TemporaryDirectory(prefix="kartra-mcp-team-") as folder,
        running_postgres(Path(folder) / "data") as server,
    ):
        server.run_sql(f"CREATE ROLE {APP} LOGIN")
        yield server


@contextmanager
def team_served(
    folder: Path, database: PostgresServer, authority: Authority, **more: str
) -> Generator[TeamPlace]:
    """Serve a sandbox account; yield a team file of it, with its tables made."""
    free = {"GATE_IRREVERSIBLE": "allow", "GATE_DESTRUCTIVE": "allow"}
    with sandbox_served(Sandbox(folder, free)) as served:
        place = TeamPlace(folder, database, served, authority, **more)
        assert place.run("migrate").returncode == 0
        yield place
