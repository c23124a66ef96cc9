"""A stdio client that costs next to nothing itself: JSON lines to a server process and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
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


class Broken(Exception):
    """Something that is measured does not work: there is no figure."""


@dataclass(slots=True)
class Client:
    """One server process, spoken to over its pipes."""

    process: subprocess.Popen[bytes]
    _sent: int = field(default=0)

    def hello(self) -> None:
        """The handshake."""
        self.request("initialize", HELLO)
        self._send({"method": "notifications/initialized"})

    def tools(self) -> list[dict[str, Any]]:
        return self.request("tools/list", {})["tools"]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured content of a tool's success."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise Broken(f"{tool}: {result['content'][0]['text'][:500]}")
        return result["structuredContent"]

    def request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The result; what the server sends beside it is passed over."""
        self._sent += 1
        self._send({"id": self._sent, "method": method, "params": params})
        for line in _pipe(self.process.stdout):
            said = json.loads(line)
            if said.get("id") == self._sent and "method" not in said:
                return self._result(method, said)
        raise Broken(f"{method}: the server ended")

    def peak_memory(self) -> int | None:
        """The most bytes of memory that the process ever held; None where Linux does not tell."""
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM:"))

    def processor_time(self) -> float | None:
        """The seconds that the process computed, its programs aside; None where not told."""
        try:
            words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def _send(self, message: Mapping[str, Any]) -> None:
        pipe = _pipe(self.process.stdin)
        pipe.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        pipe.flush()

    @staticmethod
    def _result(method: str, said: Mapping[str, Any]) -> dict[str, Any]:
        if "result" not in said:
            raise Broken(f"{method}: {said.get('error')}")
        return said["result"]


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str]) -> Generator[Client]:
    """A process just spawned, for as long as it is needed; it gets no handshake yet."""
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
def served(environment: Mapping[str, str]) -> Generator[Client]:
    """The real server after its handshake."""
    with started(SERVER, environment) as client:
        client.hello()
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
