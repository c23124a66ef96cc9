"""The world of a rehearsed team: database, login provider, accounts, team file, replicas."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kartra_mcp.sandbox.identity.people import PAGE
from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.sandbox.identity.server import running_identity
from kartra_mcp.sandbox.team.balancer import HOST, Balancer, running_balancer
from kartra_mcp.sandbox.team.postgres import PostgresServer, find_free_port
from kartra_mcp.sandbox.team.processes import (
    ProcessFailedError,
    Program,
    read_first_line,
    running_program,
    wait_until_ready,
)

APP_ROLE = "kartra_app"
ACCOUNTS: Mapping[str, str] = {"main": "Main shop", "outlet": "Outlet shop"}
REPLICAS = 2
SEND_SECONDS = 5
"""Right to send of a write: short, so that a killed replica's write is settled soon."""

_TEAM = """\
# The team file of the rehearsal: docs/team/file.md.
public_url: {public_url}
database: {database}
lead_key_file: lead-key.secret
page: {{issuer: "{issuer}", client_id: {client}, client_secret_file: page.secret}}
issuers:
  - issuer: "{issuer}"
    roles_claim: groups
    roles: {{support: operator, billing: requester, heads: approver, audit: auditor, it: admin}}
accounts:
"""
_ACCOUNT = """\
  {name}:
    title: {title}
    membrane:
      api: {api}
      workspace_key: {workspace}
      workspace_secret_file: workspace.secret
      tenant_key: {tenant}
      connection: kartra
"""
_TIMES = f"writes: {{send_seconds: {SEND_SECONDS}, settle_seconds: 5, skew_seconds: 5}}\n"


@dataclass
class AccountSandbox:
    """The API of one made-up Kartra account."""

    name: str
    file: Path
    url: str
    token: str
    environment: Mapping[str, str]

    def run(self, *words: str) -> None:
        """Run a command of the sandbox on the account, e.g. to arrange a fault."""
        program = [sys.executable, "-P", "-m", "kartra_mcp.sandbox", f"--account={self.file}"]
        subprocess.run(  # noqa: S603  this Python, and our own module
            [*program, *words], env=dict(self.environment), check=True, capture_output=True
        )


@dataclass
class TeamWorld:
    """Everything around the service, and its replicas.

    Attributes:
        folder: of all files; removed by its owner.
        team_file: of the service, and of the `team` commands.
        replicas: by their port; a killed one stays here.
        environment: of every program.
    """

    folder: Path
    database: PostgresServer
    provider: IdentityProvider
    balancer: Balancer
    environment: Mapping[str, str]
    accounts: dict[str, AccountSandbox] = field(default_factory=dict[str, AccountSandbox])
    replicas: dict[int, Program] = field(default_factory=dict[int, Program])

    @property
    def team_file(self) -> Path:
        return self.folder / "team.yaml"

    @property
    def address(self) -> str:
        return self.balancer.address

    def endpoint(self, account: str) -> str:
        return f"{self.address}/a/{account}/mcp"

    def run_team(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `kartra-mcp team WORDS` on the team file."""
        return subprocess.run(  # noqa: S603  this Python, and our own module
            [sys.executable, "-P", "-m", "kartra_mcp", "team", *words],
            env={
                **self.environment,
                "KARTRA_MCP_TEAM": str(self.team_file),
                "KARTRA_MCP_MIGRATE_DATABASE": self.database.dsn(),
                "KARTRA_MCP_STATE_DIR": str(self.folder / "jobs"),
            },
            check=False,
            capture_output=True,
            text=True,
        )


@contextmanager
def running_team(folder: Path, environment: Mapping[str, str]) -> Generator[TeamWorld]:
    """Start a whole team, and end it in the opposite order.

    Args:
        folder: an empty one, for all files.
        environment: of every program: PATH, and where their temporary files go.

    Raises:
        PostgresError, ProcessFailedError: something did not start.
    """
    with ExitStack() as stack:
        database = stack.enter_context(PostgresServer(folder / "postgres").running())
        database.run_sql(f"CREATE ROLE {APP_ROLE} LOGIN")
        provider = stack.enter_context(running_identity())
        balancer = stack.enter_context(running_balancer())
        world = TeamWorld(folder, database, provider, balancer, environment)
        entries = [_start_account(world, stack, name, title) for name, title in ACCOUNTS.items()]
        _write_files(world, entries)
        done = world.run_team("migrate")
        if done.returncode:
            raise ProcessFailedError(done.stderr)
        for _ in range(REPLICAS):
            _start_replica(world, stack)
        yield world


def _start_account(world: TeamWorld, stack: ExitStack, name: str, title: str) -> str:
    """Start the API of an account; return its entry of the team file."""
    file = world.folder / f"{name}.db"
    words = ["kartra_mcp.sandbox", f"--account={file}", "serve"]
    log = world.folder / f"{name}.log"
    told = read_first_line(stack.enter_context(running_program(words, world.environment, log)))
    world.accounts[name] = AccountSandbox(name, file, told["url"], told["token"], world.environment)
    _write_secret(world.folder / "workspace.secret", told["workspaceSecret"])
    return _ACCOUNT.format(
        name=name,
        title=title,
        api=told["url"],
        workspace=told["workspaceKey"],
        tenant=told["tenantKey"],
    )


def _write_files(world: TeamWorld, entries: list[str]) -> None:
    _write_secret(world.folder / "page.secret", PAGE.secret)
    _write_secret(world.folder / "lead-key.secret", "a made-up key for the hashes of leads")
    text = _TEAM.format(
        public_url=world.address,
        database=world.database.dsn(APP_ROLE),
        issuer=world.provider.issuer,
        client=PAGE.id,
    )
    world.team_file.write_text(text + "".join(entries) + _TIMES)


def _start_replica(world: TeamWorld, stack: ExitStack) -> None:
    port = find_free_port()
    words = ["kartra_mcp", "serve", f"--http={HOST}:{port}", f"--team={world.team_file}"]
    state = f"--state-dir={world.folder / f'replica-{port}'}"
    log = world.folder / f"replica-{port}.log"
    program = stack.enter_context(running_program([*words, state], world.environment, log))
    wait_until_ready(program, f"http://{HOST}:{port}/readyz")
    world.replicas[port] = program
    world.balancer.backends.append(port)


def _write_secret(file: Path, secret: str) -> None:
    file.touch(0o600)
    file.write_text(secret)
