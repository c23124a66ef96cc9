"""Requests that the service refuses before MCP, and what it answers without a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
from service_world import HOST, MODERN, Caller, TeamWorld, connect, team_world

from kartra_mcp.service.timings import ServiceTimings

SCOPE = 'scope="kartra:read kartra:write kartra:money"'
QUICK = ServiceTimings(request_head=1.0, request_body=1.0)


@pytest.fixture(scope="module")
def world(team_database: Any) -> Iterator[TeamWorld]:
    with TemporaryDirectory() as folder, team_world(Path(folder), team_database) as world:
        world.add_account("Main shop")
        world.start_replica()
        world.start_replica(QUICK)
        yield world


@pytest.fixture(scope="module")
def ann(world: TeamWorld) -> Caller:
    return world.caller("ann", next(iter(world.sandboxes)), "operator")


def send(caller: Caller, path: str = "", **headers: str) -> httpx2.Response:
    own, body = caller.request("tools/list")
    named = {**own, **{name.replace("_", "-"): value for name, value in headers.items()}}
    url = caller.address + (path or f"/a/{caller.account}/mcp")
    left = {name: value for name, value in named.items() if value}
    return httpx2.post(url, headers=left, json=body)


def test_a_request_without_a_token_is_told_where_to_get_one(ann: Caller):
    found = send(ann, Authorization="")
    assert (found.status_code, found.content) == (401, b"")
    challenge = found.headers["www-authenticate"]
    metadata = f"https://{HOST}/.well-known/oauth-protected-resource/a/{ann.account}/mcp"
    assert challenge.startswith("Bearer ")
    assert f'resource_metadata="{metadata}"' in challenge
    assert SCOPE in challenge
    assert "error=" not in challenge


def test_a_bad_token_and_one_in_the_address_are_refused(ann: Caller):
    found = send(ann, Authorization="Bearer nobody")
    assert found.status_code == 401
    assert 'error="invalid_token"' in found.headers["www-authenticate"]
    path = f"/a/{ann.account}/mcp?access_token={ann.token}"
    assert send(ann, path, Authorization="").status_code == 401


def test_an_account_that_does_not_exist_answers_as_one_that_does(ann: Caller):
    answers = [send(ann, f"/a/{name}/mcp", Authorization="") for name in (ann.account, "none")]
    assert {answer.status_code for answer in answers} == {401}
    texts = {
        answer.headers["www-authenticate"].replace(name, "NAME")
        for answer, name in zip(answers, (ann.account, "none"), strict=True)
    }
    assert len(texts) == 1


def test_a_user_who_is_no_member_gets_403_without_content(world: TeamWorld, ann: Caller):
    stranger = world.caller("stranger", ann.account, "operator", member=False)
    found = send(stranger)
    assert (found.status_code, found.content) == (403, b"")


def test_both_spellings_of_the_address_are_served_and_no_other(ann: Caller):
    assert send(ann, f"/a/{ann.account}/mcp/").status_code == 200
    for path in ("/", "/mcp", f"/a/{ann.account}", f"/a/{ann.account}/mcp/x", "/page"):
        found = send(ann, path)
        assert (found.status_code, found.content) == (404, b""), path


def test_the_metadata_of_a_resource_are_public(ann: Caller):
    path = f"/.well-known/oauth-protected-resource/a/{ann.account}/mcp"
    for spelled in (path, f"{path}/"):
        found = httpx2.get(ann.address + spelled, headers={"Host": HOST})
        assert found.json()["resource"] == f"https://{HOST}/a/{ann.account}/mcp"
        assert found.json()["authorization_servers"] == ["https://login.example.com"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example.com"}, 421),
        ({"Host": f"{HOST}:8443"}, 421),
        ({"Host": f"{HOST}.evil.example.com"}, 421),
        ({"Host": "localhost:1234"}, 200),
        ({"Host": "127.0.0.1.evil.example.com"}, 421),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": f"https://{HOST}"}, 200),
        ({"mcp_session_id": "made-up"}, 200),
    ],
)
def test_hosts_and_origins_are_those_of_the_service(
    ann: Caller, headers: dict[str, str], status: int
):
    assert send(ann, **headers).status_code == status


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_only_post_is_served(ann: Caller, method: str):
    headers, _ = ann.request("tools/list")
    found = httpx2.request(method, f"{ann.address}/a/{ann.account}/mcp", headers=headers)
    assert (found.status_code, found.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("way", ["declared", "chunked"])
def test_a_body_above_four_mebibytes_is_refused(ann: Caller, way: str):
    headers, _ = ann.request("tools/list")
    body = b" " * (4 * 1024 * 1024 + 1)
    content: Any = body if way == "declared" else iter([body[:100_000]] * 43)
    found = httpx2.post(f"{ann.address}/a/{ann.account}/mcp", headers=headers, content=content)
    assert found.status_code == 413


@pytest.mark.parametrize("path", ["/a/{}/mcp", "/page", "/healthz"])
def test_a_request_with_two_lengths_is_refused_and_hides_no_second_one(
    world: TeamWorld, ann: Caller, path: str
):
    """A proxy that goes by the other length would take what follows for part of the body."""
    head = f"POST {path.format(ann.account)} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n"
    hidden = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with closing(connect(world.replicas[0])) as made:
        made.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}".encode())
        found = b"".join(iter(lambda: made.recv(65_536), b""))
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 1


def test_a_slow_head_and_a_slow_body_are_cut_off(world: TeamWorld, ann: Caller):
    replica = world.replicas[1]
    with closing(connect(replica)) as link:
        link.sendall(b"POST / HTTP/1.1\r\nHost: ")
        assert link.recv(100) == b""
    headers, _ = ann.request("tools/list")
    lines = [f"POST /a/{ann.account}/mcp HTTP/1.1", "Content-Length: 100"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with closing(connect(replica)) as link:
        link.sendall("\r\n".join([*lines, "", "{"]).encode())
        assert link.recv(100).startswith(b"HTTP/1.1 408")


def test_health_and_readiness_need_neither_host_nor_token(ann: Caller):
    for path in ("/healthz", "/readyz"):
        found = httpx2.get(ann.address + path, headers={"Host": "10.0.0.7:8000"})
        assert (found.status_code, found.content) == (200, b"")


def test_a_thousand_idle_connections_keep_nobody_out(world: TeamWorld, ann: Caller):
    replica = world.replicas[0]
    with ExitStack() as held:
        for _ in range(1_000):
            held.enter_context(closing(connect(replica)))
        assert ann.call("kartra_status").code == "done"


def test_events_have_no_argument_address_or_token(world: TeamWorld, ann: Caller):
    replica = world.replicas[0]
    replica.events.calls.clear()
    secret = "ada@example.com"
    assert ann.call("kartra_get_lead", email=secret).code == "done"
    assert ann.call(secret).code == "unknown_tool"
    first, second = replica.events.calls
    assert (first.tool, first.outcome) == ("kartra_get_lead", "done")
    assert (second.tool, second.outcome) == ("unknown", "unknown_tool")
    text = json.dumps([str(first), str(second), *map(str, replica.events.requests)])
    assert secret not in text
    assert ann.token not in text


def test_instructions_follow_the_role(world: TeamWorld, ann: Caller):
    viewer = world.caller("vera", ann.account, "viewer")
    texts = {
        caller.token: caller.ask("server/discover").result["instructions"]
        for caller in (viewer, ann)
    }
    assert ann.era == MODERN
    assert "Your role does not write" in texts[viewer.token]
    assert "Irreversible calls are not permitted" in texts[ann.token]
    assert all("Main shop" in text for text in texts.values())
