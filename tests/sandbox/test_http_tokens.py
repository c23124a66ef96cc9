"""Authentication of the HTTP API."""

import time
from typing import Any

import jwt
import pytest
from http_process import REFUND, Ask, refunds

from kartra_mcp.sandbox.http import auth
from kartra_mcp.sandbox.store.database import Account

SOON, LONG_AGO = 600, -600
NEW = {"workspaceKey": "sandbox", "tenantKey": "sandbox", "exp": SOON}
OLD = {"iss": "sandbox", "id": "sandbox", "exp": SOON}


def signed(claims: dict[str, Any], secret: str = auth.SECRET, alg: str = "HS256") -> str:
    """Return a header with a token; times in the claims are seconds from now."""
    times = {name: time.time() + claims[name] for name in ("exp", "nbf") if name in claims}
    return f"Bearer {jwt.encode({**claims, **times}, secret, alg)}"


@pytest.mark.parametrize(
    ("claims", "alg"),
    [
        (NEW, "HS256"), (OLD, "HS256"), ({**NEW, "name": "x", "fields": {}}, "HS512"),
        ({"workspaceKey": "sandbox", "isAdmin": True, "exp": SOON}, "HS256"),
    ],
)  # fmt: skip
def test_a_token_signed_with_the_secret_is_accepted(api: Ask, claims: dict[str, Any], alg: str):
    header = {"authorization": signed(claims, alg=alg)}
    assert api("GET /connections", headers=header)["items"]


def test_a_token_that_begins_like_ours_is_taken(api: Ask):
    assert api("GET /self", headers={"authorization": "bearer pat-sandbox-of-mine"})


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({**NEW, "exp": LONG_AGO}, auth.SECRET, "HS256"),
    ({"workspaceKey": "sandbox", "tenantKey": "sandbox"}, auth.SECRET, "HS256"),
    ({**NEW, "nbf": SOON}, auth.SECRET, "HS256"),
    ({**NEW, "workspaceKey": "other"}, auth.SECRET, "HS256"),
    ({**NEW, "tenantKey": "other"}, auth.SECRET, "HS256"),
    ({"workspaceKey": "sandbox", "exp": SOON}, auth.SECRET, "HS256"),
    (NEW, "x" * 64, "HS256"),
    (NEW, "", "none"),
]


@pytest.mark.parametrize(("claims", "secret", "alg"), WRONG)
def test_other_signed_tokens_are_not(api: Ask, claims: dict[str, Any], secret: str, alg: str):
    header = {"authorization": signed(claims, secret, alg)}
    assert api("GET /connections", 401, headers=header)["key"] == "not_authenticated"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Basic pat-sandbox", "Bearer pat-x", "Bearer x.y.z"]
)
@pytest.mark.parametrize("what", ["POST /act", "GET /nowhere"])
def test_every_other_token_is_refused_on_every_path(
    api: Ask, live: Account, header: str, what: str
):
    error = api(what, 401, json=REFUND, headers={"authorization": header})
    assert (error["type"], error["key"]) == ("bad_request", "not_authenticated")
    assert refunds(live) == 0
    assert live.journal()[-1]["argv"][:2] == what.split()


def test_a_login_that_has_expired_shuts_this_door_too(api: Ask, live: Account):
    live.set("login", "no")
    assert api("GET /connections", 401)["key"] == "not_authenticated"
