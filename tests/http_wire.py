"""HTTP relay on loopback between clients and the replicas of a team's service.

It can add a bearer token to requests that carry none, for a client that cannot send one. Each
request goes to the next replica, over a connection of its own. The log has one JSON object in each
line, as that of `clients.wire`: `pid` (the number of the request), `at` (seconds), `from` (request,
client, response, server) and `said`. Of tokens it has the scheme alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import httpx2
from loopback_app import HOST

PATIENCE = 90.0
"""Seconds for an answer of a replica; listen streams send a sign of life in less."""
_OF_A_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"expect"}
)
_AUTHORIZATION = b"authorization"
_SHOWN = ("mcp-protocol-version", "mcp-session-id", "user-agent")


@dataclass
class HttpWire:
    """The relay.

    Attributes:
        ports: of the replicas; may be changed while it runs.
        token: returns the bearer token to add; None adds none.
        log: file of the messages; None keeps none.
    """

    ports: Sequence[int]
    token: Callable[[], str] | None = None
    log: Path | None = None
    _numbers: count[int] = field(default_factory=count)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Relay one request, until its response ends or the client goes away."""
        number = next(self._numbers)
        body = await _read_body(receive)
        if body is None:
            return
        headers = self._make_headers(scope["headers"])
        self._note(number, "request", _describe(scope, headers))
        self._note_messages(number, "client", [body.decode(errors="replace")])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
            await self._relay(number, scope, headers, body, send)
            tasks.cancel_scope.cancel()

    async def _relay(
        self, number: int, scope: Any, headers: list[tuple[bytes, bytes]], body: bytes, send: Any
    ) -> None:
        port = self.ports[number % len(self.ports)]
        query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        url = f"http://{HOST}:{port}{scope['raw_path'].decode()}{query}"
        passed = bytearray()
        try:
            async with (
                httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as client,
                client.stream(scope["method"], url, headers=headers, content=body) as answer,
            ):
                self._note(number, "response", answer.status_code)
                given = [(name.lower(), value) for name, value in answer.headers.raw]
                kept = [pair for pair in given if pair[0] not in _OF_A_CONNECTION]
                start = {"status": answer.status_code, "headers": kept}
                await send({"type": "http.response.start", **start})
                async for chunk in answer.aiter_raw():
                    passed += chunk
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._note_messages(number, "server", _messages(passed.decode(errors="replace")))

    def _make_headers(self, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = [(name, value) for name, value in given if name not in _OF_A_CONNECTION]
        if self.token and not any(name == _AUTHORIZATION for name, _ in kept):
            kept.append((_AUTHORIZATION, f"Bearer {self.token()}".encode()))
        return kept

    def _note_messages(self, number: int, source: str, texts: Iterable[str]) -> None:
        for text in texts:
            if (said := _parse(text)) is not None:
                self._note(number, source, said)

    def _note(self, number: int, source: str, said: Any) -> None:
        if self.log is None:
            return
        line = {"pid": number, "at": time.monotonic(), "from": source, "said": said}
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


async def _read_body(receive: Any) -> bytes | None:
    """Return the whole body; None if the client went away."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _cancel_when_gone(receive: Any, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _describe(scope: Any, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Return what of a request's head is shown."""
    given = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    shown = {name: given[name] for name in _SHOWN if name in given}
    scheme = given.get(_AUTHORIZATION.decode(), "").partition(" ")[0]
    return {"method": scope["method"], "path": scope["path"], "scheme": scheme, **shown}


def _messages(text: str) -> list[str]:
    """Return the texts of the messages in a response: of an event stream, or the only one."""
    lines = text.splitlines()
    if any(line.startswith("data:") for line in lines):
        return [line.removeprefix("data:") for line in lines if line.startswith("data:")]
    return [text]


def _parse(text: str) -> Any:
    """Return the JSON in a text; None if there is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None
