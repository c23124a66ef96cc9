"""Login of the page at the stand-in: the code flow, and attacks on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx2
import pytest
from team_identity import CALLBACK, MAIN, Service, changed, visit

from kartra_mcp.identity.id_token_rules import check_access_token_hash
from kartra_mcp.identity.login import Login, LoginClient
from kartra_mcp.identity.login_exchange import LoginOptions, make_client_authentication
from kartra_mcp.identity.principals import assign_roles
from kartra_mcp.identity.refusals import IssuerUnavailable, LoginFault, LoginRefused
from kartra_mcp.policy.roles import page_rights
from kartra_mcp.sandbox.identity.people import OAuthClient
from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.sandbox.identity.server import running_identity
from kartra_mcp.sandbox.identity.signing import SigningKey, hash_token

pytestmark = pytest.mark.anyio

HANA = LoginOptions(max_age=300, login_hint="hana")


@pytest.fixture(scope="module")
def running() -> Iterator[IdentityProvider]:
    with running_identity() as found:
        yield found


@pytest.fixture
def identity(running: IdentityProvider) -> IdentityProvider:
    """The stand-in without faults."""
    running.faults = type(running.faults)()
    return running


@pytest.fixture
def service(identity: IdentityProvider) -> Service:
    return Service(identity)


@pytest.fixture
def client(service: Service) -> LoginClient:
    return service.login()


async def log_in(client: LoginClient, options: LoginOptions = HANA) -> Login:
    start = await client.begin(options)
    return await client.finish(start.attempt, visit(start.url))


async def refusal(client: LoginClient, options: LoginOptions = HANA) -> LoginRefused:
    with pytest.raises(LoginRefused) as refused:
        await log_in(client, options)
    return refused.value


async def test_a_login_has_its_user_and_its_time(service: Service, client: LoginClient):
    found = await log_in(client)
    principal = found.principal
    assert (principal.subject, principal.name, principal.client_id) == ("hana", "Hana Head", "")
    assert (principal.roles, principal.is_user) == (frozenset(), True)
    assert found.auth_time is not None
    assert abs(found.auth_time - time.time()) < 60
    assert found.acr
    issuer, accounts = service.config.issuers[0], service.config.accounts
    for name in ("main", "shop"):
        member = assign_roles(principal, issuer, accounts[name])
        assert member is not None
        assert member.roles == {"approver"}
        assert page_rights(member)


async def test_the_request_hides_what_proves_it(client: LoginClient):
    start = await client.begin(replace(HANA, acr_values=("a", "b"), prompt="login"))
    sent = parse_qs(urlsplit(start.url).query)
    assert sent["code_challenge_method"] == ["S256"]
    assert start.attempt.verifier not in start.url
    assert len(start.attempt.verifier) >= 43
    assert (sent["max_age"], sent["acr_values"], sent["prompt"]) == (["300"], ["a b"], ["login"])
    assert sent["redirect_uri"] == [CALLBACK]
    other = await client.begin(HANA)
    for name in ("state", "nonce", "verifier"):
        assert getattr(start.attempt, name) != getattr(other.attempt, name)


async def test_without_wishes_only_the_necessary_is_sent(client: LoginClient):
    sent = parse_qs(urlsplit((await client.begin()).url).query)
    assert not {"max_age", "acr_values", "prompt", "login_hint"} & sent.keys()


@pytest.mark.parametrize("methods", [["client_secret_post"], ["client_secret_basic"], None])
async def test_the_client_proves_itself_as_the_issuer_wants(
    identity: IdentityProvider, client: LoginClient, methods: Any
):
    identity.faults.discovery_fields = {"token_endpoint_auth_methods_supported": methods}
    assert (await log_in(client)).principal.subject == "hana"


def test_a_secret_is_encoded_for_basic_authentication():
    _, headers = make_client_authentication("a:b", "p w%", ("client_secret_basic",))
    assert headers == {"Authorization": "Basic YSUzQWI6cCt3JTI1"}


async def test_a_public_client_logs_in_without_a_secret(service: Service):
    assert (await log_in(service.login("kartra-cli", ""))).principal.subject == "hana"


async def test_a_wrong_secret_is_a_fault_of_the_service(service: Service):
    with pytest.raises(IssuerUnavailable, match="client id or secret") as problem:
        await log_in(service.login(secret="wrong-secret"))
    assert "wrong-secret" not in str(problem.value)


async def test_groups_may_be_in_the_userinfo_response_only(
    identity: IdentityProvider, client: LoginClient
):
    identity.faults.thin_id_tokens = True
    found = await log_in(client)
    assert (found.principal.name, found.principal.claims) == ("Hana Head", {"heads"})
    identity.faults.userinfo = {"sub": "ida", "groups": ["it"]}
    assert (await refusal(client)).fault is LoginFault.TOKEN


async def test_userinfo_replaces_nothing_of_the_id_token(
    identity: IdentityProvider, client: LoginClient
):
    identity.faults.thin_id_tokens = True
    identity.faults.id_claims = {"name": "Hana Head"}
    identity.faults.userinfo = {"iss": "https://other.example", "auth_time": 1, "name": "Ida IT"}
    found = await log_in(client)
    assert (found.principal.issuer, found.principal.name) == (identity.issuer, "Hana Head")
    assert found.auth_time != 1


RESPONSES: dict[str, tuple[dict[str, str | None], LoginFault]] = {
    "state of another": ({"state": "x"}, LoginFault.STATE),
    "no state": ({"state": None}, LoginFault.STATE),
    "state not ASCII": ({"state": "é"}, LoginFault.STATE),
    "issuer of another": ({"iss": "https://evil.example"}, LoginFault.ISSUER),
    "issuer with a slash": ({"iss": "http://127.0.0.1/"}, LoginFault.ISSUER),
    "issuer empty": ({"iss": ""}, LoginFault.ISSUER),
    "no issuer": ({"iss": None}, LoginFault.ISSUER),
    "an error": ({"error": "access_denied", "error_description": "<b>"}, LoginFault.DENIED),
    "no code": ({"code": None}, LoginFault.RESPONSE),
    "code empty": ({"code": ""}, LoginFault.RESPONSE),
    "code unknown": ({"code": "x"}, LoginFault.CODE),
    "long": ({"more": "x" * 9_000}, LoginFault.RESPONSE),
}


@pytest.mark.parametrize("case", RESPONSES)
async def test_a_response_that_is_wrong_makes_no_login(client: LoginClient, case: str):
    fields, fault = RESPONSES[case]
    start = await client.begin(HANA)
    query = changed(visit(start.url), **fields)
    with pytest.raises(LoginRefused) as refused:
        await client.finish(start.attempt, query)
    assert refused.value.fault is fault
    assert "<b>" not in f"{refused.value} {refused.value.detail}"


@pytest.mark.parametrize("more", ["&code=x", "&state=x", "&iss=x", "&a=1" * 30, "&state=%ff"])
async def test_a_response_with_a_field_twice_or_many_is_refused(client: LoginClient, more: str):
    start = await client.begin(HANA)
    with pytest.raises(LoginRefused) as refused:
        await client.finish(start.attempt, visit(start.url) + more)
    assert refused.value.fault is LoginFault.RESPONSE


async def test_an_issuer_that_sends_no_iss_needs_none(
    identity: IdentityProvider, client: LoginClient
):
    identity.faults.response_issuer = ""
    identity.faults.discovery_fields = {"authorization_response_iss_parameter_supported": None}
    assert (await log_in(client)).principal.subject == "hana"


async def test_a_code_is_used_once(client: LoginClient):
    start = await client.begin(HANA)
    query = visit(start.url)
    await client.finish(start.attempt, query)
    with pytest.raises(LoginRefused) as refused:
        await client.finish(start.attempt, query)
    assert refused.value.fault is LoginFault.CODE


async def test_a_code_of_another_login_is_refused(client: LoginClient):
    """The code of an attacker's login, under the state of the victim's: PKCE and nonce differ."""
    own, other = await client.begin(HANA), await client.begin(HANA)
    stolen = dict(parse_qsl(visit(other.url)))["code"]
    with pytest.raises(LoginRefused) as refused:
        await client.finish(own.attempt, changed(visit(own.url), code=stolen))
    assert refused.value.fault is LoginFault.CODE


async def test_a_code_needs_its_verifier(client: LoginClient):
    start = await client.begin(HANA)
    attempt = replace(start.attempt, verifier="v" * 43)
    with pytest.raises(LoginRefused) as refused:
        await client.finish(attempt, visit(start.url))
    assert refused.value.fault is LoginFault.CODE


async def test_a_code_of_another_client_is_refused(service: Service):
    start = await service.login("kartra-cli", "").begin(HANA)
    with pytest.raises(LoginRefused) as refused:
        await service.login().finish(start.attempt, visit(start.url))
    assert refused.value.fault is LoginFault.CODE


async def test_a_login_ends_within_ten_minutes(service: Service, client: LoginClient):
    start = await client.begin(HANA)
    query = visit(start.url)
    service.clock.passed = 601
    with pytest.raises(LoginRefused) as refused:
        await client.finish(start.attempt, query)
    assert refused.value.fault is LoginFault.EXPIRED


NOW = int(time.time())
ID_CLAIMS: dict[str, tuple[dict[str, Any], LoginFault]] = {
    "another nonce": ({"nonce": "x"}, LoginFault.TOKEN),
    "no nonce": ({"nonce": None}, LoginFault.TOKEN),
    "nonce a number": ({"nonce": 7}, LoginFault.TOKEN),
    "another audience": ({"aud": "kartra-cli"}, LoginFault.TOKEN),
    "two audiences": ({"aud": ["kartra-page", "other"]}, LoginFault.TOKEN),
    "no audience": ({"aud": None}, LoginFault.TOKEN),
    "another authorized party": ({"azp": "other"}, LoginFault.TOKEN),
    "another issuer": ({"iss": "https://evil.example"}, LoginFault.ISSUER),
    "no sub": ({"sub": None}, LoginFault.TOKEN),
    "expired": ({"iat": NOW - 500, "exp": NOW - 100}, LoginFault.TOKEN),
    "no exp": ({"exp": None}, LoginFault.TOKEN),
    "old": ({"iat": NOW - 5_000, "exp": NOW + 5_000}, LoginFault.TOKEN),
    "of the future": ({"iat": NOW + 5_000, "exp": NOW + 9_000}, LoginFault.TOKEN),
    "no auth_time": ({"auth_time": None}, LoginFault.STALE),
    "auth_time a text": ({"auth_time": "0"}, LoginFault.TOKEN),
    "stale auth_time": ({"auth_time": NOW - 400}, LoginFault.STALE),
    "auth_time of the future": ({"auth_time": NOW + 9_000}, LoginFault.TOKEN),
    "at_hash of another token": ({"at_hash": hash_token("x", "RS256")}, LoginFault.TOKEN),
    "at_hash a number": ({"at_hash": 7}, LoginFault.TOKEN),
    "at_hash not ASCII": ({"at_hash": "é"}, LoginFault.TOKEN),
}


@pytest.mark.parametrize("case", ID_CLAIMS)
async def test_an_id_token_that_is_wrong_makes_no_login(
    identity: IdentityProvider, client: LoginClient, case: str
):
    identity.faults.id_claims, fault = ID_CLAIMS[case]
    assert (await refusal(client)).fault is fault


async def test_an_issuer_need_not_send_a_hash_of_the_access_token(
    identity: IdentityProvider, client: LoginClient
):
    identity.faults.id_claims = {"at_hash": None}
    assert (await log_in(client)).principal.subject == "hana"


def test_the_hash_of_an_access_token_is_as_long_as_the_algorithm_has_it():
    """Values for the token of OpenID Connect Core 1.0, A.3, and of OpenSSL's digests."""
    token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    known = {
        "RS256": "77QmUPtjPfzWtF2AnpK9RQ",
        "PS384": "jtAeDp945y1dDqU3nkIVGNZP1HjH_MFs",
        "ES512": "q7nS86GgvvFaZkzALLWqJYaJIKw2wCDAVfCAsm5CrBM",
        "EdDSA": "q7nS86GgvvFaZkzALLWqJYaJIKw2wCDAVfCAsm5CrBM",
    }
    for algorithm, hash_ in known.items():
        check_access_token_hash({"at_hash": hash_}, algorithm, token)
        with pytest.raises(LoginRefused):
            check_access_token_hash({"at_hash": hash_}, algorithm, token + "x")


