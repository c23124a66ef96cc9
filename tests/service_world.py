"""A team service for tests: replicas in threads on one database, two accounts, and people.

Tokens are those of a stand-in: each names a person whom the test made up.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import anyio
import httpx2
from harness import SHORT, APISandbox, Sandbox, sandbox_served
from ledger_stores import APP

from kartra_mcp.app.database_contact import OFFLINE_SECONDS
from kartra_mcp.app.team_service import ServiceOptions
from kartra_mcp.core.principal import SCOPES, Principal, Role
from kartra_mcp.identity.refusals import NotAMember, TokenFault, TokenRefused
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.migrations import migrate
from kartra_mcp.sandbox.http import auth
from kartra_mcp.service.authentication import Verifier
from kartra_mcp.service.observer import CallEvent, NoticeEvent, RequestEvent, Sink
from kartra_mcp.service.server import Replica, listen
from kartra_mcp.service.timings import ServiceTimings
from kartra_mcp.team.loading import load_team

ISSUER = "https://login.example.com"
HOST = "kartra.example.com"
MODERN, LEGACY = "2026-07-28", "2025-11-25"
NUMBERS = count(1)
PATIENCE = 30.0
_TEAM = """\
public_url: https://{host}
database: {database}
issuers: [{{issuer: {issuer}, roles: {{support: operator}}}}]
{more}accounts:
"""
_ACCOUNT = """\
  {name}:
    title: {title}
    policy: {policy}
    membrane: {{api: {api}, workspace_key: {workspace}, workspace_secret_file: secret,
      tenant_key: {tenant}, connection: kartra}}
"""


@dataclass
class People:
    """Stand-in for the verifier of tokens: a table of tokens."""

    known: dict[str, tuple[str, Principal]] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        account: str,
        *roles: Role,
        scopes: Sequence[str] = SCOPES,
        member: bool = True,
        is_user: bool = True,
    ) -> str:
        """Return a token of a person for one account."""
        person = Principal(
            ISSUER, name, name, f"client-of-{name}", frozenset(roles), frozenset(scopes), is_user
        )
        token = f"{name}.{secrets.token_urlsafe(8)}"
        self.known[token] = account, person
        if member:
            self.members.setdefault(account, set()).add(person.key)
        return token

    async def verify(self, token: str, account: str) -> Principal:
        audience, person = self.known.get(token, ("", None))
        if person is None:
            raise TokenRefused(TokenFault.SIGNATURE)
        if audience != account:
            raise TokenRefused(TokenFault.AUDIENCE)
        if person.key not in self.members.get(account, set()):
            raise NotAMember
        return person


@dataclass
class Events:
    """Sink that keeps what the operators of a service would see."""

    calls: list[CallEvent] = field(default_factory=list)
    requests: list[RequestEvent] = field(default_factory=list)
    notices: list[NoticeEvent] = field(default_factory=list)

    def add_call(self, event: CallEvent) -> None:
        self.calls.append(event)

    def add_request(self, event: RequestEvent) -> None:
        self.requests.append(event)

    def add_notice(self, event: NoticeEvent) -> None:
        self.notices.append(event)


@dataclass
class RunningReplica:
    """One replica in a thread; `stop` is its first signal."""

    replica: Replica
    port: int
    events: Events
    loop: Any
    over: anyio.Event
    thread: threading.Thread

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.over.set)

    def call_soon(self, work: Any) -> None:
        self.loop.call_soon_threadsafe(work)


@dataclass
class Answer:
    """A response over HTTP, and the JSON-RPC message in it."""

    response: httpx2.Response

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def message(self) -> dict[str, Any]:
        if self.response.headers["content-type"].startswith("text/event-stream"):
            lines = [x[5:] for x in self.response.text.splitlines() if x.startswith("data:")]
            return next(m for m in map(json.loads, lines) if "result" in m or "error" in m)
        return self.response.json()

    @property
    def result(self) -> dict[str, Any]:
        assert self.status == 200, (self.status, self.response.text)
        return self.message["result"]

    @property
    def tool_error(self) -> dict[str, Any]:
        """The error of a tool; {} if the call succeeded."""
        if not self.result.get("isError"):
            return {}
        return json.loads(self.result["content"][0]["text"])["error"]

    @property
    def code(self) -> str:
        return self.tool_error.get("code", "done")

    @property
    def structured(self) -> dict[str, Any]:
        assert not self.tool_error, self.tool_error
        return self.result["structuredContent"]


@dataclass
class Caller:
    """A person at a replica, on one account."""

    address: str
    account: str
    token: str
    era: str = MODERN
    capabilities: dict[str, Any] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: count(1))

    def at(self, replica: RunningReplica) -> Caller:
        return replace(self, address=replica.address)

    def request(
        self, method: str, params: dict[str, Any] | None = None, number: int | None = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Return headers and body of a request."""
        params = dict(params or {})
        headers = {
            "Host": HOST,
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "MCP-Protocol-Version": self.era,
        }
        if self.era == MODERN:
            headers["Mcp-Method"] = method
            if named := params.get("name", params.get("uri")):
                headers["Mcp-Name"] = named
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            }
        body = {"jsonrpc": "2.0", "id": number or next(self._numbers), "method": method}
        return headers, {**body, "params": params}

    def ask(
        self, method: str, params: dict[str, Any] | None = None, number: int | None = None
    ) -> Answer:
        headers, body = self.request(method, params, number)
        url = f"{self.address}/a/{self.account}/mcp"
        return Answer(httpx2.post(url, headers=headers, json=body, timeout=PATIENCE))

    def tools(self) -> dict[str, dict[str, Any]]:
        return {tool["name"]: tool for tool in self.ask("tools/list").result["tools"]}

    def call(self, tool: str, /, **arguments: Any) -> Answer:
        return self.ask("tools/call", {"name": tool, "arguments": arguments})


