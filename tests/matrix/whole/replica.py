"""One whole replica: its process, and the relays to what it depends on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from polling import gone
from postgres_server import LOOPBACK, find_free_port

from kartra_mcp.sandbox.team.processes import (
    Program,
    running_program,
    wait_until_ready,
)
from matrix.points import Watch
from matrix.relay import Passing, Relay

TESTS = Path(__file__).parents[2]
PROGRAM = "matrix.whole.program"


@dataclass(eq=False)
class WholeReplica:
    """A `kartra-mcp serve --http` that can be killed, stopped, cut off, and started again.

    Attributes:
        databases: relays to the primary and to the standby, in the order of its address.
        upstreams: the relay to Membrane of each account.
    """

    number: int
    folder: Path
    databases: tuple[Relay, Relay]
    upstreams: Mapping[str, Relay]
    environment: Mapping[str, str]
    port: int = field(default_factory=find_free_port)
    metrics_port: int = field(default_factory=find_free_port)
    watches: tuple[Watch, ...] = ()
    _program: Program | None = None
    _running: ExitStack = field(default_factory=ExitStack)

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def team_file(self) -> Path:
        return self.folder / f"team-{self.number}.yaml"

    @property
    def relays(self) -> Sequence[Relay]:
        return (*self.databases, *self.upstreams.values())

    @property
    def pid(self) -> int:
        assert self._program is not None
        return self._program.process.pid

    @property
    def is_running(self) -> bool:
        return self._program is not None and self._program.process.poll() is None

    def start(self) -> None:
        """Start its process unless it runs; `wait` waits until it serves."""
        if self.is_running:
            return
        self._running.close()
        words = [PROGRAM, "serve", f"--http={LOOPBACK}:{self.port}", f"--team={self.team_file}"]
        words += [f"--metrics={LOOPBACK}:{self.metrics_port}"]
        words += [f"--state-dir={self.folder / f'state-{self.number}'}", "--rate=0"]
        environment = {**self.environment, "PYTHONPATH": str(TESTS)}
        log = self.folder / f"replica-{self.number}.log"
        self._program = self._running.enter_context(running_program(words, environment, log))

    def wait(self) -> None:
        """Wait until it is ready for calls."""
        assert self._program is not None
        wait_until_ready(self._program, f"{self.address}/readyz")

    def kill(self) -> None:
        if self._program is not None:
            self._program.kill()

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Wait for the end that `terminate` began."""
        if self._program is not None:
            self._program.end()

    def read_metrics(self) -> str:
        return httpx2.get(f"http://{LOOPBACK}:{self.metrics_port}/metrics", timeout=30).text

    def watch(self, watch: Watch | None) -> None:
        """Let a watch follow what passes on the relays, as those before it; None ends all."""
        self.watches = (*self.watches, watch) if watch else ()
        for relay in self.databases:
            relay.listener = self._tell(Watch.on_database) if watch else None
        for relay in self.upstreams.values():
            relay.listener = self._tell(Watch.on_upstream) if watch else None

    def close(self) -> None:
        self.resume()
        self.kill()
        self._running.close()
        for relay in self.relays:
            relay.close()

    def _tell(self, hear: Callable[[Watch, Passing], None]) -> Callable[[Passing], None]:
        def listen(passing: Passing) -> None:
            for watch in self.watches:
                hear(watch, passing)

        return listen

    def _signal(self, number: int) -> None:
        if self._program is not None and not gone(self._program.process.pid):
            with suppress(ProcessLookupError):
                os.kill(self._program.process.pid, number)
