"""The page of a team for tests: two accounts in PostgreSQL, an issuer, people who log in."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio
import uvicorn
from ledger_stores import APP, TeamDatabase, TeamPlace
from page_client import FACTS, Reply, Visitor, asked
from team_identity import changed, log_in_at

from kartra_mcp.core.principal import Principal, Role
from kartra_mcp.identity.login import LoginClient
from kartra_mcp.identity.providers import Providers
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import make_requester
from kartra_mcp.ledger.postgres.migrations import migrate_service
from kartra_mcp.ledger.postgres.page_tables import PageTables
from kartra_mcp.ledger.postgres.revocation_feed import RevocationFeed
from kartra_mcp.membrane.credentials import Secret
from kartra_mcp.policy.limits import Limits
from kartra_mcp.sandbox.identity import people as sandbox_people
from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.sandbox.identity.server import running_identity
from kartra_mcp.service.revocation_watch import RevocationWatch
from kartra_mcp.team.config import Issuer as IssuerEntry
from kartra_mcp.team.config import MembraneAccess, PageLogin, TeamAccount, TeamConfig
from kartra_mcp.web.team.accounts import PageAccount
from kartra_mcp.web.team.addresses import redirect_uri
from kartra_mcp.web.team.page import TeamPage, make_team_page
from kartra_mcp.web.team.page_store import DatabasePageStore
from kartra_mcp.web.timings import PageTimings

ROLES: dict[str, Role] = {
    "viewers": "viewer",
    "support": "operator",
    "billing": "requester",
    "heads": "approver",
    "audit": "auditor",
    "it": "admin",
    "others": "approver",
}
"""Groups of the issuer and their roles; `others` belongs to the second account."""
PEOPLE = {
    "vera": "viewers",
    "sam": "support",
    "bea": "billing",
    "hana": "heads",
    "hugo": "heads",
    "aude": "audit",
    "ian": "it",
    "olga": "others",
    "nobody": "nothing",
}
CLIENT = sandbox_people.PAGE
TIMINGS = PageTimings(event_poll=0.05)
POLL = 0.2


class Clock:
    """The wall clock of the page; a test moves it on."""

    def __init__(self, read: Any) -> None:
        self._read, self.ahead = read, 0.0

    def __call__(self) -> float:
        return self._read() + self.ahead


@dataclass
class Member(Visitor):
    """A browser of a person; `cookies` are its cookies by name."""

    team: Any = None
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, headers: Any = (), method: str = "GET") -> Reply:
        return self.keep(super().get(path, headers, method))

    def keep(self, reply: Reply) -> Reply:
        """Keep the cookie that an answer sets."""
        given = reply.headers.get("set-cookie", "")
        if given:
            name, _, value = given.partition(";")[0].partition("=")
            self.cookies[name] = value
            self.cookie = "; ".join(f"{n}={v}" for n, v in self.cookies.items() if v)
        return reply

    def send(self, wire: Any, method: str, path: str, headers: Any, body: str | None) -> None:
        """Name the public host, as a proxy passes it on."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        if not any(name.lower() == "host" for name, _ in pairs):
            pairs.append(("host", urlsplit(self.team.public_url).netloc))
        super().send(wire, method, path, pairs, body)

    def at(self, replica: int) -> Member:
        """Let another replica serve this browser."""
        self.port = self.team.ports[replica]
        return self

    def begin(self, return_path: str = "", *, fresh: bool = False) -> str:
        """Begin a login and return the address of the issuer."""
        query = f"?return={return_path}{'&fresh=1' if fresh else ''}"
        reply = self.get(f"/page/login{query}")
        assert reply.status == 303, reply
        return reply.headers["location"]

    def login(self, name: str, return_path: str = "", **more: Any) -> Member:
        """Log in as a person of `PEOPLE`."""
        reply = self.finish(self.begin(return_path), name, **more)
        assert reply.status == 303, reply.text
        return self

    def finish(
        self, address: str, name: str, change: Mapping[str, str | None] | None = None, **more: Any
    ) -> Reply:
        """Log in at the issuer, and return to the page; `change`: fields of the response."""
        return self.get(self.team.log_in_at_issuer(address, name, change, **more))

    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/page").text)
        assert found
        return found[1]

    def post(self, path: str, headers: Any = None, **fields: str) -> Reply:
        said = {"origin": self.team.public_url, "sec-fetch-site": "same-origin"}
        return self.keep(super().post(path, said if headers is None else headers, **fields))

    def seen(self, number: int, account: str = "main") -> str:
        page = self.get(f"/page/a/{account}/").text
        card = page.partition(f'action="/page/a/{account}/approvals/{number}"')[2]
        found = re.search(r'name="seen" value="([^"]+)"', card)
        return found[1] if found else ""

    def vote(
        self, number: int, decision: str = "approve", account: str = "main", **fields: str
    ) -> Reply:
        """Post the form of a card."""
        path = f"/page/a/{account}/approvals/{number}"
        given = {"typed": "97.00", "reason": "", "seen": self.seen(number, account), **fields}
        return self.post(path, decision=decision, **given)

    def after(self, reply: Reply) -> Reply:
        assert reply.status == 303, reply
        return self.get(urlsplit(reply.headers["location"]).path)


