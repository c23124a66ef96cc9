"""Replicas as processes: the product's own composition, driven by lines of JSON.

`python -m matrix.replica` imports everything once and forks a replica for each line of its input,
which names the socket to connect to. A replica then gets its configuration, and calls:

    {"environment": {…}, "timings": {…}, "seeded": […]}
    {"id": 1, "tool": "kartra_refund_transaction", "arguments": {…}}
    {"id": 2, "clock": 600}                            its wall clock is wrong by so many seconds
    {"id": 3, "arm": "minted"}                         it stops itself at this point, once

and answers `{"id": 1, "ok": true, …}`; at an armed point it says `{"point": "minted"}`, and stops.
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
from typing import Any

import anyio
import anyio.abc

from kartra_mcp.app.composition import App, build_app
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.timings import CallTimings
from kartra_mcp.settings import read_settings
from matrix import seeded

MINTED = "minted"
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

    def say(self, **what: Any) -> None:
        with suppress(OSError):  # a driver that has gone wants nothing more
            self.link.sendall(json.dumps(what).encode() + b"\n")

    def reach(self, point: str) -> None:
        """Stop here if the driver asked for it; it lets this process go on, or ends it."""
        if point in self.armed:
            self.armed.discard(point)
            self.say(point=point)
            os.kill(os.getpid(), signal.SIGSTOP)

    async def serve(self) -> None:
        stream = await anyio.abc.UNIXSocketStream.from_socket(self.link.dup())
        lines = _Lines(stream)
        config = await lines.read()
        seeded.apply(config.get("seeded", ()))
        app = self.build(config)
        self.say(pid=os.getpid())
        async with anyio.create_task_group() as tasks:
            app.tools.account.start(tasks)
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    tasks.start_soon(self.handle, app, await lines.read())
            tasks.cancel_scope.cancel()

    def build(self, config: Mapping[str, Any]) -> App:
        settings = read_settings(environment=config["environment"])
        timings = CallTimings(**config.get("timings", {}))
        return build_app(settings, self.clock, timings=timings)

    async def handle(self, app: App, asked: Mapping[str, Any]) -> None:
        if "clock" in asked:
            self.clock.offset = asked["clock"]
            self.say(id=asked["id"], ok=True)
        elif "arm" in asked:
            self.armed.add(asked["arm"])
            self.say(id=asked["id"], ok=True)
        else:
            self.say(id=asked["id"], **await _call(app, asked))


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
