"""The stand-in identity provider as MCP clients and the demo use it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from team_identity import CALLBACK, MAIN, Service, visit

from kartra_mcp.identity.login_exchange import (
    LoginAttempt,
    LoginOptions,
    make_authorization_url,
)
from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.sandbox.identity.server import running_identity

pytestmark = pytest.mark.anyio

ATTEMPT = LoginAttempt("state", "nonce", "v" * 43, 0)


@pytest.fixture(scope="module")
def identity() -> Iterator[IdentityProvider]:
    with running_identity() as found:
        yield found


def fetch(identity: IdentityProvider, form: dict[str, str], status: int = 200) -> dict[str, Any]:
    found = httpx2.post(f"{identity.issuer}/token", data=form, trust_env=False)
    assert found.status_code == status, found.text
    return found.json()


async def ask_code(identity: IdentityProvider, client_id: str, **more: str) -> str:
    """Return a code for Bea, as a browser gets it."""
    provider = Service(identity).providers.get(identity.issuer)
    assert provider is not None
    url = make_authorization_url(
        await provider.metadata(), ATTEMPT, LoginOptions(login_hint="bea"), client_id, CALLBACK
    )
    more_fields = "".join(f"&{name}={value}" for name, value in more.items())
    query = visit(url + more_fields)
    return dict(part.split("=", 1) for part in query.split("&"))["code"]


async def test_a_client_registers_gets_a_token_for_the_resource_and_refreshes_it(
    identity: IdentityProvider,
):
    registered = httpx2.post(
        f"{identity.issuer}/register", json={"redirect_uris": [CALLBACK]}, trust_env=False
    ).json()
    code = await ask_code(identity, registered["client_id"], resource=MAIN)
    form = {
        "grant_type": "authorization_code",
        "client_id": registered["client_id"],
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": ATTEMPT.verifier,
    }
    first = fetch(identity, form)
    service = Service(identity)
    found = await service.verifier.verify(first["access_token"], "main")
    assert (found.subject, found.client_id) == ("bea", registered["client_id"])
    again = {
        "grant_type": "refresh_token",
        "client_id": registered["client_id"],
        "refresh_token": first["refresh_token"],
    }
    second = fetch(identity, again)
    assert (await service.verifier.verify(second["access_token"], "main")).key == found.key
    assert fetch(identity, again, 400) == {"error": "invalid_grant"}


@pytest.mark.parametrize("name", ["resource", "audience"])
async def test_a_machine_gets_a_token_of_its_own(identity: IdentityProvider, name: str):
    form: dict[str, str] = {
        "grant_type": "client_credentials",
        "scope": "kartra:read",
        name: MAIN,
    }
    secret: dict[str, str] = {"client_id": "kartra-agent", "client_secret": "agent-secret"}
    token = fetch(identity, {**form, **secret})["access_token"]
    found = await Service(identity).verifier.verify(token, "main")
    assert (found.is_user, found.roles, found.scopes) == (False, {"operator"}, {"kartra:read"})
    assert fetch(identity, {**form, **secret, "client_secret": "x"}, 401)
    refused = fetch(identity, {**form, "client_id": "kartra-cli"}, 400)
    assert refused == {"error": "unauthorized_client"}


async def test_a_token_signed_with_es256_is_accepted(identity: IdentityProvider):
    identity.algorithm = "ES256"
    try:
        token = identity.access_token("hana", MAIN)
    finally:
        identity.algorithm = "RS256"
    assert (await Service(identity).verifier.verify(token, "main")).roles == {"approver"}


@pytest.mark.parametrize(
    "query",
    [
        "response_type=token",
        "response_type=code&code_challenge=x&code_challenge_method=plain",
        "response_type=code&max_age=soon",
    ],
)
def test_a_request_without_pkce_gets_no_code(identity: IdentityProvider, query: str):
    address = f"client_id=kartra-cli&redirect_uri={CALLBACK}&login_hint=bea"
    found = httpx2.get(f"{identity.issuer}/authorize?{address}&{query}", trust_env=False)
    assert "error=" in found.headers["location"]


def test_the_program_prints_its_address_and_ends_when_it_is_told():
    line = [sys.executable, "-m", "kartra_mcp.sandbox.identity", "--port", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        found = json.loads(program.stdout.readline())
        document = httpx2.get(
            f"{found['issuer']}/.well-known/openid-configuration", trust_env=False
        ).json()
        program.send_signal(signal.SIGTERM)
        program.wait(60)
    assert document["issuer"] == found["issuer"]
    assert found["people"]["hana"] == ["heads"]
