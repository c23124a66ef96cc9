"""The world of whole replicas: a pair, two accounts, a login provider, a proxy, three replicas."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from polling import wait_for
from postgres_server import LOOPBACK

from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.migrations import migrate_service
from kartra_mcp.ledger.postgres.store import PostgresStore
from kartra_mcp.sandbox.identity.people import PAGE
from kartra_mcp.sandbox.identity.server import running_identity
from kartra_mcp.sandbox.team.balancer import running_balancer
from kartra_mcp.team.config import WriteTimes
from matrix import ledger
from matrix.driver import Told
from matrix.history import TAG_WRITES, ClientAnswer, Execution, History, Line
from matrix.pair import Pair
from matrix.relay import Relay
from matrix.upstream import Sent, Upstream
from matrix.whole.program import SEEDED_VARIABLE
from matrix.whole.replica import WholeReplica

ACCOUNTS = ("main", "outlet")
REPLICAS = 3
SHORT, USUAL = WriteTimes(3, 2, 1), WriteTimes()
ONLY_PEOPLE = frozenset({"give_points_to_lead"})
"""Operations whose effect nobody but people can find: a lost answer leaves them unknown."""

HEAL_SECONDS = 30.0
_TEAM = """\
public_url: {public_url}
database: "{database}"
lead_key_file: lead-key.secret
page: {{issuer: "{issuer}", client_id: {client}, client_secret_file: page.secret}}
issuers:
  - issuer: "{issuer}"
    roles_claim: groups
    roles: {{support: operator, billing: requester, heads: approver, audit: auditor, it: admin}}
writes: {{send_seconds: {send}, settle_seconds: {kartra}, skew_seconds: {skew}}}
accounts:
"""
_ACCOUNT = """\
  {name}:
    title: {name}
    policy: policy.toml
    membrane:
      api: {api}
      workspace_key: {workspace}
      workspace_secret_file: workspace-{name}.secret
      tenant_key: {tenant}
      connection: kartra
