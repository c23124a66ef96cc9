"""The service's two readers of requests, h11 and llhttp, on the same bytes over real sockets."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from http_readers import (
    PATIENCE,
    READERS,
    REFUSED,
    MemoryServer,
    Server,
    check,
    running,
    use_reader,
)
from odd_requests import HIDDEN, LARGE_REQUESTS, MARKER, ODD_REQUESTS, chunked, head

from kartra_mcp.service import server as service_server
from kartra_mcp.service.server import choose_protocol
from kartra_mcp.service.timings import ServiceTimings
from kartra_mcp.web.http_protocol import TimedH11Protocol

POST = b"POST /unread HTTP/1.1"
DIFFERENT = frozenset(
    {
        "the target b'x:443'",
        "the target b'p'",
        "the target b'?a'",
        "the target b'\\\\x'",
        "the target b'javascript:x'",
        "the target b'x'",
        "the version b'HTTP/0.9'",
        "the version b'HTTP/1.2'",
        "the version b'HTTP/2.0'",
        "the method b'get'",
        "the method b'Post'",
        "the method b'FOO'",
        "the method b'PRI'",
        "a tunnel",
        "a tunnel to a path",
        "the preface of HTTP/2",
        "the line b' A: b'",
        "the line b'A: b\\r\\n c'",
        "the line b'A: b\\r\\n c', with a body",
        "the line b'A: b\\r\\n\\tc'",
        "the line b'A: b\\r\\n\\tc', with a body",
        "the line b'A: b\\r\\n '",
        "the line b'A: b\\r\\n ', with a body",
        "the line b'A: b\\nX: c'",
        "the line b'A: b\\nX: c', with a body",
        "the line b'A: b\\x01c'",
        "the line b'A: b\\x01c', with a body",
        "the line b'A: b\\x7fc'",
        "the line b'A: b\\x7fc', with a body",
        "the length b'5, 5'",
        "the length b'5,5'",
        "the length b'18446744073709551621'",
        "two equal lengths",
        "a folded length",
        "a length after a bare LF",
        "a length and a folded upgrade",
        "the coding b'chunked\\t'",
        "a folded coding",
        "the chunk size b'00000000000000000003'",
        "the chunk size b'3 '",
        "the chunk size b'3\\t'",
        "the chunk size b'3;'",
        "the chunk size b'3; a = b'",
        "the chunk size b'3;a\\x00'",
        "the chunk size b'3;;'",
        "the chunk size b'3;a\\rb'",
        "the chunk size b'FFFFFFFFFFFFFFFFFFFF'",
        "the chunk size b'3;a=\"\\r'",
        "a bare LF after the last chunk",
        "the trailer b'Content-Length: 50'",
        "the trailer b'A: b\\r\\n c'",
        "the trailer b'Transfer-Encoding: chunked'",
        "the trailer b'A: b\\nC: d'",
        "lines that end in bare LF",
        "a bare LF at the end of the head",
        "a tunnel with a body",
    }
)
"""Requests that h11 reads and llhttp, or the check before it, refuses."""
SHORTER = frozenset(name for name in ODD_REQUESTS if "Proxy-Connection" in name)
"""llhttp closes the connection for this header as well."""


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        yield {reader: stack.enter_context(running(reader)) for reader in READERS}


@pytest.fixture(params=READERS)
def server(request: pytest.FixtureRequest, servers: dict[str, Server]) -> Server:
    return servers[request.param]


@pytest.mark.parametrize("name", ODD_REQUESTS)
def test_an_odd_request_is_read_as_h11_reads_it_or_refused(servers: dict[str, Server], name: str):
    strict, found = (servers[reader].send(ODD_REQUESTS[name] + MARKER) for reader in READERS)
    check(strict, found)
    if name in DIFFERENT:
        assert (found.statuses, found.seen) == ((REFUSED,), ())
    elif name not in SHORTER:
        assert found == strict


@pytest.mark.parametrize("name", LARGE_REQUESTS)
def test_no_part_of_a_request_grows_without_end(servers: dict[str, Server], name: str):
    found = servers["httptools"].send(LARGE_REQUESTS[name])
    assert found.seen == ()
    assert found.statuses in ((), (REFUSED,))  # none if the rest of it was still on its way


@pytest.mark.parametrize("name", [name for name in ODD_REQUESTS if "unread" not in name])
def test_an_odd_request_in_segments_is_read_as_a_whole_one(name: str):
    server, raw = MemoryServer("httptools"), ODD_REQUESTS[name] + MARKER
    size = len(raw) // 3 + 1
    assert server.send(raw) == server.send(raw[:size], raw[size : 2 * size], raw[2 * size :])


def test_a_trailer_is_no_header(server: Server):
    trailers = b"Authorization: y\r\nHost: y\r\nMcp-Name: y\r\n"
    raw = chunked(b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n")
    for segments in ([raw + MARKER], [raw, MARKER], [raw[:-30], raw[-30:] + MARKER]):
        first, second = server.send(*segments).seen
        assert first.headers == ((b"host", b"x"), (b"transfer-encoding", b"chunked"))
        assert first.body == b"abc"
        assert dict(second.headers)[b"host"] == b"x"


@pytest.mark.parametrize("asked", [b"h2c", b"websocket"])
def test_an_upgrade_is_not_done_and_hides_no_request(server: Server, asked: bytes):
    lines = (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: " + asked,
        b"HTTP2-Settings: AAMAAABk",
    )
    raw = head(*lines, b"Content-Length: %d" % len(HIDDEN)) + HIDDEN
    first, second = server.send(raw + MARKER).seen
    assert (first.body, second.path) == (HIDDEN, "/marker")


def test_a_fault_in_a_request_does_not_answer_the_one_before(server: Server):
    assert server.send(HIDDEN + b"G@T / HTTP/1.1\r\n\r\n").statuses == (200, REFUSED)


def test_data_after_the_last_request_of_a_connection_are_not_read(server: Server):
    found = server.send(head(b"Connection: close") + HIDDEN)
    assert (found.statuses, len(found.seen)) == ((200,), 1)


def test_a_client_that_waits_for_leave_gets_it(server: Server):
    raw = head(b"Expect: 100-continue", b"Connection: close", b"Content-Length: 3")
    with closing(socket.create_connection(("127.0.0.1", server.port), PATIENCE)) as link:
        link.sendall(raw)
        assert link.recv(100).startswith(b"HTTP/1.1 100 ")
        link.sendall(b"abc")
        assert link.recv(100).startswith(b"HTTP/1.1 200 ")


def test_half_a_head_is_cut_off_without_an_answer(server: Server):
    assert server.send(b"POST / HTTP/1.1\r\nHost: ").raw == b""
    assert server.send(b"").raw == b""
    for segments in ([HIDDEN + b"GET"], [HIDDEN, b"GET"]):
        found = server.send(*segments)
        assert (found.statuses, len(found.seen)) == ((200,), 1)


def test_a_slow_body_is_refused(server: Server):
    assert server.send(head(b"Content-Length: 5") + b"abc").statuses == (408,)
    assert server.send(chunked(b"3\r\nab")).statuses == (408,)


def test_the_rest_of_a_body_that_has_its_answer_is_not_waited_for(server: Server):
    for begun in (
        head(b"Content-Length: 9", line=POST),
        head(b"Transfer-Encoding: chunked", line=POST),
    ):
        for segments in ([begun], [begun + b"1\r\n"], [begun, b"1\r\n"]):
            assert server.send(*segments).statuses == (200,)


@pytest.mark.parametrize("reader", READERS)
def test_only_what_is_due_has_a_time(reader: str):
    server = MemoryServer(reader)
    begun = head(b"Content-Length: 3", line=POST)
    for due in ((b"GET",), (HIDDEN, b"GET"), (HIDDEN + b"GET",), (begun,), (begun, b"a")):
        assert server.send(*due).is_timed, due
    for nothing_due in ((HIDDEN,), (begun, b"a", b"bc"), (begun + b"abc", HIDDEN)):
        assert not server.send(*nothing_due).is_timed, nothing_due


def test_a_large_body_arrives_whole(server: Server):
    body = bytes(range(256)) * 14_000
    sent = [head(b"Content-Length: %d" % len(body)) + body + MARKER]
    assert server.send(*sent).seen[0].body == body
    parts = [body[start : start + 70_000] for start in range(0, len(body), 70_000)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    assert server.send(chunked(chunks + b"0\r\n\r\n") + MARKER).seen[0].body == body


@pytest.mark.parametrize("reader", READERS)
def test_an_idle_connection_is_closed_after_an_answer(reader: str):
    timings = ServiceTimings(request_head=PATIENCE, keep_alive=0)
    with running(reader, timings) as server:
        assert server.send(HIDDEN).statuses == (200,)


@pytest.mark.parametrize("reader", READERS)
def test_too_many_connections_get_503(reader: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service_server, "MAX_CONNECTIONS", 1)
    with running(reader) as server:
        assert server.send(MARKER).statuses == (503,)


def test_a_refusal_is_not_logged_with_the_bytes_of_a_client(
    server: Server, caplog: pytest.LogCaptureFixture
):
    for raw in (b"s3cret\x00 / HTTP/1.1\r\n\r\n", head(line=b"GET s3cret:// HTTP/1.1")):
        server.send(raw + MARKER)
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("reader", READERS)
def test_the_reader_is_httptools_where_it_is_installed(
    reader: str, monkeypatch: pytest.MonkeyPatch
):
    use_reader(reader, monkeypatch)
    is_fallback = choose_protocol() is TimedH11Protocol
    assert is_fallback == (reader == "h11") == (sys.modules.get("httptools") is None)
