"""Verify tokens and log in at a real OpenID provider: `make identity`.

Installs npm's `oidc-provider` into `build/oidc`, starts it on loopback, and checks with our own
verifier and login: a user's token for our address, a machine's, one for another address, and the
page's code flow. Exit code 1 if a check failed.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import anyio
import httpx2
from npm_package import InstallError, install
from team_identity import CALLBACK, MAIN, SHOP, Service

from kartra_mcp.core.principal import SCOPES
from kartra_mcp.identity.login_exchange import LoginOptions, make_code_challenge
from kartra_mcp.identity.principals import assign_roles
from kartra_mcp.identity.refusals import (
    LoginFault,
    LoginRefused,
    NotAMember,
    TokenFault,
    TokenRefused,
)
from kartra_mcp.sandbox.identity.provider import IdentityProvider

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "oidc"
INSTALL, END = 600, 10
"""Seconds to wait for each."""
MAX_REDIRECTS = 10


class Off(Exception):
    """A check failed."""


def main(package: str) -> int:
    try:
        install(package, FOLDER, INSTALL)
        with served() as issuer:
            anyio.run(check, issuer)
    except (Off, InstallError, subprocess.TimeoutExpired) as problem:
        sys.stderr.write(f"identity: {problem}\n")
        return 1
    sys.stdout.write(f"identity: {package} and this service understand each other.\n")
    return 0


@contextmanager
def served() -> Generator[str]:
    """Run the provider; yield its issuer once it listens."""
    node = shutil.which("node")
    if node is None:
        raise Off("Node.js is needed and was not found")
    # Its warnings are about keys, cookies and memory that a real deployment would have of its own.
    line = [node, "--no-warnings", str(ROOT / "tests" / "oidc" / "provider.mjs")]
    pipe = subprocess.PIPE
    with (
        (FOLDER / "provider.log").open("wb") as log,
        subprocess.Popen(
            [*line, str(FOLDER), CALLBACK], stdin=pipe, stdout=pipe, stderr=log, text=True
        ) as provider,
    ):
        assert provider.stdin is not None
        assert provider.stdout is not None
        try:
            introduction = next((one for one in provider.stdout if one.startswith("{")), "")
            if not introduction:
                raise Off(f"the provider did not listen; see {FOLDER / 'provider.log'}")
            yield json.loads(introduction)["issuer"]
        finally:
            provider.stdin.close()
            try:
                provider.wait(END)
            except subprocess.TimeoutExpired:
                provider.kill()


async def check(issuer: str) -> None:
    service = Service(IdentityProvider(issuer, keys=[]), algorithms="RS256")
    with httpx2.Client(trust_env=False) as browser:
        await check_user(service, fetch_user_token(browser, issuer, MAIN))
        await check_shop(service, fetch_user_token(browser, issuer, SHOP))
        await check_machine(service, issuer)
    await check_login(service)


async def check_user(service: Service, token: str) -> None:
    found = await service.verifier.verify(token, "main")
    expect("user", found.subject, "bea")
    expect("name", found.name, "Bea Billing")
    expect("client", found.client_id, "kartra-cli")
    expect("roles", set(found.roles), {"requester"})
    expect("scopes", set(found.scopes), set(SCOPES))
    expect("a user", found.is_user, True)
    await expect_fault(service, token, "shop", TokenFault.AUDIENCE)
    content, _, signature = token.rpartition(".")
    forged = f"{content}.{'A' * len(signature)}"
    await expect_fault(service, forged, "main", TokenFault.SIGNATURE)


async def check_shop(service: Service, token: str) -> None:
    found = await service.verifier.verify(token, "shop")
    expect("roles in shop", set(found.roles), {"requester"})


async def check_machine(service: Service, issuer: str) -> None:
    async def fetch(resource: str) -> str:
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(SCOPES),
            "resource": resource,
        }
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(
                f"{issuer}/token", data=form, auth=("kartra-agent", "agent-secret")
            )
        return answer.json()["access_token"]

    found = await service.verifier.verify(await fetch(MAIN), "main")
    expect("machine", (found.is_user, set(found.roles)), (False, {"operator"}))
    try:
        await service.verifier.verify(await fetch(SHOP), "shop")
    except NotAMember:
        return
    raise Off("a machine that is no member was let in")


async def check_login(service: Service) -> None:
    client = service.login()
    options = LoginOptions(max_age=0, login_hint="hana")
    start = await client.begin(options)
    with httpx2.Client(trust_env=False) as browser:
        query = follow(browser, start.url)
    found = await client.finish(start.attempt, query)
    member = assign_roles(
        found.principal, service.config.issuers[0], service.config.accounts["main"]
    )
    expect("login", (found.principal.subject, found.principal.name), ("hana", "Hana Head"))
    expect("roles of the login", member and set(member.roles), {"approver"})
    expect("auth_time", found.auth_time is not None, True)
    again = await client.begin(options)
    with httpx2.Client(trust_env=False) as browser:
        query = follow(browser, again.url)
    wrong = replace(again.attempt, verifier=secrets.token_urlsafe(48))
    await expect_refusal(client.finish(wrong, query), LoginFault.CODE)
    await expect_refusal(client.finish(start.attempt, query), LoginFault.STATE)


def fetch_user_token(browser: httpx2.Client, issuer: str, resource: str) -> str:
    """Return an access token of a user, as an MCP client gets it."""
    verifier = secrets.token_urlsafe(48)
    asked = {
        "client_id": "kartra-cli",
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": " ".join(SCOPES),
        "resource": resource,
        "code_challenge": make_code_challenge(verifier),
        "code_challenge_method": "S256",
        "login_hint": "bea",
    }
    answer = parse_qs(follow(browser, f"{issuer}/auth?{urlencode(asked)}"))
    form = {
        "grant_type": "authorization_code",
        "client_id": "kartra-cli",
        "code": answer["code"][0],
        "redirect_uri": CALLBACK,
        "code_verifier": verifier,
        "resource": resource,
    }
    return browser.post(f"{issuer}/token", data=form).json()["access_token"]


def follow(browser: httpx2.Client, url: str) -> str:
    """Follow redirects as a browser does; return the query of the callback."""
    for _ in range(MAX_REDIRECTS):
        found = browser.get(url)
        if not found.is_redirect:
            raise Off(f"the provider answered with status {found.status_code}")
        url = urljoin(url, found.headers["location"])
        if url.startswith(CALLBACK):
            return urlsplit(url).query
    raise Off("the provider redirects without an end")


def expect(what: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise Off(f"{what}: {found!r} in place of {wanted!r}")


async def expect_fault(service: Service, token: str, account: str, fault: TokenFault) -> None:
    try:
        await service.verifier.verify(token, account)
    except TokenRefused as refusal:
        expect("refusal", refusal.fault, fault)
    else:
        raise Off(f"a token was accepted that has to be refused: {fault}")


async def expect_refusal(login: Any, fault: LoginFault) -> None:
    try:
        await login
    except LoginRefused as refusal:
        expect("refusal of a login", refusal.fault, fault)
    else:
        raise Off(f"a login was accepted that has to be refused: {fault}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
