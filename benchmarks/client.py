"""A stdio client with almost no cost of its own: JSON lines to a server process and back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import IO, Any

ROOT = Path(__file__).parents[1]
ERA = "2025-11-25"
PATIENCE = 600.0
SERVER = (sys.executable, "-m", "kartra_mcp", "serve")
HELLO = {
    "protocolVersion": ERA,
    "capabilities": {},
    "clientInfo": {"name": "benchmarks", "version": "1"},
}
_OF = re.compile(rb'\{"jsonrpc":"2\.0","id":(\d+),')
"""Prefix of an answer, which gives its request's number without parsing the rest."""


class Broken(Exception):
    """A measured program failed, so its figure is missing."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Concurrent calls: calls a second, and the seconds of each."""

    rate: float
    latencies: tuple[float, ...]


@dataclass(slots=True)
class Client:
    """One server process, driven over its pipes."""

    process: subprocess.Popen[bytes]
    _sent: int = field(default=0)
    _early: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])

    def hello(self, name: str = "benchmarks") -> None:
        """Do the handshake as a client of this name."""
        self.request("initialize", {**HELLO, "clientInfo": {"name": name, "version": "1"}})
        self._send({"method": "notifications/initialized"})

    def tools(self) -> list[dict[str, Any]]:
        return self.request("tools/list", {})["tools"]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the structured content of a successful call."""
        return self._content(tool, self.answer(tool, arguments))

    def refusal(self, tool: str, arguments: Any) -> dict[str, Any]:
        """Return the error of a call that must be refused."""
        result = self.answer(tool, arguments)
        if not result.get("isError"):
            raise Broken(f"{tool}: was not refused")
        return json.loads(result["content"][0]["text"])["error"]

    def answer(self, tool: str, arguments: Any) -> dict[str, Any]:
        """Return the result of `tools/call`, an error too."""
        return self.request("tools/call", {"name": tool, "arguments": arguments})

    def at_once(self, tool: str, arguments: Any, many: int, count: int) -> Crowd:
        """Make so many calls, with so many in flight; parse the answers only afterwards.

        One thread with little work per call: this client is never the bottleneck.
        """
        first, sent = self._sent + 1, dict[int, float]()
        params = {"name": tool, "arguments": arguments}
        lines: list[bytes] = []
        latencies: list[float] = []
        begun = perf_counter()
        while len(latencies) < count:
            while len(sent) - len(latencies) < min(many, count - len(latencies)):
                self._sent += 1
                sent[self._sent] = perf_counter()
                self._send({"id": self._sent, "method": "tools/call", "params": params})
            line = _pipe(self.process.stdout).readline()
            of = _OF.match(line)
            if of and int(of[1]) >= first:
                latencies.append(perf_counter() - sent[int(of[1])])
                lines.append(line)
            elif not line:
                raise Broken(f"{tool}: the server ended")
        took = perf_counter() - begun
        for line in lines:
            self._content(tool, self._result("tools/call", json.loads(line)))
        return Crowd(count / took, tuple(latencies))

    def request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result; skip the server's other messages."""
        self._sent += 1
        self._send({"id": self._sent, "method": method, "params": params})
        return self._result(method, self._await(self._sent))

    def begin(self, tool: str, arguments: Any) -> int:
        """Send a call whose answer is taken later; return its number."""
        self._sent += 1
        params = {"name": tool, "arguments": arguments}
        self._send({"id": self._sent, "method": "tools/call", "params": params})
        return self._sent

    def end(self, number: int) -> dict[str, Any]:
        """Return the structured content of a call that was begun."""
        return self._content("a call", self._result("tools/call", self._await(number)))

    def _await(self, number: int) -> dict[str, Any]:
        if number in self._early:
            return self._early.pop(number)
        for line in _pipe(self.process.stdout):
            said = json.loads(line)
            if "method" in said or "id" not in said:
                continue
            if said["id"] == number:
                return said
            self._early[said["id"]] = said
        raise Broken("the server ended")

    def _send(self, message: Mapping[str, Any]) -> None:
        pipe = _pipe(self.process.stdin)
        pipe.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        pipe.flush()

    @staticmethod
    def _content(tool: str, result: Mapping[str, Any]) -> dict[str, Any]:
        if result.get("isError"):
            raise Broken(f"{tool}: {result['content'][0]['text'][:500]}")
        return result["structuredContent"]

    @staticmethod
    def _result(method: str, said: Mapping[str, Any]) -> dict[str, Any]:
        if "result" not in said:
            raise Broken(f"{method}: {said.get('error')}")
        return said["result"]


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str]) -> Generator[Client]:
    """Spawn a process for the duration of the block, without a handshake."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=ROOT,
    )
    last_resort = threading.Timer(PATIENCE, process.kill)
    last_resort.daemon = True
    last_resort.start()
    try:
        yield Client(process)
    finally:
        last_resort.cancel()
        _ended(process)


@contextmanager
def served(environment: Mapping[str, str], name: str = "benchmarks") -> Generator[Client]:
    """Start the real server and do the handshake as a client of this name."""
    with started(SERVER, environment) as client:
        client.hello(name)
        yield client


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.communicate(timeout=5)  # closes its stdin, which ends a server
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
