"""A team file whose issuer is the stand-in, and a browser that logs in there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

from kartra_mcp.identity.login import LoginClient
from kartra_mcp.identity.provider_client import ProviderClient
from kartra_mcp.identity.providers import Providers
from kartra_mcp.identity.verifier import TokenVerifier
from kartra_mcp.membrane.credentials import Secret
from kartra_mcp.sandbox.identity.authorize import COOKIE
from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.team.config import TeamConfig
from kartra_mcp.team.team_file import parse_team_file

PUBLIC = "https://kartra.example.com"
MAIN, SHOP = f"{PUBLIC}/a/main/mcp", f"{PUBLIC}/a/shop/mcp"
CALLBACK = f"{PUBLIC}/page/callback"
TEAM = """
public_url: https://kartra.example.com
database: postgresql://kartra_app@127.0.0.1/kartra
page: {{issuer: {issuer}, client_id: kartra-page, client_secret_file: /secret}}
issuers:
  - issuer: {issuer}
    algorithms: [{algorithms}]{more}
    roles: {{support: operator, billing: requester, heads: approver, audit: auditor, it: admin}}
accounts:
  main:
    membrane: {{workspace_key: k, workspace_secret_file: /s, tenant_key: a, connection: one}}
  shop:
    members: [billing, heads]
    membrane: {{workspace_key: k, workspace_secret_file: /s, tenant_key: b, connection: two}}
"""


def make_team(
    issuer: str, algorithms: str = "RS256, ES256", subject_claims: str = ""
) -> TeamConfig:
    more = f"\n    subject_claims: [{subject_claims}]" if subject_claims else ""
    return parse_team_file(TEAM.format(issuer=issuer, algorithms=algorithms, more=more))


@dataclass
class Clock:
    """A clock that a test moves, for ages and for the time of day."""

    passed: float = 0.0

    def wall(self) -> float:
        return time.time() + self.passed

    def monotonic(self) -> float:
        return time.monotonic() + self.passed


@dataclass
class Service:
    """Verifier and login of a service whose issuer is the stand-in.

    `timeout` is short only where the issuer never answers.
    """

    identity: IdentityProvider
    algorithms: str = "RS256, ES256"
    subject_claims: str = ""
    timeout: float = 5.0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.config = make_team(self.identity.issuer, self.algorithms, self.subject_claims)
        client = ProviderClient(self.timeout)
        self.providers = Providers.of(self.config.issuers, client, self.clock.monotonic)
        self.verifier = TokenVerifier(self.config, self.providers, self.clock.wall)

    def login(self, client_id: str = "kartra-page", secret: str = "page-secret") -> LoginClient:
        assert self.config.page is not None
        page = type(self.config.page)(self.identity.issuer, client_id)
        kept = Secret(secret) if secret else None
        return LoginClient(page, self.providers, CALLBACK, kept, self.clock.wall)


def visit(url: str, **cookies: str) -> str:
    """Open an address of the stand-in as a browser; return the query of the callback."""
    with httpx2.Client(trust_env=False, cookies=cookies) as browser:
        found = browser.get(url)
    assert found.status_code == 303, found.text
    address = found.headers["location"]
    assert address.startswith(CALLBACK + "?")
    return urlsplit(address).query


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def changed(query: str, **fields: str | None) -> str:
    """Return the query of a callback with other fields; None leaves one out."""
    known: dict[str, str | None] = {**dict(parse_qsl(query)), **fields}
    return urlencode({name: one for name, one in known.items() if one is not None})


def log_in_at(identity: IdentityProvider, address: str, name: str, age: float = 0) -> str:
    """Log a person in with a browser that has a session of this age; return the callback.

    The person is chosen in the form where the request wants a fresh login.
    """
    assert address.startswith(f"{identity.issuer}/authorize?")
    session = identity.remember(name, age)
    with httpx2.Client(trust_env=False, cookies={COOKIE: session}) as browser:
        found = browser.get(address)
        if found.status_code == 200:
            sent = {"request": urlsplit(address).query, "login": name}
            found = browser.post(f"{identity.issuer}/login", data=sent)
    assert found.status_code == 303, found.text
    return found.headers["location"]