@pytest.mark.parametrize("typ", ["at+jwt", "logout+jwt", 7])
async def test_another_token_of_the_issuer_is_no_id_token(
    identity: IdentityProvider, client: LoginClient, typ: Any
):
    identity.faults.id_header = {"typ": typ}
    assert (await refusal(client)).fault is LoginFault.TOKEN


async def test_an_id_token_of_an_unknown_key_is_refused(
    identity: IdentityProvider, client: LoginClient
):
    await log_in(client)
    identity.keys.append(SigningKey.generate("RS256"))  # not fetched yet, as a foreign one
    try:
        assert (await refusal(client)).fault is LoginFault.TOKEN
    finally:
        identity.keys.pop()


async def test_a_login_that_has_to_be_fresh_may_not_be_a_session(
    service: Service, client: LoginClient
):
    """With `max_age` 0 the issuer asks again although the browser has a session."""
    session = "known"
    service.identity.sessions[session] = (service.identity.people["hana"], NOW - 3_600)
    start = await client.begin(LoginOptions(max_age=7_200))
    found = await client.finish(start.attempt, visit(start.url, idp_session=session))
    assert found.auth_time == NOW - 3_600
    fresh = await client.begin(LoginOptions(max_age=0))
    with httpx2.Client(trust_env=False, cookies={"idp_session": session}) as browser:
        form = browser.get(fresh.url)
        assert form.status_code == 200
        assert "Hana Head" in form.text
        sent = {"request": urlsplit(fresh.url).query, "login": "hugo"}
        chosen = browser.post(f"{service.identity.issuer}/login", data=sent)
    found = await client.finish(fresh.attempt, urlsplit(chosen.headers["location"]).query)
    assert found.principal.subject == "hugo"
    assert found.auth_time is not None
    assert found.auth_time > NOW - 60


