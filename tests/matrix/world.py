"""The world of stories: PostgreSQL pair, upstream, replicas, and the relays between them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from harness import environment
from polling import wait_for
from postgres_server import LOOPBACK

from matrix import ledger
from matrix.driver import Nursery, ReplicaHandle, Told
from matrix.history import Caps, ClientAnswer, History, Line
from matrix.pair import Pair
from matrix.points import Watch
from matrix.relay import Passing, Relay
from matrix.seeded import BY_NAME
from matrix.upstream import Upstream

WRITES = {"send_seconds": 2.0, "settle_seconds": 2.0, "skew_seconds": 1.0, "look_seconds": 0.2}
ANSWER = 1.0
"""Seconds that stand for 30, 900, 10 and 300, and for 120. Tokens end at whole seconds."""

CAPS = Caps(Decimal(100_000), 1000)


@dataclass(eq=False)
class Member:
    """A replica and the relays to what it depends on.

    `databases` are those to the primary and to the standby, in the order of its address.
    """

    name: str
    replica: ReplicaHandle
    databases: tuple[Relay, Relay]
    upstream: Relay
    watches: tuple[Watch, ...] = ()

    def watch(self, watch: Watch | None) -> None:
        """Let a watch follow what passes on the relays, as those before it; None ends all."""
        self.watches = (*self.watches, watch) if watch else ()
        for relay in self.databases:
            relay.listener = self._on_database if watch else None
        self.upstream.listener = self._on_upstream if watch else None
        self.replica.on_point = self._on_replica if watch else None

    def _on_database(self, passing: Passing) -> None:
        for watch in self.watches:
            watch.on_database(passing)

    def _on_upstream(self, passing: Passing) -> None:
        for watch in self.watches:
            watch.on_upstream(passing)

    def _on_replica(self, point: str) -> None:
        for watch in self.watches:
            watch.on_replica(point)

    def heal(self) -> None:
        for relay in (*self.databases, self.upstream):
            relay.heal()
        if self.replica.is_paused or self.replica.is_at_point:
            self.replica.resume()

    def close(self) -> None:
        self.replica.close()
        for relay in (*self.databases, self.upstream):
            relay.close()


@dataclass
class World:
    """Everything that stories need; one after another can use it."""

    folder: Path
    members: list[Member] = field(default_factory=list)
    account: str = ""
    caps: Caps = CAPS
    writes: Mapping[str, float] = field(default_factory=lambda: WRITES)
    lost: list[Line] = field(default_factory=list)
    sales: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    had_failover: bool = False
    _is_sync: bool = True
    _open: ExitStack = field(default_factory=ExitStack)

    def start(self) -> World:
        self.pair = Pair(self.folder / "pair")
        self._open.callback(self.pair.close)
        self.pair.start()
        ledger.prepare(self.pair.primary)
        self.upstream = Upstream(self.folder / "upstream").start()
        self._open.callback(self.upstream.close)
        self.nursery = Nursery(self.folder / "replicas")
        self._open.callback(self.nursery.close)
        return self

    def new_ledger(
        self,
        seeded: Sequence[str] = (),
        *,
        sync: bool = True,
        caps: Caps = CAPS,
        writes: Mapping[str, float] = WRITES,
    ) -> None:
        """Let the next members have an empty ledger of their own, on a pair that is whole."""
        self.caps, self.writes = caps, writes
        if self.had_failover:
            self.pair.renew()
            self.had_failover = False
        self.pair.wait_for_standby(sync=sync)
        self._is_sync = sync
        self.account = f"story{next(self._numbers)}"
        ledger.create(self.pair.primary, self.account)
        for statement in (text for name in seeded for text in BY_NAME[name].statements):
            ledger.alter(self.pair.primary, self.account, statement)
        self.sales, self.lost = [], []
        self.upstream.forget_runs()

    def add(self, name: str, seeded: Sequence[str] = ()) -> Member:
        """Start a replica."""
        databases = (
            Relay(self.pair.primary.port, "postgres"),
            Relay(self.pair.standby.port, "postgres"),
        )
        upstream = Relay(self.upstream.port, "http")
        ports = ",".join(str(relay.port) for relay in databases)
        hosts = ",".join(LOOPBACK for _ in databases)
        config = {
            "environment": self._environment(name, upstream.port),
            "database": ledger.address(hosts, ports),
            "account": self.account,
            "writes": self.writes,
            "answer_seconds": ANSWER,
            "seeded": list(seeded),
        }
        member = Member(name, self.nursery.start(name, config), databases, upstream)
        self.members.append(member)
        return member

    def promote(self) -> None:
        """Make the standby the primary, and keep what only the old one has."""
        self.had_failover = True
        self.pair.promote()

    def fail_over(self) -> None:
        """Let the primary die, and the standby take its place."""
        self.stop_old_primary()
        self.promote()

    def stop_old_primary(self) -> None:
        """Let the primary die; all that anyone can have seen of it is kept for the judge."""
        for member in self.members:
            member.databases[0].hold()
        self.lost = ledger.read_chain(self.pair.primary, self.account)
        self.pair.primary.stop("immediate")
        for member in self.members:
            member.databases[0].heal(lose=True)

    def operate(self) -> Member:
        """Do what operators do after a failover: sweep the run logs, and start a new replica."""
        operator = self.add("operator")
        problems = [""]

        def sweep() -> bool:
            problems[0] = operator.replica.sweep()
            return not problems[0]

        try:
            wait_for(sweep, within=60, every=0.5)
        except TimeoutError:
            raise TimeoutError(f"writes stay closed: {problems[0]}") from None
        return self.add("relief")

    def heal(self) -> None:
        """Let everything pass and run again; after a failover the old primary stays dead."""
        for member in self.members:
            member.heal()
        if self.had_failover:
            self.pair.primary.stop("immediate")
            return
        self.pair.heal_stream()
        if self.pair.primary.process is None:
            self.pair.primary.start()

    def new_sale(self) -> str:
        """The id of a sale of 97.00 that nothing was done to."""
        self.sales.append(self.upstream.new_sale())
        return self.sales[-1]

    def collect(self, works: Sequence[Told | None] = (), *, is_calm: bool = False) -> History:
        """Return what happened on this ledger, once everything healed and no effect is to come."""
        with suppress(TimeoutError):
            wait_for(lambda: not self.upstream.is_executing(), within=10)
        chain = ledger.read_chain(self.pair.current, self.account)
        told = [one for member in self.members for one in member.replica.told]
        intents = _intents_by_call((*chain, *self.lost))
        missing = ClientAnswer("", "", "", 0, 0, "unknown", "no_answer")
        return History(
            chain=chain,
            lost=self.lost,
            executions=self.upstream.executions(self.sales),
            answers=[_answer(one, intents) for one in told],
            heads=[head for member in self.members if (head := member.replica.read_head())],
            caps=self.caps,
            is_durable=self._is_sync,
            is_calm=is_calm,
            effect_seconds=self.writes["settle_seconds"],
            works=[missing if one is None else _answer(one, intents) for one in works],
        )

    def list_dead_patches(self) -> list[str]:
        """List the patches of seeded faults that no replica called which still lives."""
        calls: Counter[str] = Counter()
        for member in self.members:
            calls.update(member.replica.read_patches())
        return [name for name, times in calls.items() if not times]

    def clear(self) -> None:
        """End the members of a story."""
        for member in self.members:
            member.close()
        self.members = []

    def close(self) -> None:
        self.clear()
        self._open.close()

    def _environment(self, name: str, port: int) -> dict[str, str]:
        told = self.upstream.introduction
        limits = {
            "GATE_IRREVERSIBLE": "preview",
            "TRANSPORT": "api",
            "TIMEOUT": "20",
            "CAP_DAY_COUNT": str(self.caps.day_count),
            "CAP_DAY_AMOUNT": str(self.caps.day_amount),
        }
        return {
            **environment(self.folder / "state" / self.account / name, limits),
            "MEMBRANE_API_URI": f"http://{LOOPBACK}:{port}",
            "MEMBRANE_WORKSPACE_KEY": told["workspaceKey"],
            "MEMBRANE_WORKSPACE_SECRET": told["workspaceSecret"],
            "MEMBRANE_TENANT_KEY": told["tenantKey"],
        }


def _intents_by_call(lines: Iterable[Line]) -> dict[str, str]:
    """Return the intent of each call: its client's name is that of the call."""
    intents = (line.body for line in lines if line.kind == "intent")
    return {body["client"]: body["intent"] for body in intents}


def _answer(told: Told, intents: dict[str, str]) -> ClientAnswer:
    target = str(told.arguments.get("transaction_id", ""))
    return ClientAnswer(
        *(told.replica, told.tool, target, told.began, told.ended, told.executed, told.code),
        intent=intents.get(told.call, ""),
    )


@contextmanager
def running_world(folder: Path) -> Generator[World]:
    """Start a world; it ends with the block."""
    made = World(folder)
    try:
        yield made.start()
    finally:
        made.close()