"""
_POLICY = "[gates]\ndestructive = 'preview'\n[caps]\nday_count = 1000000\nmail_per_hour = 1000000\n"


N = TypeVar("N", Execution, Sent)


@dataclass
class WholeWorld:
    """Everything; many runs share it, on one ledger for each account."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    seeded: Sequence[str] = ()
    times: WriteTimes = SHORT
    count: int = REPLICAS
    replicas: list[WholeReplica] = field(default_factory=list)
    told: dict[str, list[Told]] = field(default_factory=lambda: {name: [] for name in ACCOUNTS})
    targets: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in ACCOUNTS})
    had_failover: bool = False
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _open: ExitStack = field(default_factory=ExitStack)

    def start(self) -> WholeWorld:
        self.pair = Pair(self.folder / "pair")
        self._open.callback(self.pair.close)
        self.pair.start()
        ledger.prepare(self.pair.primary)
        for name in ACCOUNTS:
            ledger.create(self.pair.primary, name)
            self.upstreams[name] = Upstream(self.folder / f"upstream-{name}").start()
            self._open.callback(self.upstreams[name].close)
        migrate_service(self.pair.primary.dsn(dbname=ledger.DATABASE), ledger.APP)
        self.provider = self._open.enter_context(running_identity())
        self.balancer = self._open.enter_context(running_balancer())
        self._write_secrets()
        for number in range(self.count):
            self.replicas.append(self._make_replica(number))
        for one in self.replicas:
            one.start()
        for one in self.replicas:
            one.wait()
            self.balancer.backends.append(one.port)
        return self

    def close(self) -> None:
        for one in self.replicas:
            one.close()
        self._open.close()

    def endpoint(self, account: str, address: str = "") -> str:
        """Return the address of an account: at the proxy, or at one replica."""
        return f"{address or self.balancer.address}/a/{account}/mcp"

    def new_target(self, account: str) -> str:
        """Return the id of a sale of 97.00 and of its lead, to which nothing was done."""
        self.targets[account].append(self.upstreams[account].new_sale())
        return self.targets[account][-1]

    # Faults that hit the pair

    def fail_over(self) -> None:
        """Let the primary die, and the standby take its place."""
        self.had_failover = True
        for one in self.replicas:
            one.databases[0].hold()
        self.pair.primary.stop("immediate")
        for one in self.replicas:
            one.databases[0].heal(lose=True)
        self.pair.promote()

    def heal(self) -> None:
        """Let everything pass and run again, on a pair that is whole; return when it serves."""
        for one in self.replicas:
            one.watch(None)
            for relay in one.relays:
                relay.heal()
            one.resume()
        if self.had_failover:
            self.pair.renew()
            self.had_failover = False
            for one in self.replicas:
                one.databases[0].target = self.pair.primary.port
                one.databases[1].target = self.pair.standby.port
        elif self.pair.primary.process is None:
            self.pair.primary.start()
        self.pair.wait_for_standby(sync=True)
        for one in self.replicas:
            one.start()
        for one in self.replicas:
            one.wait()

    # What is true afterwards

    def settle(self) -> None:
        """Wait until the replicas' own jobs have settled what can be settled."""
        wait_for(lambda: not self.list_open(), within=HEAL_SECONDS, every=0.25)

    def read_chain(self, account: str) -> list[Line]:
        return ledger.read_chain(self.pair.current, account)

    def writes_run(self, account: str) -> bool:
        """Return whether no user has stopped the writes of an account."""
        switches = [line.body for line in self.read_chain(account) if line.kind == "switch"]
        return not switches or switches[-1]["event"] == "resumed"

    def count_told(self) -> dict[str, int]:
        return {account: len(told) for account, told in self.told.items()}

    def list_codes(self, since: Mapping[str, int]) -> list[str]:
        """Count what the clients were told since then, by code."""
        new = [one.code for name, told in self.told.items() for one in told[since[name] :]]
        return [f"{code} {times}" for code, times in Counter(new).most_common()]

    def verify(self, account: str) -> str:
        """Return why the chain, the tables or the timeline are not sound, or ""."""
        address = self.pair.current.dsn(ledger.APP, ledger.DATABASE)
        with closing(Connections(address)) as connections:
            report = PostgresStore(connections, account, b"").verify()
        return "" if report.ok else f"{report.why} {report.refused}".strip()

    def collect(self, account: str, works: Sequence[Told]) -> History:
        """Return what happened on an account, once everything healed."""
        upstream = self.upstreams[account]
        with suppress(TimeoutError):
            wait_for(lambda: not upstream.is_executing(), within=10)
        chain = self.read_chain(account)
        bodies = [line.body for line in chain if line.kind == "intent"]
        by_attempt = {str(body.get("attempt")): body["intent"] for body in bodies}
        by_call = {
            body["requester"]["client_id"]: body["intent"]
            for body in bodies
            if body.get("requester") and not body.get("bulk")
        }
        return History(
            chain=chain,
            executions=[
                _name(one, by_attempt) for one in upstream.executions(self.targets[account])
            ],
            answers=[_answer(one, by_call) for one in self.told[account]],
            effect_seconds=self.times.settle_seconds,
            works=[_answer(one, by_call) for one in works],
            requests=[_name(one, by_attempt).intent for one in upstream.writes()],
            only_people=ONLY_PEOPLE,
        )

    def count_connections(self) -> int:
        """Return the connections of all replicas to the database."""
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kartra-mcp'"
        return self.pair.current.run_sql(sql)[0][0]

    def list_open(self) -> list[tuple[str, str]]:
        """List account and intent of what runs, or is unknown and could be settled."""
        found: list[tuple[str, str]] = []
        for account in ACCOUNTS:
            intents = f"{ledger.quote_schema(account)}.intents"
            sql = (
                f"SELECT id FROM {intents} one WHERE state = 'running' OR (state = 'unknown'"
                " AND operation <> ALL(%s) AND NOT (operation = ANY(%s) AND EXISTS"
                f" (SELECT FROM {intents} other WHERE other.target = one.target"
                " AND other.id <> one.id AND other.operation = ANY(%s))))"
            )
            tags = list(TAG_WRITES)
            named = [list(ONLY_PEOPLE), tags, tags]
            rows = self.pair.current.run_sql(sql, *named, dbname=ledger.DATABASE)
            found += [(account, intent) for (intent,) in rows]
        return found

    def _make_replica(self, number: int) -> WholeReplica:
        databases = (
            Relay(self.pair.primary.port, "postgres"),
            Relay(self.pair.standby.port, "postgres"),
        )
        upstreams = {name: Relay(one.port, "http") for name, one in self.upstreams.items()}
        made = WholeReplica(number, self.folder, databases, upstreams, self._environment())
        hosts = ",".join(LOOPBACK for _ in databases)
        ports = ",".join(str(relay.port) for relay in databases)
        text = _TEAM.format(
            public_url=self.balancer.address,
            database=ledger.address(hosts, ports),
            issuer=self.provider.issuer,
            client=PAGE.id,
            send=self.times.send_seconds,
            kartra=self.times.settle_seconds,
            skew=self.times.skew_seconds,
        )
        made.team_file.write_text(text + "".join(map(partial(self._entry, upstreams), ACCOUNTS)))
        return made

    def _entry(self, relays: Mapping[str, Relay], name: str) -> str:
        introduction = self.upstreams[name].introduction
        return _ACCOUNT.format(
            name=name,
            api=f"http://{LOOPBACK}:{relays[name].port}",
            workspace=introduction["workspaceKey"],
            tenant=introduction["tenantKey"],
        )

    def _write_secrets(self) -> None:
        secrets = {
            "page": PAGE.secret,
            "lead-key": "a made-up key for the hashes of leads",
            **{
                f"workspace-{name}": one.introduction["workspaceSecret"]
                for name, one in self.upstreams.items()
            },
        }
        for name, secret in secrets.items():
            file = self.folder / f"{name}.secret"
            file.touch(0o600)
            file.write_text(secret)
        (self.folder / "policy.toml").write_text(_POLICY)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        given = {f"KARTRA_MCP_{name}": text for name, text in self.settings.items()}
        faults = {SEEDED_VARIABLE: ",".join(self.seeded)}
        return {**kept, **given, **faults, "HOME": str(self.folder)}


def _name(one: N, by_attempt: Mapping[str, str]) -> N:
    """Name the intent of a raw request, which carries none: by the attempt that its token names."""
    return one if one.intent else replace(one, intent=by_attempt.get(one.attempt, ""))


def _answer(told: Told, by_call: Mapping[str, str]) -> ClientAnswer:
    target = str(told.arguments.get("transaction_id") or told.arguments.get("lead_id") or "")
    return ClientAnswer(
        *(told.replica, told.tool, target, told.began, told.ended, told.executed, told.code),
        intent=by_call.get(told.call, ""),
    )


@contextmanager
def running_whole_world(
    folder: Path,
    seeded: Sequence[str] = (),
    times: WriteTimes = SHORT,
    count: int = REPLICAS,
    **settings: str,
) -> Generator[WholeWorld]:
    """Start a world; it ends with the block.

    Args:
        folder: an empty one.
        seeded: faults in the protocol that its replicas have.
        times: seconds of a write.
        count: number of its replicas.
        settings: of each replica, by name.
    """
    made = WholeWorld(folder, settings, seeded, times, count)
    try:
        yield made.start()
    finally:
        made.close()
