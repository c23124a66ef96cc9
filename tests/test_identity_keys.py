"""Keys and metadata of issuers: rotation, attacks on the cache, and documents that are wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest
from jwt.algorithms import ECAlgorithm
from team_identity import MAIN, Service

from kartra_mcp.core.principal import Principal
from kartra_mcp.identity.discovery import parse_metadata
from kartra_mcp.identity.endpoints import is_endpoint_of, make_discovery_url
from kartra_mcp.identity.refusals import IssuerUnavailable, TokenFault, TokenRefused
from kartra_mcp.identity.signatures import parse_key_set
from kartra_mcp.sandbox.identity.provider import DocumentFault, IdentityProvider
from kartra_mcp.sandbox.identity.server import running_identity
from kartra_mcp.sandbox.identity.signing import SigningKey

pytestmark = pytest.mark.anyio

FOREIGN, LEAKED = SigningKey.generate("RS256"), SigningKey.generate("ES256")
DISCOVERY, JWKS = "/.well-known/openid-configuration", "/jwks"


@pytest.fixture(scope="module")
def running() -> Iterator[IdentityProvider]:
    with running_identity() as found:
        yield found


@pytest.fixture
def identity(running: IdentityProvider) -> IdentityProvider:
    """The stand-in without faults, with one key of each algorithm and no requests counted."""
    running.keys = running.keys[-2:]
    running.faults = type(running.faults)()
    running.requests.clear()
    return running


@pytest.fixture
def service(identity: IdentityProvider) -> Service:
    return Service(identity)


async def verify(service: Service, **parts: Any) -> Principal:
    text = service.identity.access_token("sam", MAIN, **parts)
    return await service.verifier.verify(text, "main")


async def fault_of(service: Service, **parts: Any) -> TokenFault:
    with pytest.raises(TokenRefused) as refused:
        await verify(service, **parts)
    return refused.value.fault


async def test_concurrent_first_calls_share_one_fetch(service: Service):
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(verify, service)
    assert service.identity.requests == {DISCOVERY: 1, JWKS: 1}


async def test_random_key_ids_cause_one_fetch_and_do_no_harm(service: Service):
    await verify(service)
    service.clock.passed = 40
    for number in range(200):
        assert await fault_of(service, header={"kid": f"k{number}"}) is TokenFault.UNKNOWN_KEY
    assert service.identity.requests == {DISCOVERY: 1, JWKS: 2}
    assert (await verify(service)).subject == "sam"


async def test_random_key_ids_while_the_issuer_is_down_empty_nothing(service: Service):
    await verify(service)
    service.identity.faults.keys = "down"
    service.clock.passed = 40
    for number in range(20):
        with pytest.raises(IssuerUnavailable, match="status 503"):
            await verify(service, header={"kid": f"k{number}"})
    assert service.identity.requests[JWKS] == 2
    assert (await verify(service)).subject == "sam"


async def test_both_keys_work_while_a_key_rotates(service: Service):
    old = service.identity.find_key()
    await verify(service)
    service.identity.rotate()
    service.clock.passed = 31
    async with anyio.create_task_group() as tasks:  # all of them wait for the one fetch
        for _ in range(30):
            tasks.start_soon(verify, service)
    assert (await verify(service, key=old)).subject == "sam"
    assert service.identity.requests[JWKS] == 2


async def test_a_token_without_a_key_id_needs_an_issuer_with_one_key(service: Service):
    old = service.identity.find_key()
    assert (await verify(service, header={"kid": None})).subject == "sam"
    service.identity.rotate()
    service.clock.passed = 601
    for key in (old, None):
        now = int(service.clock.wall())
        claims = {"iat": now, "exp": now + 600}
        fault = await fault_of(service, key=key, header={"kid": None}, claims=claims)
        assert fault is TokenFault.UNKNOWN_KEY


async def test_a_new_key_waits_for_the_interval(service: Service):
    """Published within 30 seconds of the last fetch, it is not known yet; then it is."""
    await verify(service)
    service.identity.rotate()
    assert await fault_of(service) is TokenFault.UNKNOWN_KEY
    service.clock.passed = 31
    assert (await verify(service)).subject == "sam"


async def test_a_withdrawn_key_is_dropped_at_the_next_refresh(service: Service):
    old = service.identity.find_key()
    await verify(service)
    service.identity.rotate(keep_old=False)
    service.clock.passed = 601
    now = int(time.time())
    late = {"iat": now + 590, "exp": now + 1_200}
    assert await fault_of(service, key=old, claims=late) is TokenFault.UNKNOWN_KEY


async def test_old_keys_are_kept_for_a_day_while_no_fetch_succeeds(service: Service):
    await verify(service)
    for fault in ("down", "garbage", "empty", "huge", "list", "redirect"):
        service.identity.faults.keys = fault
        service.clock.passed += 700
        now = int(service.clock.wall())
        late = {"iat": now, "exp": now + 600}
        assert (await verify(service, claims=late)).subject == "sam"
    service.clock.passed = 90_000
    with pytest.raises(IssuerUnavailable):
        await verify(service)


DOCUMENTS: list[tuple[DocumentFault, str]] = [
    ("down", "answered with status 503"),
    ("huge", "larger than 256 KiB"),
    ("garbage", "not JSON"),
    ("empty", "names another issuer|no usable key"),
    ("list", "not a JSON object"),
    ("redirect", "answered with status 307"),
    ("slow", "did not arrive in 0.2 s"),
]


@pytest.mark.parametrize("document", ["keys", "discovery"])
@pytest.mark.parametrize(("fault", "reason"), DOCUMENTS)
async def test_a_document_that_cannot_be_used_judges_no_token(
    identity: IdentityProvider, document: str, fault: DocumentFault, reason: str
):
    service = Service(identity, timeout=0.2 if fault == "slow" else 5.0)
    setattr(identity.faults, document, fault)
    with pytest.raises(IssuerUnavailable, match=reason):
        await verify(service)
    before = dict(identity.requests)
    setattr(identity.faults, document, "")
    with pytest.raises(IssuerUnavailable, match=reason):
        await verify(service)
    assert identity.requests == before  # 5 seconds between two tries
    service.clock.passed = 6
    service = service if fault != "slow" else Service(identity)
    assert (await verify(service)).subject == "sam"


async def test_a_caller_that_hangs_up_does_not_end_the_fetch(identity: IdentityProvider):
    service = Service(identity, timeout=0.3)
    identity.faults.discovery = "slow"
    with anyio.move_on_after(0.01), suppress(IssuerUnavailable):
        await verify(service)
    assert identity.requests[DISCOVERY] == 1
    with pytest.raises(IssuerUnavailable, match="did not arrive"):
        await verify(service)
    assert identity.requests[DISCOVERY] == 1


async def test_other_requests_go_on_while_keys_are_fetched(identity: IdentityProvider):
    service = Service(identity)
    await verify(service)
    slow = Service(identity, timeout=0.3)
    identity.faults.discovery = "slow"
    order: list[str] = []

    async def fetch() -> None:
        with pytest.raises(IssuerUnavailable):
            await verify(slow)
        order.append("slow")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fetch)
        await anyio.lowlevel.checkpoint()
        await verify(service)
        order.append("known")
    assert order == ["known", "slow"]


FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"issuer": "https://login.example.org"}, "another issuer"),
    ({"issuer": None}, "another issuer"),
    ({"jwks_uri": None}, "no jwks_uri"),
    ({"jwks_uri": ["x"]}, "jwks_uri"),
    ({"jwks_uri": "http://login.example.com/jwks"}, "jwks_uri"),
    ({"jwks_uri": "file:///etc/passwd"}, "jwks_uri"),
    ({"jwks_uri": "https://user@login.example.com/"}, "jwks_uri"),
    ({"token_endpoint": "http://10.0.0.1/token"}, "token_endpoint"),
    ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint"),
    ({"userinfo_endpoint": 7}, "userinfo_endpoint"),
]


@pytest.mark.parametrize(("fields", "reason"), FIELDS)
async def test_a_discovery_document_that_is_wrong_is_refused(
    service: Service, fields: dict[str, Any], reason: str
):
    service.identity.faults.discovery_fields = fields
    with pytest.raises(IssuerUnavailable, match=reason):
        await verify(service)
    assert JWKS not in service.identity.requests


@pytest.mark.parametrize(
    ("issuer", "address", "safe"),
    [
        ("https://a.example", "https://b.example/jwks?p=1", True),
        ("https://a.example", "http://b.example/jwks", False),
        ("https://a.example", "http://127.0.0.1/jwks", False),
        ("https://a.example", "https://localhost/jwks", False),
        ("https://a.example", "https://[::1]/jwks", False),
        ("http://127.0.0.1:9", "http://127.0.0.1:9/jwks", True),
        ("http://127.0.0.1:9", "http://b.example/jwks", False),
        ("https://a.example", "https://b.example:x/", False),
        ("https://a.example", "https://b.example/#f", False),
        ("https://a.example", "https://b.example\\@c.example/", False),
        ("https://a.example", "https://bé.example/", False),
        ("https://a.example", "https://b.example/" + "x" * 3_000, False),
        ("https://a.example", "//b.example/jwks", False),
    ],
)
def test_an_endpoint_is_https_or_on_the_issuers_own_machine(
    issuer: str, address: str, *, safe: bool
):
    assert is_endpoint_of(issuer, address) is safe


def test_the_discovery_document_is_below_the_issuer():
    for issuer in ("https://a.example/tenant", "https://a.example/tenant/"):
        assert make_discovery_url(issuer) == (
            "https://a.example/tenant/.well-known/openid-configuration"
        )
    document = {"issuer": "https://a.example/", "jwks_uri": "https://a.example/jwks"}
    with pytest.raises(IssuerUnavailable, match="another issuer"):
        parse_metadata("https://a.example", document)


SMALL: dict[str, Any] = {"kty": "RSA", "e": "AQAB", "n": "w" * 171, "kid": "small"}
JWK = FOREIGN.as_jwk()
PRIVATE: dict[str, Any] = {**ECAlgorithm.to_jwk(LEAKED.private, as_dict=True), "kid": "leaked"}
UNUSABLE: list[dict[str, Any]] = [
    SMALL,
    {**JWK, "use": "enc"},
    {**JWK, "key_ops": ["encrypt"]},
    {**JWK, "key_ops": "verify"},
    {**JWK, "alg": "RS512"},
    {**JWK, "alg": "HS256"},
    {**JWK, "kty": "EC"},
    {**JWK, "d": "AQAB"},
    PRIVATE,
    {**JWK, "kid": 7},
    {**JWK, "n": "!!"},
    {**JWK, "n": 7},
    {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"},
    {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
]


@pytest.mark.parametrize("entry", [*UNUSABLE, "x", None, []])
def test_a_key_that_may_not_verify_is_not_used(entry: Any):
    for document in ({"keys": [entry]}, {"keys": entry}):
        assert not parse_key_set(document, ("RS256", "ES256")).keys
    found = parse_key_set({"keys": [entry, JWK]}, ("RS256",)).keys
    assert [key_id for key_id, _ in found] == [JWK["kid"]]


def test_a_key_without_alg_serves_the_algorithms_of_its_type_only():
    entry = {name: value for name, value in JWK.items() if name != "alg"}
    found = parse_key_set({"keys": [entry]}, ("RS256", "PS256", "ES256", "EdDSA")).keys
    assert [algorithm for _, algorithm in found] == ["RS256", "PS256"]


def test_only_so_many_keys_are_read():
    entries = [{**JWK, "kid": f"k{number}"} for number in range(150)]
    assert len(parse_key_set({"keys": entries}, ("RS256",)).keys) == 100


@pytest.mark.parametrize("algorithm", ["PS256", "ES384", "ES512", "EdDSA"])
async def test_each_accepted_algorithm_verifies(identity: IdentityProvider, algorithm: str):
    key = SigningKey.generate(algorithm)
    identity.keys.append(key)
    try:
        found = await verify(Service(identity, algorithms=algorithm), key=key)
    finally:
        identity.keys.remove(key)
    assert found.subject == "sam"
