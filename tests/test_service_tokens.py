"""Bad tokens over HTTP: each is refused with a challenge, and nothing of it is shown or logged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
from bad_tokens import BAD, token
from polling import wait_for
from service_world import LEGACY, MODERN, Caller, TeamWorld, team_world
from team_identity import MAIN, SHOP, Service

from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.sandbox.identity.server import running_identity

both_eras = pytest.mark.parametrize("era", [MODERN, LEGACY])


@pytest.fixture(scope="module")
def identity() -> Iterator[IdentityProvider]:
    with running_identity() as found:
        yield found


@pytest.fixture(scope="module")
def world(team_database: Any, identity: IdentityProvider) -> Iterator[TeamWorld]:
    with TemporaryDirectory() as folder, team_world(Path(folder), team_database) as world:
        world.verifier = Service(identity).verifier
        for name in ("main", "shop"):
            world.add_account(name, name=name)
        world.start_replica()
        yield world


def send(world: TeamWorld, *values: bytes, account: str = "main", era: str = MODERN) -> Any:
    """Send a request with these Authorization headers."""
    caller = Caller(world.replicas[0].address, account, "", era)
    headers, body = caller.request("tools/list")
    del headers["Authorization"]
    own = [(name.encode(), value.encode()) for name, value in headers.items()]
    sent = [*own, *((b"Authorization", value) for value in values)]
    return httpx2.post(f"{caller.address}/a/{account}/mcp", headers=sent, json=body)


@both_eras
def test_a_good_token_is_served_in_its_own_account_alone(
    world: TeamWorld, identity: IdentityProvider, era: str
):
    good = f"Bearer {token()(identity)}".encode()
    assert send(world, good, era=era).status_code == 200
    assert send(world, good, account="shop", era=era).status_code == 401
    other = f"Bearer {token(audience=SHOP)(identity)}".encode()
    assert send(world, other, account="shop", era=era).status_code == 403, "not a member"


@pytest.mark.parametrize("case", BAD)
def test_a_bad_token_is_refused_over_http(world: TeamWorld, identity: IdentityProvider, case: str):
    make, fault = BAD[case]
    text = make(identity)
    events = world.replicas[0].events.requests
    for era in (MODERN, LEGACY):
        events.clear()
        found = send(world, f"Bearer {text}".strip().encode("latin-1"), era=era)
        assert (found.status_code, found.content) == (401, b"")
        challenge = found.headers["www-authenticate"]
        assert 'error="invalid_token"' in challenge
        assert f"/.well-known/oauth-protected-resource{MAIN.partition('.com')[2]}" in challenge
        wait_for(lambda: events)
        (event,) = events
        assert (event.status, event.reason) == (401, fault)
        for part in (text, *text.split(".")):
            assert len(part) < 12 or part not in f"{challenge} {event}"


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ((), 401),
        ((b"Basic dXNlcjpwYXNz",), 401),
        ((b"Bearer",), 401),
        ((b"Token GOOD",), 401),
        ((b"GOOD",), 401),
        ((b"Bearer GOOD, Bearer GOOD",), 401),
        ((b"Bearer GOOD", b"Bearer GOOD"), 400),
        ((b"bearer   GOOD",), 200),
    ],
)
def test_a_token_counts_only_as_the_one_bearer_of_a_request(
    world: TeamWorld, identity: IdentityProvider, values: tuple[bytes, ...], status: int
):
    good = token()(identity).encode()
    found = send(world, *(value.replace(b"GOOD", good) for value in values))
    assert found.status_code == status
