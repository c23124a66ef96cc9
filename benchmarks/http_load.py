"""Load on an MCP server over HTTP: so many clients at once, each with a connection of its own."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

ERA = "2026-07-28"


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint, and the call of a tool that each client repeats."""

    port: int
    path: str
    tool: str
    arguments: Mapping[str, Any]
    token: str = ""

    def request(self) -> tuple[bytes, dict[str, str]]:
        meta = {
            "io.modelcontextprotocol/protocolVersion": ERA,
            "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        params = {"name": self.tool, "arguments": dict(self.arguments), "_meta": meta}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": ERA,
            "Mcp-Method": "tools/call",
            "Mcp-Name": self.tool,
        }
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return json.dumps(body).encode(), headers


class Connection:
    """A client's connection; `call` returns the seconds of one call."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._http = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
        self._request = target.request()

    def call(self) -> float:
        return self._send()[0]

    def read_result(self) -> dict[str, Any]:
        """Return the result of one call."""
        return json.loads(self._send()[1])["result"]

    def _send(self) -> tuple[float, bytes]:
        body, headers = self._request
        begun = perf_counter()
        self._http.request("POST", self._target.path, body, headers)
        answer = self._http.getresponse()
        text = answer.read()
        took = perf_counter() - begun
        if answer.status != http.client.OK or b'"isError":true' in text:
            raise RuntimeError(f"{answer.status}: {text[:300]!r}")
        return took, text

    def close(self) -> None:
        self._http.close()


@dataclass(frozen=True, slots=True)
class Load:
    """Calls a second, and the seconds of each call."""

    rate: float
    seconds: tuple[float, ...]


def put_load(targets: list[Target], clients: int, seconds: float) -> Load:
    """Let so many clients call for so many seconds; they take the targets in turn."""
    found: list[float] = []
    problems: list[Exception] = []
    lock, ends_at = threading.Lock(), perf_counter() + seconds

    def work(number: int) -> None:
        own: list[float] = []
        connection = Connection(targets[number % len(targets)])
        try:
            while perf_counter() < ends_at:
                own.append(connection.call())
        except Exception as problem:  # noqa: BLE001  raised below, in the main thread
            problems.append(problem)
        finally:
            connection.close()
        with lock:
            found.extend(own)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    begun = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return Load(len(found) / (perf_counter() - begun), tuple(found))