async def test_the_strength_that_was_asked_for_is_required(
    identity: IdentityProvider, client: LoginClient
):
    strong = replace(HANA, acr_values=("urn:example:mfa",))
    assert (await log_in(client, strong)).acr == "urn:example:mfa"
    identity.faults.id_claims = {"acr": "urn:example:password"}
    assert (await refusal(client, strong)).fault is LoginFault.ACR
    identity.faults.id_claims = {"acr": None}
    assert (await refusal(client, strong)).fault is LoginFault.ACR


async def test_a_machine_that_logs_in_has_no_rights(
    identity: IdentityProvider, client: LoginClient
):
    identity.faults.id_claims = {"sub": "robot", "azp": "kartra-page", "gty": "client-credentials"}
    found = await log_in(client)
    assert not page_rights(replace(found.principal, roles=frozenset({"approver"})))


@pytest.mark.parametrize(
    ("names", "of_login", "of_token"),
    [
        # Entra ID: `sub` is another one for each application, `oid` is not.
        ("oid", {"sub": "of-page", "oid": "hana-1"}, {"sub": "of-api", "oid": "hana-1"}),
        # Okta: an access token has the login name as `sub`, and the id of the ID token as `uid`.
        ("uid, sub", {"sub": "hana-1"}, {"sub": "hana@example.com", "uid": "hana-1"}),
    ],
)
async def test_a_person_is_the_same_in_a_token_and_on_the_page(
    identity: IdentityProvider, names: str, of_login: dict[str, Any], of_token: dict[str, Any]
):
    service = Service(identity, subject_claims=names)
    identity.faults.id_claims = of_login
    login = await log_in(service.login())
    token = identity.access_token("hana", MAIN, claims=of_token)
    caller = await service.verifier.verify(token, "main")
    assert caller.key == login.principal.key
    assert caller.subject == "hana-1"


