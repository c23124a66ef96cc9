"""Replicas as processes: the product's own composition, driven by lines of JSON.

`python -m matrix.replica` imports everything once and forks a replica for each line of its input,
which names the socket to connect to. A replica then gets its configuration, and calls:

    {"environment": {…}, "database": "…", "account": "…", "writes": {…}, "seeded": […]}
    {"id": 1, "tool": "kartra_refund_transaction", "arguments": {…}}
    {"id": 2, "clock": 600}                            its wall clock is wrong by so many seconds
    {"id": 3, "sweep": true}                           compare the run logs with the ledger
    {"id": 7, "stop": true}                            a person stops all writes; false: two resume
    {"id": 4, "head": true}                            the highest head that it saw
    {"id": 5, "arm": "minted"}                         it stops itself at this point, once
    {"id": 6, "patches": true}                         how often each seeded patch was called

and answers `{"id": 1, "ok": true, …}`; at an armed point it says `{"point": "minted"}` and stops,
and then `{"passed": "minted"}`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread

from kartra_mcp.app.composition import App, build_app
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.principal import Principal, Role
from kartra_mcp.core.timings import CallTimings, WriteTimings
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.send_rights import SendRights
from kartra_mcp.ledger.postgres.store import StoreOptions, open_team_ledger
from kartra_mcp.membrane.client import StartedIntent
from kartra_mcp.membrane.http_client import HttpClient
from kartra_mcp.settings import read_settings
from matrix import seeded

MINTED = "minted"
APPROVER: frozenset[Role] = frozenset({"approver"})
LONGEST_LINE = 1_000_000


@dataclass
class ReplicaClock:
    """A wall clock that can be wrong."""

    offset: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


@dataclass
class Replica:
    """One replica and its connection to the driver."""

    link: socket.socket
    clock: ReplicaClock = field(default_factory=ReplicaClock)
    armed: set[str] = field(default_factory=set)
    account: str = ""

    def say(self, **what: Any) -> None:
        with suppress(OSError):  # a driver that has gone wants nothing more
            self.link.sendall(json.dumps(what).encode() + b"\n")

    def reach(self, point: str) -> None:
        """Stop here if the driver asked for it; it lets this process go on, or ends it."""
        if point in self.armed:
            self.armed.discard(point)
            self.say(point=point)
            os.kill(os.getpid(), signal.SIGSTOP)
            self.say(passed=point)

    async def serve(self) -> None:
        stream = await anyio.abc.UNIXSocketStream.from_socket(self.link.dup())
        lines = _Lines(stream)
        config = await lines.read()
        seeded.apply(config.get("seeded", ()))
        self.account = config["account"]
        self.stop_at_minting()
        app = self.build(config)
        self.say(pid=os.getpid())
        async with anyio.create_task_group() as tasks:
            app.tools.account.start(tasks)
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    tasks.start_soon(self.handle, app, await lines.read())
            os._exit(0)  # its driver has gone, and calls may wait for a database that has, too

    def stop_at_minting(self) -> None:
        """Reach the one point that nothing outside shows: the token of a write is made."""

        def mint_and_reach(self: HttpClient, begun: StartedIntent) -> str:
            token = mint(self, begun)
            reach(MINTED)
            return token

        mint, reach = HttpClient._mint_for, self.reach
        HttpClient._mint_for = mint_and_reach

    def build(self, config: Mapping[str, Any]) -> App:
        settings = read_settings(environment=config["environment"])
        writes = WriteTimings(**config["writes"])
        return build_app(
            settings,
            self.clock,
            timings=CallTimings(writes=writes),
            open_ledger=partial(_open_ledger, config, writes),
        )

    async def handle(self, app: App, asked: Mapping[str, Any]) -> None:
        if "clock" in asked:
            self.clock.offset = asked["clock"]
            self.say(id=asked["id"], ok=True)
        elif "head" in asked:
            seen = _get_store(app)._high_water.seen
            self.say(id=asked["id"], ok=True, n=seen.count, hash=seen.hash)
        elif "patches" in asked:
            self.say(id=asked["id"], ok=True, calls=seeded.CALLS)
        elif "sweep" in asked:
            problem = await _sweep(app, self.account)
            self.say(id=asked["id"], ok=not problem, problem=problem)
        elif "stop" in asked:
            await anyio.to_thread.run_sync(_set_switch, app, asked["stop"])
            self.say(id=asked["id"], ok=True)
        elif "arm" in asked:
            self.armed.add(asked["arm"])
            self.say(id=asked["id"], ok=True)
        else:
            self.say(id=asked["id"], **await _call(app, asked))


def _open_ledger(config: Mapping[str, Any], writes: WriteTimings) -> Ledger:
    rights = SendRights(writes.send_seconds, config["answer_seconds"])
    connections, key = Connections(config["database"]), b"k" * 32
    return open_team_ledger(
        connections, config["account"], key, options=StoreOptions(rights=rights)
    )


def _get_store(app: App) -> Any:
    return app.tools.gateway.writes().ledger._store


def _set_switch(app: App, stop: bool) -> None:  # noqa: FBT001  as the line of JSON has it
    switch = app.tools.gateway.writes().ledger.switch
    one, other = (Principal("matrix", name, name, "page", APPROVER) for name in ("ada", "ben"))
    if stop:
        switch.stop(one, "a story")
        return
    switch.resume(one)
    switch.resume(other)


async def _sweep(app: App, account: str) -> str:
    """Do what `kartra-mcp team settle` does, for a failover; return why writes stay closed."""
    from kartra_mcp.app.team_jobs import StoreGate
    from kartra_mcp.ledger.lost_intents import LostIntents
    from kartra_mcp.team.account_tools import AccountTools
    from kartra_mcp.team.settling import settle_account

    store, tools = _get_store(app), app.tools
    ledger = tools.gateway.writes().ledger
    found = AccountTools(account, ledger, LostIntents(store), tools.gateway, tools.rules)
    report = await settle_account(found, StoreGate(store, "the matrix"))
    return "" if report.swept and report.problem is None else str(report)


async def _call(app: App, asked: Mapping[str, Any]) -> dict[str, Any]:
    client = ClientContext(name=asked.get("client", ""))
    try:
        done = await app.tools.call(asked["tool"], asked["arguments"], client)
    except KartraMCPError as problem:
        return {"ok": False, "error": problem.as_dict()}
    except Exception as problem:  # noqa: BLE001  the driver judges it
        return {"ok": False, "error": {"code": "bug", "message": _text(problem)}}
    return {"ok": True, "structured": done.structured}


def _text(problem: BaseException) -> str:
    return "".join(traceback.format_exception(problem))[-4000:]


@dataclass
class _Lines:
    stream: anyio.abc.ByteReceiveStream
    rest: bytes = b""

    async def read(self) -> dict[str, Any]:
        while b"\n" not in self.rest:
            self.rest += await self.stream.receive()
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)


def _import_everything() -> None:
    """Import what a first call would, so that a fork starts at once."""
    import aiohttp
    import jwt
    import psycopg
    import psycopg_pool

    from kartra_mcp.calls import argument_checks, writes
    from kartra_mcp.consent import fact_reader, flow

    del aiohttp, jwt, psycopg, psycopg_pool, argument_checks, writes, fact_reader, flow


def main() -> None:
    _import_everything()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for replicas
    print("ready", flush=True)  # noqa: T201  the driver waits for it
    for line in sys.stdin:
        if os.fork():
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        link = socket.socket(socket.AF_UNIX)
        link.connect(line.strip())
        os.close(0)
        try:
            anyio.run(Replica(link).serve)
        except BaseException as problem:  # noqa: BLE001  told to the driver, then it is over
            Replica(link).say(crashed=_text(problem))
        finally:
            os._exit(0)


if __name__ == "__main__":
    main()
