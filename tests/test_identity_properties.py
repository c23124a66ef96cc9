"""Untrusted JSON and texts at the rules of tokens and logins: a typed refusal, and nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from kartra_mcp.core.principal import SCOPES
from kartra_mcp.identity.discovery import ProviderMetadata, parse_metadata
from kartra_mcp.identity.id_token_rules import Expected, check_id_token
from kartra_mcp.identity.login_exchange import LoginAttempt, read_code
from kartra_mcp.identity.principals import MAX_NAME_CHARS, assign_roles, make_principal
from kartra_mcp.identity.refusals import IssuerUnavailable, LoginRefused, TokenRefused
from kartra_mcp.identity.signatures import parse_key_set, parse_token
from kartra_mcp.identity.token_rules import check_claims, check_header, check_type
from kartra_mcp.sandbox.identity.signing import SigningKey, encode
from kartra_mcp.team.config import ALGORITHMS, Issuer, MembraneAccess, TeamAccount

NOW = 1_000_000.0
ISSUER = Issuer("https://a.example", ALGORITHMS, "groups", {"heads": "approver"})
ACCOUNT = TeamAccount("main", "Main", ("aud",), MembraneAccess())
JWK = SigningKey.generate("ES256").as_jwk()

texts = st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=5
)


def fields(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects in which these names have any JSON."""
    return st.dictionaries(st.sampled_from(names), values)


CLAIMS = fields(
    *(
        "sub",
        "aud",
        "iat",
        "exp",
        "nbf",
        "cnf",
        "scope",
        "scp",
        "name",
        "preferred_username",
        "jti",
    ),
    *("client_id", "azp", "groups", "nonce", "typ", "token_use", "auth_time", "acr", "events"),
)
GOOD: dict[str, Any] = {"sub": "s", "aud": "aud", "iat": NOW, "exp": NOW + 60}


@given(st.text() | st.text(alphabet="abcXYZ019-_=.").map(lambda text: f"e30.{text}.{text}"))
@settings(max_examples=examples(100))
def test_any_text_is_no_token_or_refused(text: str):
    with suppress(TokenRefused):
        parse_token(text)


@given(values)
def test_any_header_is_judged(header: Any):
    text = f"{encode(json.dumps(header).encode())}.e30.AAAA"
    with suppress(TokenRefused):
        check_header(parse_token(text).header, ALGORITHMS)


@given(CLAIMS, fields("typ", "alg", "kid"))
@settings(max_examples=examples(100))
def test_any_claims_are_judged(claims: dict[str, Any], header: dict[str, Any]):
    for given_claims in (claims, {**GOOD, **claims}, {**claims, **GOOD}):
        with suppress(TokenRefused):
            check_type(header, given_claims)
            until = check_claims(given_claims, ("aud",), NOW)
            assert NOW < until <= NOW + 3_700
            assert given_claims["iat"] <= NOW + 30
        expected = Expected("aud", "n", NOW, 300, ())
        with suppress(LoginRefused):
            check_id_token(header, given_claims, expected, NOW)
            assert given_claims["nonce"] == "n"


@given(CLAIMS)
@settings(max_examples=examples(100))
def test_any_claims_make_a_principal_within_its_bounds(claims: dict[str, Any]):
    found = make_principal({**claims, "sub": "s"}, ISSUER)
    assert 0 < len(found.name) <= MAX_NAME_CHARS
    assert found.name.isprintable()
    assert "@" not in found.name
    assert found.scopes <= set(SCOPES)
    member = assign_roles(found, ISSUER, ACCOUNT)
    assert (member is not None) == ("heads" in found.claims)
    assert member is None or member.roles == {"approver"}


@given(fields("kty", "crv", "alg", "kid", "use", "key_ops", "x", "y", "n", "e", "d"), values)
@settings(max_examples=examples(100))
def test_any_key_set_is_read(entry: dict[str, Any], document: Any):
    parse_key_set({"keys": document}, ALGORITHMS)
    for kind in (
        {},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-256"},
        {"kty": "OKP", "crv": "Ed25519"},
    ):
        found = parse_key_set({"keys": [{**entry, **kind}, JWK]}, ALGORITHMS)
        assert (JWK["kid"], "ES256") in found.keys
    parse_key_set({"keys": [{**JWK, **entry}]}, ALGORITHMS)


@given(fields("issuer", "jwks_uri", "token_endpoint", "token_endpoint_auth_methods_supported"))
def test_any_discovery_document_is_judged(document: dict[str, Any]):
    for own in ({}, {"issuer": "https://a.example"}):
        with suppress(IssuerUnavailable):
            found = parse_metadata("https://a.example", {**document, **own})
            assert found.jwks_uri.startswith("https://")


@given(st.text(), texts)
def test_any_query_is_judged(query: str, state: str):
    attempt = LoginAttempt("state", "nonce", "verifier", NOW)
    metadata = ProviderMetadata("https://a.example", "https://a.example/jwks")
    for text in (query, f"state={state}&code={query}", f"state=state&{query}"):
        with suppress(LoginRefused):
            assert read_code(text, attempt, metadata, NOW)
            assert "state=state" in text
