"""The relay between HTTP clients and replicas passes on everything but what it is for."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
from clients import trace
from http_wire import HttpWire
from loopback_app import HOST, running_app
from polling import wait_for
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

CALL = {"jsonrpc": "2.0", "id": 7, "method": "ping"}
TOKEN = "made-up.token"


class Replica:
    """A server that returns what it gets, and one stream that never ends."""

    def __init__(self) -> None:
        self.left = threading.Event()
        self.app = Starlette(
            routes=[
                Route("/echo", self.echo, methods=["POST"]),
                Route("/stream", self.stream, methods=["POST"]),
            ]
        )

    async def echo(self, request: Request) -> JSONResponse:
        told = {"headers": request.headers.items(), "query": str(request.query_params)}
        return JSONResponse({"jsonrpc": "2.0", "id": 7, "result": told}, 201, {"x-own": "kept"})

    async def stream(self, request: Request) -> StreamingResponse:
        async def events() -> AsyncGenerator[str]:
            yield 'event: message\ndata: {"jsonrpc":"2.0","id":7,"result":{}}\n\n'
            try:
                while (await request.receive())["type"] != "http.disconnect":
                    pass
            finally:
                self.left.set()

        return StreamingResponse(events(), media_type="text/event-stream")


@contextmanager
def relayed(log: Path, *replicas: Replica, token: str = "") -> Generator[str]:
    with ExitStack() as stack:
        ports = [stack.enter_context(running_app(one.app)) for one in replicas]
        wire = HttpWire(ports, (lambda: token) if token else None, log)
        yield f"http://{HOST}:{stack.enter_context(running_app(wire))}"


@pytest.mark.parametrize(
    ("token", "sent", "arrived"),
    [
        (TOKEN, None, f"Bearer {TOKEN}"),
        (TOKEN, "Bearer of-the-client", "Bearer of-the-client"),
        ("", None, None),
    ],
)
def test_a_token_is_added_only_where_there_is_none(tmp_path, token, sent, arrived):
    headers = {"authorization": sent} if sent else {}
    with relayed(tmp_path / "log", Replica(), token=token) as url:
        told = httpx2.post(f"{url}/echo", json=CALL, headers=headers).json()["result"]

    assert dict(told["headers"]).get("authorization") == arrived


def test_host_origin_query_status_and_headers_pass_as_they_are(tmp_path):
    named = {"host": "kartra.example.com", "origin": "https://evil.example.com"}
    with relayed(tmp_path / "log", Replica()) as url:
        answer = httpx2.post(f"{url}/echo?a=1", json=CALL, headers=named)

    told = answer.json()["result"]
    assert named.items() <= dict(told["headers"]).items()
    assert (told["query"], answer.status_code, answer.headers["x-own"]) == ("a=1", 201, "kept")


def test_a_client_that_leaves_a_stream_leaves_the_replica_too(tmp_path):
    replica = Replica()
    with relayed(tmp_path / "log", replica) as url:
        with httpx2.stream("POST", f"{url}/stream", json=CALL) as answer:
            assert next(answer.iter_lines()) == "event: message"
        wait_for(replica.left.is_set)

    (server,) = [one for one in trace.read(tmp_path / "log") if one.source == "server"]
    assert server.said["result"] == {}


def test_each_request_goes_to_the_next_replica(tmp_path):
    first, second = Replica(), Replica()
    with relayed(tmp_path / "log", first, second) as url, httpx2.Client() as client:
        for _ in range(2):
            with client.stream("POST", f"{url}/stream", json=CALL) as answer:
                next(answer.iter_lines())
        wait_for(lambda: first.left.is_set() and second.left.is_set())


def test_the_log_has_the_messages_and_the_scheme_of_a_token(tmp_path):
    with relayed(tmp_path / "log", Replica(), token=TOKEN) as url:
        version = {"mcp-protocol-version": "2025-06-18"}
        httpx2.post(f"{url}/echo", json=CALL, headers=version)

    lines = trace.read(tmp_path / "log")
    assert [one.source for one in lines] == ["request", "client", "response", "server"]
    assert lines[0].said["scheme"] == "Bearer"
    assert TOKEN not in str(lines[0].said)
    assert lines[0].said["mcp-protocol-version"] == "2025-06-18"
    assert (lines[1].said, lines[2].said) == (CALL, 201)
    assert lines[3].said["result"]
