"""Bearer tokens in headers, the challenge of a 401, and the metadata of a resource."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.core.principal import SCOPES
from kartra_mcp.identity.challenges import (
    make_challenge,
    make_metadata_path,
    make_metadata_url,
    make_resource_metadata,
    read_bearer,
)
from kartra_mcp.identity.refusals import (
    DESCRIPTIONS,
    LOGIN_DESCRIPTIONS,
    LoginFault,
    TokenFault,
    TokenRefused,
)
from kartra_mcp.team.config import make_endpoint

URL = "https://kartra.example.com"
PARAMETER = re.compile(r'([a-z_]+)="([^"\\]*)"')


def parse_challenge(text: str) -> dict[str, str]:
    scheme, _, rest = text.partition(" ")
    assert scheme == "Bearer"
    found = [PARAMETER.fullmatch(part) for part in rest.split(", ")]
    assert all(found)
    return {one[1]: one[2] for one in found if one}


def test_a_challenge_without_a_token_has_no_error():
    found = parse_challenge(make_challenge(make_metadata_url(URL, "main")))
    assert found == {
        "resource_metadata": f"{URL}/.well-known/oauth-protected-resource/a/main/mcp",
        "scope": "kartra:read kartra:write kartra:money",
    }


@pytest.mark.parametrize("fault", TokenFault)
def test_a_challenge_names_the_fault_in_fixed_words(fault: TokenFault):
    found = parse_challenge(make_challenge("https://x", TokenRefused(fault)))
    assert found["error"] == (
        "invalid_request" if fault is TokenFault.REPEATED else "invalid_token"
    )
    assert found["error_description"] == DESCRIPTIONS[fault]
    assert "insufficient_scope" not in found.values()


def test_every_fault_has_its_words():
    assert DESCRIPTIONS.keys() == set(TokenFault)
    assert LOGIN_DESCRIPTIONS.keys() == set(LoginFault)


@given(st.text())
def test_a_challenge_is_one_header_whatever_is_in_it(text: str):
    challenge = make_challenge(text)
    assert challenge.isascii()
    assert challenge.isprintable()
    assert challenge.count('"') == 4


@given(st.text(alphabet="abcXYZ019-._~+/", min_size=1), st.sampled_from(["", "=", "=="]))
def test_a_token_is_read_as_it_was_sent(text: str, end: str):
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert read_bearer([f"{scheme} {text}{end}"]) == text + end
    assert read_bearer([f" Bearer   {text} "]) == text


@given(st.text())
def test_no_header_raises_anything_else(text: str):
    for value in (text, f"Bearer {text}"):
        try:
            found = read_bearer([value])
        except TokenRefused as refusal:
            assert refusal.fault is TokenFault.MALFORMED  # noqa: PT017  the point of the property
        else:
            assert found is None or found in value


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], None),
        ([""], None),
        (["Basic dXNlcjpwdw=="], None),
        (["DPoP abc"], None),
        (["Bearerabc"], None),
        (["Bearer"], TokenFault.MALFORMED),
        (["Bearer "], TokenFault.MALFORMED),
        (["Bearer a b"], TokenFault.MALFORMED),
        (["Bearer a,Bearer b"], TokenFault.MALFORMED),
        (["Bearer a\nb"], TokenFault.MALFORMED),
        (["Bearer é"], TokenFault.MALFORMED),
        (["Bearer a", "Bearer a"], TokenFault.REPEATED),
        (["Bearer a", "Basic b"], TokenFault.REPEATED),
    ],
)
def test_what_is_no_single_bearer_token_is_refused(values: list[str], found: Any):
    if found is None:
        assert read_bearer(values) is None
        return
    with pytest.raises(TokenRefused) as refused:
        read_bearer(values)
    assert refused.value.fault is found


def test_the_metadata_names_the_endpoint_and_nothing_of_the_account():
    issuers = ["https://login.example.com"]
    found = make_resource_metadata(URL, "main", issuers)
    assert found["resource"] == make_endpoint(URL, "main")
    assert found["authorization_servers"] == issuers
    assert found["scopes_supported"] == list(SCOPES)
    assert found["bearer_methods_supported"] == ["header"]
    other = make_resource_metadata(URL, "none", issuers)
    assert {**found, "resource": ""} == {**other, "resource": ""}
    assert make_metadata_url(URL, "main") == URL + make_metadata_path("main")
