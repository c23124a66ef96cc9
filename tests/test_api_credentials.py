"""Precedence of credentials, tokens minted from them, and secrets that never show."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from kartra_mcp.app.composition import build_app
from kartra_mcp.membrane.cli_client import CliClient
from kartra_mcp.membrane.credentials import (
    ADDRESS,
    AccessToken,
    Credentials,
    Secret,
    access_token,
    credentials_from_env,
)
from kartra_mcp.membrane.http_client import HttpClient
from kartra_mcp.settings import read_settings

TOKEN, SECRET = "pat-0123456789", "s3cret-of-a-workspace-of-the-tests"
PAIR = {"MEMBRANE_WORKSPACE_KEY": "wk", "MEMBRANE_WORKSPACE_SECRET": SECRET}
WHOLE = {**PAIR, "MEMBRANE_TENANT_KEY": "tenant"}

# Variables → the address, or why there is none.
FOUND: Mapping[str, tuple[dict[str, str], str]] = {
    "a token": ({"MEMBRANE_ACCESS_TOKEN": TOKEN}, ADDRESS),
    "a token by its other name": ({"MEMBRANE_TOKEN": TOKEN}, ADDRESS),
    "a token beside half of a pair": (
        {"MEMBRANE_TOKEN": TOKEN, "MEMBRANE_WORKSPACE_KEY": "k"},
        ADDRESS,
    ),
    "a pair with a tenant": (WHOLE, ADDRESS),
    "a pair with a test customer": ({**PAIR, "MEMBRANE_TEST_CUSTOMER_ID": "t"}, ADDRESS),
    "an address": (
        {**WHOLE, "MEMBRANE_API_URI": "https://membrane.example.com/"},
        "https://membrane.example.com",
    ),
    "an address with a path": (
        {**WHOLE, "MEMBRANE_API_URL": "https://example.com:8443/api/v1"},
        "https://example.com:8443/api/v1",
    ),
    "http on this machine": (
        {**WHOLE, "MEMBRANE_API_URI": "http://127.0.0.1:8080"},
        "http://127.0.0.1:8080",
    ),
    "http on this machine by IPv6": (
        {**WHOLE, "MEMBRANE_API_URI": "http://[::1]:8080"},
        "http://[::1]:8080",
    ),
}
LACKING: Mapping[str, tuple[dict[str, str], str]] = {
    "nothing": ({}, ""),
    "what belongs to no credentials": ({"MEMBRANE_TENANT_KEY": "t", "MEMBRANE_API_URI": "x"}, ""),
    "what a client left unfilled": ({"MEMBRANE_ACCESS_TOKEN": "${MEMBRANE_ACCESS_TOKEN}"}, ""),
    "a blank": ({"MEMBRANE_ACCESS_TOKEN": "  "}, ""),
    "a key alone": (
        {"MEMBRANE_WORKSPACE_KEY": "k"},
        "MEMBRANE_WORKSPACE_SECRET and MEMBRANE_TENANT_KEY are not set",
    ),
    "a pair without a tenant": (PAIR, "MEMBRANE_TENANT_KEY is not set"),
    "a secret alone": (
        {"MEMBRANE_WORKSPACE_SECRET": SECRET, "MEMBRANE_TENANT_KEY": "t"},
        "MEMBRANE_WORKSPACE_KEY is not set",
    ),
    "a token with a line break": ({"MEMBRANE_ACCESS_TOKEN": "pat-1234\r\nX: y"}, "too short, or"),
    "a token of another script": ({"MEMBRANE_ACCESS_TOKEN": "pat-ключ-123"}, "too short, or"),
    "a token of three letters": ({"MEMBRANE_ACCESS_TOKEN": "pat"}, "too short, or"),
    **{
        f"the address {address}": (
            {**WHOLE, "MEMBRANE_API_URI": address},
            "MEMBRANE_API_URI is not an https address",
        )
        for address in (
            "http://api.getmembrane.com", "api.getmembrane.com", "ftp://example.com", "https://",
            "https://ann:pw@example.com", "https://example.com?x=1", "https://example.com/#x",
            "https://example.com:99999", "https://[::1", "http://127.0.0.1.example.com",
            "http://localhost@example.com", "https://exämple.com", "https://example.com/a b",
            "javascript:alert(1)", "file:///etc/passwd", "https://example.com:0",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_can_be_used(name: str):
    environment, address = FOUND[name]
    found, lacks = credentials_from_env(environment)
    assert found is not None
    assert (found.address, lacks) == (address, "")


@pytest.mark.parametrize("name", LACKING)
def test_what_cannot_be_used_says_why_and_shows_no_value(name: str):
    environment, why = LACKING[name]
    found, lacks = credentials_from_env(environment)
    assert found is None
    assert why in lacks
    assert bool(why) == bool(lacks)
    assert not any(value in lacks for value in environment.values() if len(value) > 3)


def test_a_token_that_was_given_is_sent_as_it_is():
    found, _ = credentials_from_env({**WHOLE, "MEMBRANE_ACCESS_TOKEN": TOKEN})
    assert found is not None
    assert access_token(found, 5.0).token.reveal() == TOKEN
    assert access_token(found, 5.0).is_valid(1e12)


def test_a_token_is_minted_as_membrane_documents():
    found, _ = credentials_from_env(WHOLE)
    assert found is not None
    made = access_token(found, 1_800_000_000.9)
    claims = jwt.decode(
        made.token.reveal(), SECRET, algorithms=["HS256"], options={"verify_exp": False}
    )
    assert claims == {"workspaceKey": "wk", "tenantKey": "tenant", "exp": 1_800_000_300}
    assert jwt.get_unverified_header(made.token.reveal()) == {"alg": "HS256", "typ": "JWT"}


@pytest.mark.parametrize(("left", "good"), [(61.0, True), (60.0, False), (0.0, False), (-9, False)])
def test_the_next_token_is_minted_a_minute_before(left: float, good: bool):  # noqa: FBT001
    assert AccessToken(Secret(TOKEN), 5_000.0).is_valid(5_000.0 - left) is good


def test_a_secret_shows_nowhere_by_itself():
    settings = read_settings({}, {"HOME": "/home/ann", **WHOLE, "MEMBRANE_ACCESS_TOKEN": TOKEN})
    pair, _ = credentials_from_env(WHOLE)
    shown = [f"{x} {x!r}" for x in (settings, settings.api, pair, Secret(SECRET), vars_of(pair))]
    assert settings.uses_http_api
    assert not any(one in text for text in shown for one in (SECRET, TOKEN))
    for escape in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            escape(Secret(SECRET))


def vars_of(found: Credentials | None) -> dict[str, Any]:
    assert found is not None
    return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}


# KARTRA_MCP_TRANSPORT, variables → the transport, or the error code of every call.
WAYS: Mapping[str, tuple[str, dict[str, str], type | str]] = {
    "auto with credentials": ("auto", WHOLE, HttpClient),
    "auto without": ("auto", {}, CliClient),
    "auto with a part of them": ("auto", PAIR, CliClient),
    "nothing said": ("", WHOLE, HttpClient),
    "cli with credentials": ("cli", WHOLE, CliClient),
    "api with credentials": ("API", WHOLE, HttpClient),
    "api without": ("api", {}, "not_logged_in"),
    "api with a part of them": ("api", PAIR, "not_logged_in"),
    "a bad value with credentials": ("http", WHOLE, "program_missing"),
    "a bad value without": ("none", {}, "program_missing"),
}


@pytest.mark.parametrize("sandbox", [False, True])
@pytest.mark.parametrize("name", WAYS)
def test_the_way_to_membrane(tmp_path, name: str, sandbox: bool):  # noqa: FBT001
    said, variables, wanted = WAYS[name]
    own = {"KARTRA_MCP_TRANSPORT": said, "KARTRA_MCP_SANDBOX": "on" if sandbox else ""}
    environment = {"KARTRA_MCP_STATE_DIR": str(tmp_path), "HOME": str(tmp_path), **own}
    made = build_app(read_settings({}, {**environment, **variables}))
    command = getattr(made.membrane, "command", None)
    if sandbox:
        assert isinstance(command, tuple)
    elif isinstance(wanted, str):
        assert getattr(command, "code", None) == wanted
    else:
        assert isinstance(made.membrane, wanted)
        assert getattr(command, "code", "program_missing") == "program_missing"
    made.state.close()