@dataclass
class TeamWorld:
    """Two accounts of a team, their sandboxes, and the replicas that a test starts."""

    folder: Path
    database: Any
    issuer: str = ISSUER
    people: People = field(default_factory=People)
    sandboxes: dict[str, APISandbox] = field(default_factory=dict)
    replicas: list[RunningReplica] = field(default_factory=list)
    jobs: Any = None
    more: str = ""
    offline_seconds: float = OFFLINE_SECONDS
    verifier: Verifier | None = None
    _ending: ExitStack = field(default_factory=ExitStack)

    def add_account(self, title: str, policy: str = "", name: str = "") -> str:
        name = name or f"shop-{next(NUMBERS)}"
        place = Sandbox(self.folder / name)
        self.sandboxes[name] = self._ending.enter_context(sandbox_served(place))
        (self.folder / f"{name}.toml").write_text(policy)
        with self.file.open("a") as file:
            file.write(
                _ACCOUNT.format(
                    name=name,
                    title=title,
                    policy=f"{name}.toml",
                    api=self.sandboxes[name].address,
                    workspace=auth.WORKSPACE,
                    tenant=auth.TENANT,
                )
            )
        migrate(self.database.server.dsn(), [name], APP)
        return name

    @property
    def file(self) -> Path:
        return self.folder / "team.yaml"

    def write_file(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(auth.SECRET)
        secret.chmod(0o600)
        database = self.database.server.dsn(APP)
        about = {"host": HOST, "database": database, "issuer": self.issuer, "more": self.more}
        self.file.write_text(_TEAM.format(**about))

    def start_replica(
        self, timings: ServiceTimings | None = None, sinks: tuple[Sink, ...] = (), **given: str
    ) -> RunningReplica:
        serving = self._running(timings or ServiceTimings(), sinks, given)
        made = self._ending.enter_context(serving)
        self.replicas.append(made)
        return made

    def caller(
        self,
        name: str,
        account: str,
        *roles: Role,
        era: str = MODERN,
        replica: RunningReplica | None = None,
        **more: Any,
    ) -> Caller:
        """Return a new person at the first replica."""
        token = self.people.add(name, account, *roles, **more)
        return Caller((replica or self.replicas[0]).address, account, token, era)

    def close(self) -> None:
        self._ending.close()

    @contextmanager
    def _running(
        self, timings: ServiceTimings, sinks: tuple[Sink, ...], given: dict[str, str]
    ) -> Generator[RunningReplica]:
        connections, events = Connections(self.database.server.dsn(APP)), Events()
        listening = listen("127.0.0.1", 0)
        ready, made = threading.Event(), list[RunningReplica]()
        options = ServiceOptions(
            self.folder / f"state-{next(NUMBERS)}",
            {"RATE": "0", **given},
            SHORT,
            durable=False,
            offline_seconds=self.offline_seconds,
        )

        def serve() -> None:
            anyio.run(main)

        async def main() -> None:
            import asyncio

            replica = Replica(
                load_team(self.file),
                connections,
                self.verifier or self.people,
                options,
                timings,
                (events, *sinks),
                jobs=self.jobs,
            )
            over, loop = anyio.Event(), asyncio.get_running_loop()
            port = listening.getsockname()[1]
            made.append(RunningReplica(replica, port, events, loop, over, thread))
            await replica.serve(listening, over, ready.set)

        thread = threading.Thread(target=serve)
        thread.start()
        assert ready.wait(PATIENCE)
        try:
            yield made[0]
        finally:
            if thread.is_alive():
                made[0].stop()
            thread.join()
            connections.close()


@contextmanager
def team_world(
    folder: Path, database: Any, issuer: str = ISSUER, more: str = ""
) -> Generator[TeamWorld]:
    """Yield a world without accounts; `more` are lines of its team file."""
    world = TeamWorld(folder, database, issuer, more=more)
    world.write_file()
    try:
        yield world
    finally:
        world.close()


def raw_request(caller: Caller, tool: str, /, **arguments: Any) -> bytes:
    """Return the bytes of a call, for a test that holds the socket."""
    headers, body = caller.request("tools/call", {"name": tool, "arguments": arguments})
    content = json.dumps(body).encode()
    lines = [f"POST /a/{caller.account}/mcp HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


class Listening(Protocol):
    """A server on a port of this machine."""

    port: int


def connect(replica: Listening) -> socket.socket:
    return socket.create_connection(("127.0.0.1", replica.port), timeout=PATIENCE)