@dataclass
class ServedTeam:
    """A page that is served by one replica or more; `ports` are theirs."""

    public_url: str
    ports: list[int]
    identity: IdentityProvider
    clock: Clock
    config: TeamConfig
    ledgers: Mapping[str, Ledger]
    store: DatabasePageStore
    places: Mapping[str, TeamPlace]
    watches: list[RevocationWatch]

    def visitor(self, replica: int = 0) -> Member:
        """Return a browser without a session, at one of the replicas."""
        return Member(self.ports[replica], team=self)

    def login(self, name: str, **more: Any) -> Member:
        return self.visitor().login(name, **more)

    def log_in_at_issuer(
        self,
        address: str,
        name: str,
        change: Mapping[str, str | None] | None = None,
        *,
        age: float = 0,
    ) -> str:
        """Log a person in, `age` seconds ago where the issuer allows it; return the callback."""
        callback = urlsplit(log_in_at(self.identity, address, name, age))
        assert f"{callback.scheme}://{callback.netloc}" == self.public_url
        return f"{callback.path}?{changed(callback.query, **(change or {}))}"

    def ask(
        self,
        facts: Mapping[str, Any] = FACTS,
        of: str = "101",
        summary: str = "",
        *,
        account: str = "main",
        by: str = "bea",
        needed: int = 1,
        amount: str = "97.00",
        roles: Sequence[Role] = ("requester",),
    ) -> int:
        """Ask for an approval as a person, and return its number."""
        who = self.person(by, *roles)
        plain = asked(facts, of, summary)
        request = replace(
            plain,
            binding=replace(plain.binding, requester=who.key),
            typed=amount or of,
            requester=make_requester(who),
            needed=needed,
            amount=amount,
        )
        return self.ledgers[account].approvals.request(request)

    def person(self, name: str, *roles: Role) -> Principal:
        """Return a person as a client's token has it; by default one that may ask for money."""
        return Principal(
            self.identity.issuer, name, name, "desktop", frozenset(roles or ("requester",))
        )

    def state(self, number: int, account: str = "main") -> str:
        found = self.ledgers[account].approvals.get(number)
        return found.state if found else ""


def make_store(database: TeamDatabase) -> DatabasePageStore:
    """Return an empty store of logins and sessions."""
    migrate_service(database.server.dsn(), APP)
    database.server.run_sql("TRUNCATE service.logins, service.sessions")
    return DatabasePageStore(PageTables(database.connections))


class Backend:
    """Requests of the page to an account's server."""

    async def get_status(self) -> Mapping[str, Any]:
        return {"healthy": True, "problems": [], "rules": {}}

    async def reconcile(self, intent: str) -> Mapping[str, Any]:
        raise AssertionError(intent)


def make_config(
    public_url: str, issuer: str, places: Mapping[str, TeamPlace], second: tuple[str, ...]
) -> TeamConfig:
    members = {"main": tuple(name for name in ROLES if name != "others"), "second": second}
    accounts = {
        name: TeamAccount(name, f"The {name} shop", (), MembraneAccess(), members[name])
        for name in places
    }
    return TeamConfig(
        public_url=public_url,
        database="",
        database_file="",
        issuers=(IssuerEntry(issuer, ("RS256",), "groups", ROLES),),
        accounts=accounts,
        page=PageLogin(issuer, CLIENT.id, max_age=300),
    )


@contextmanager
def serving_team(
    database: TeamDatabase,
    limits: Limits = Limits(),  # noqa: B008  immutable
    *,
    replicas: int = 1,
    second: tuple[str, ...] = ("others",),
    public_url: str = "",
) -> Generator[ServedTeam]:
    """Serve the page of two accounts on the loopback interface, at the address of one replica.

    `second` are the groups whose people are members of the second account. `public_url` is the
    address of a proxy; by default that of the first replica.
    """
    places = {"main": database.make_empty(), "second": database.make_second_empty()}
    clock, store = Clock(time.time), make_store(database)
    with ExitStack() as kept:
        identity = kept.enter_context(running_identity())
        identity.people = {
            name: sandbox_people.Person(name, name, (group,)) for name, group in PEOPLE.items()
        }
        listening = [
            kept.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(replicas)
        ]
        ports = [one.getsockname()[1] for one in listening]
        identity.clock = clock
        public_url = public_url or f"http://127.0.0.1:{ports[0]}"
        config = make_config(public_url, identity.issuer, places, second)
        made = [{name: place.open() for name, place in places.items()} for _ in ports]
        names, feed = (
            [place.account for place in places.values()],
            RevocationFeed(database.connections),
        )
        watches = [RevocationWatch(feed, names, lambda _: None, POLL) for _ in ports]
        for one, ledgers, watch in zip(listening, made, watches, strict=True):
            accounts = [
                PageAccount(
                    config.accounts[name],
                    ledger,
                    limits,
                    Backend(),
                    partial(watch.has, places[name].account),
                )
                for name, ledger in ledgers.items()
            ]
            page = _make_page(config, accounts, store, clock)
            kept.enter_context(_running(page, one, watch))
        yield ServedTeam(
            public_url, ports, identity, clock, config, made[0], store, places, watches
        )


def _make_page(
    config: TeamConfig, accounts: Sequence[PageAccount], store: Any, clock: Clock
) -> TeamPage:
    assert config.page is not None
    client = LoginClient(
        config.page,
        Providers.of(config.issuers),
        redirect_uri(config.public_url),
        Secret(CLIENT.secret),
        clock,
    )
    return make_team_page(config, accounts, client, store, TIMINGS, clock)


@contextmanager
def _running(page: TeamPage, listening: socket.socket, watch: RevocationWatch) -> Generator[None]:
    config = uvicorn.Config(
        page, http="h11", ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    begun = threading.Event()

    async def serve() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(page.run)
            await tasks.start(watch.run)
            begun.set()
            await server.serve([listening])
            page.end()
            tasks.cancel_scope.cancel()

    thread = threading.Thread(target=anyio.run, args=(serve,))
    thread.start()
    try:
        assert begun.wait(60)
        yield
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
