"""Test bench of one client over HTTP: a whole team on this machine, and the wire in front of it.

The team is that of `kartra-mcp demo --team`. The client connects to the public address; from there
the wire passes each request to the next of two replicas (`http_wire.py`). Verdicts read the
account, and the team's ledger in PostgreSQL.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
from harness import APISandbox
from http_wire import HttpWire
from loopback_app import HOST, running_app
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from clients.place import CALLS, REFUSED, WRITE, Bench
from kartra_mcp.sandbox.identity.people import AGENT
from kartra_mcp.sandbox.identity.provider import DEFAULT_SCOPES, Grant
from kartra_mcp.sandbox.team.world import TeamWorld, running_team

ACCOUNT = "main"
PERSON = "bea"
"""Of billing: may read, write and ask for money."""
Access = Literal["token", "login", "agent"]
"""A token in a header, a login by OAuth, or the credentials of an agent of no user."""
TOOLS = {step: tool for step, tool, _ in CALLS}


@dataclass
class TeamSandbox(APISandbox):
    """The account of a running team."""

    @property
    def file(self) -> Path:
        return self.folder / f"{ACCOUNT}.db"


@dataclass
class HttpPlace(Bench):
    """Test bench of one client at a team's service."""

    name: str
    world: TeamWorld
    access: Access
    sandbox: TeamSandbox = field(init=False)

    def __post_init__(self) -> None:
        self.sandbox = TeamSandbox(self.world.folder)

    @property
    def url(self) -> str:
        return self.world.endpoint(ACCOUNT)

    @cached_property
    def token(self) -> str:
        """An access token of the person or the agent, valid for ten minutes."""
        provider, now = self.world.provider, int(time.time())
        if self.access != "agent":
            return provider.access_token(PERSON, self.url)
        return provider.sign_access(
            Grant(provider.machine(AGENT), AGENT, DEFAULT_SCOPES, self.url, now)
        )

    @property
    def server(self) -> dict[str, Any]:
        kinds: dict[Access, dict[str, Any]] = {
            "token": {"headers": {"Authorization": f"Bearer {self.token}"}},
            "login": {"login": PERSON},
            "agent": {"agent": [AGENT.id, AGENT.secret]},
        }
        return {"url": self.url, **kinds[self.access]}

    def ready(self) -> HttpPlace:
        """Create an empty log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)
        assert not self.tagged(), "a fresh account has the tag already"
        return self

    def written(self) -> str:
        """Return `ok` if the account has the tag and the ledger one write of it, a success."""
        states = self._sql("SELECT state FROM {}.intents WHERE tool = %s", TOOLS[WRITE])
        if states != [("succeeded",)]:
            return f"the ledger has {states} of the write"
        return super().written()

    def kept(self) -> str:
        """Return `ok` if account and ledger have no refund."""
        found = self._sql("SELECT state FROM {}.intents WHERE tool = %s", TOOLS[REFUSED])
        return f"the ledger has {found} of the refund" if found else super().kept()

    def waiting(self) -> int:
        """Count the requests that wait for an approver."""
        return self._sql("SELECT count(*) FROM {}.approvals WHERE state = 'pending'")[0][0]

    def tools(self) -> frozenset[str]:
        """Return the tools in our own client's list, as the same person; the log has none of it."""
        return anyio.run(self._list)

    async def _list(self) -> frozenset[str]:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"http://{HOST}:{next(iter(self.world.replicas))}/a/{ACCOUNT}/mcp"
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            return frozenset(tool.name for tool in (await client.list_tools()).tools)

    def _sql(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.world.database.run_sql(sql.format(f'"ledger_{ACCOUNT}"'), *values)


@contextmanager
def team_place(name: str, access: Access = "token") -> Generator[HttpPlace]:
    """Start a whole team for one client, and the wire in front of its replicas."""
    with tempfile.TemporaryDirectory(prefix="kartra-mcp-client-") as folder:
        environment = {"PATH": os.environ["PATH"], "HOME": folder}
        with running_team(Path(folder), environment) as world:
            place = HttpPlace(name, world, access).ready()
            wire = HttpWire(list(world.replicas), log=place.log)
            with running_app(wire) as port:
                world.balancer.backends[:] = [port]
                yield place