async def test_a_login_without_a_claim_that_names_its_user_is_refused(identity: IdentityProvider):
    assert (
        await refusal(Service(identity, subject_claims="oid").login())
    ).fault is LoginFault.TOKEN


async def test_userinfo_does_not_decide_who_logged_in(identity: IdentityProvider):
    identity.faults.thin_id_tokens = True
    identity.faults.userinfo = {"uid": "ida"}
    found = await log_in(Service(identity, subject_claims="uid, sub").login())
    assert (found.principal.subject, found.principal.claims) == ("hana", {"heads"})


async def test_an_issuer_with_pairwise_subjects_alone_needs_another_claim(
    identity: IdentityProvider,
):
    identity.faults.discovery_fields = {"subject_types_supported": ["pairwise"]}
    with pytest.raises(IssuerUnavailable, match="subject_claims"):
        await log_in(Service(identity).login())
    assert await log_in(Service(identity, subject_claims="sub").login())
    identity.faults.discovery_fields = {"subject_types_supported": ["pairwise", "public"]}
    assert await log_in(Service(identity).login())


async def test_an_issuer_that_is_down_makes_no_login(
    identity: IdentityProvider, client: LoginClient
):
    start = await client.begin(HANA)
    query = visit(start.url)
    identity.faults.token = True
    with pytest.raises(IssuerUnavailable, match="status 503"):
        await client.finish(start.attempt, query)


async def test_an_issuer_without_a_login_is_reported(identity: IdentityProvider):
    identity.faults.discovery_fields = {"token_endpoint": None}
    with pytest.raises(IssuerUnavailable, match="no endpoints for a login"):
        await Service(identity).login().begin()


def test_the_stand_in_redirects_to_registered_addresses_only(identity: IdentityProvider):
    identity.clients["strict"] = OAuthClient("strict", redirect_uris=(CALLBACK,))
    for client, address in (("strict", CALLBACK + "2"), ("kartra-page", "http://evil.example/")):
        query = urlencode({"client_id": client, "redirect_uri": address, "login_hint": "hana"})
        found = httpx2.get(f"{identity.issuer}/authorize?{query}", trust_env=False)
        assert found.status_code == 400
        assert "location" not in found.headers
