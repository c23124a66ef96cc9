"""Access tokens: every bad one as a table, and the principal of a good one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bad_tokens import BAD, Made, claims, forged_claims, header, timed, token
from team_identity import MAIN, PUBLIC, SHOP, Service

from kartra_mcp.core.principal import SCOPES, make_token_key
from kartra_mcp.identity.refusals import NotAMember, TokenFault, TokenRefused
from kartra_mcp.identity.verifier import accepted_audiences
from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.sandbox.identity.server import running_identity

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def identity():
    with running_identity() as found:
        yield found


@pytest.fixture
def service(identity: IdentityProvider) -> Service:
    return Service(identity)


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_token_is_refused_with_its_reason(
    identity: IdentityProvider, service: Service, case: str
):
    make, fault = BAD[case]
    text = make(identity)
    with pytest.raises(TokenRefused) as refused:
        await service.verifier.verify(text, "main")
    assert refused.value.fault is fault
    assert refused.value.error == "invalid_token"
    for part in (text, *text.split(".")):
        assert len(part) < 12 or part not in f"{refused.value} {refused.value.description}"


async def test_a_bad_token_stays_bad_and_a_good_one_is_accepted_after_it(
    identity: IdentityProvider, service: Service
):
    bad = forged_claims(identity)
    for _ in range(2):
        with pytest.raises(TokenRefused):
            await service.verifier.verify(bad, "main")
    found = await service.verifier.verify(token()(identity), "main")
    assert found.roles == {"operator"}


GOOD: dict[str, Made] = {
    "at+jwt": token(),
    "application/at+jwt": header(typ="application/at+jwt"),
    "AT+JWT": header(typ="AT+JWT"),
    "JWT": header(typ="JWT"),
    "no typ": header(typ=None),
    "ES256": lambda i: token(key=i.find_key("ES256"))(i),
    "no kid, one key of the algorithm": header(kid=None),
    "several audiences": claims(aud=["other", MAIN]),
    "not before a second ago": timed(nbf=-1),
    "issued by a clock that is ahead": timed(iat=20, exp=600),
    "expired within the leeway": timed(iat=-600, exp=-10),
    "a lifetime of Entra ID": timed(iat=-10, exp=5_300),
    "at+jwt with a nonce": claims(nonce="n"),
    "a list of scopes": claims(scope=None, scp=list(SCOPES)),
    "scp as a text": claims(scope=None, scp=" ".join(SCOPES)),
    "x5t of a certificate": header(x5t="abc"),
}


@pytest.mark.parametrize("case", GOOD)
async def test_a_good_token_has_its_principal(
    identity: IdentityProvider, service: Service, case: str
):
    found = await service.verifier.verify(GOOD[case](identity), "main")
    assert (found.issuer, found.subject, found.name) == (identity.issuer, "sam", "Sam Support")
    assert (found.client_id, found.roles, found.is_user) == ("kartra-cli", {"operator"}, True)
    assert found.scopes == set(SCOPES)
    assert found.claims == {"support"}


@pytest.mark.parametrize(
    ("other", "known_by"),
    [
        ({"jti": "one"}, "one"),
        ({"jti": "one", "uti": "two"}, "one"),
        ({"jti": None, "uti": "two"}, "two"),
        ({"jti": 7}, ""),
        ({"jti": ""}, ""),
    ],
)
async def test_a_token_is_known_by_its_id(
    identity: IdentityProvider, service: Service, other: dict[str, Any], known_by: str
):
    found = await service.verifier.verify(claims(**other)(identity), "main")
    assert found.token_key == (make_token_key(identity.issuer, known_by) if known_by else "")


@pytest.mark.parametrize(
    ("given", "scopes"),
    [
        ({"scope": "openid kartra:read"}, {"kartra:read"}),
        ({"scope": "kartra:reader KARTRA:WRITE"}, set[str]()),
        ({"scope": None}, set[str]()),
        ({"scope": 7}, set[str]()),
        ({"scope": None, "scp": ["kartra:money", 7]}, {"kartra:money"}),
    ],
)
async def test_scopes_are_only_those_of_the_service(
    identity: IdentityProvider, service: Service, given: dict[str, Any], scopes: set[str]
):
    found = await service.verifier.verify(claims(**given)(identity), "main")
    assert found.scopes == scopes


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"name": "Ada  \u202e Lovelace\n"}, "Ada Lovelace"),
        ({"name": "ada@example.com"}, "ada"),
        ({"name": None, "preferred_username": "ada@example.com"}, "ada"),
        ({"name": "x" * 500}, "x" * 79 + "…"),
        ({"name": ["a"]}, None),
        ({"name": None}, None),
        ({"name": "@"}, None),
    ],
)
async def test_a_name_is_cleaned_bounded_and_no_address(
    identity: IdentityProvider, service: Service, given: dict[str, Any], name: str | None
):
    found = await service.verifier.verify(claims(**given)(identity), "main")
    assert found.name == (name or f"user {found.key[:8]}")


@pytest.mark.parametrize("oid", [None, "", 7, "a\nb", "x" * 256])
async def test_a_token_without_a_claim_that_names_its_user_is_refused(
    identity: IdentityProvider, oid: object
):
    named = Service(identity, subject_claims="oid")
    with pytest.raises(TokenRefused) as refused:
        await named.verifier.verify(claims(oid=oid)(identity), "main")
    assert refused.value.fault is TokenFault.CLAIMS


@pytest.mark.parametrize(
    "given",
    [
        {"sub": "kartra-cli"},
        {"sub": "robot", "client_id": None, "azp": "robot"},
        {"gty": "client-credentials"},
        {"idtyp": "app"},
        {"preferred_username": "service-account-kartra-cli"},
        {"sub": "kartra-cli", "amr": ["pwd"]},
    ],
)
async def test_an_agent_of_no_user_is_no_user(
    identity: IdentityProvider, service: Service, given: dict[str, Any]
):
    found = await service.verifier.verify(claims(**given)(identity), "main")
    assert not found.is_user


MEMBERS: list[tuple[str, str, set[str] | None]] = [
    ("sam", "main", {"operator"}),
    ("bea", "main", {"requester"}),
    ("hana", "main", {"approver"}),
    ("ada", "main", {"auditor"}),
    ("ida", "main", {"admin"}),
    ("noah", "main", None),
    ("sam", "shop", None),
    ("bea", "shop", {"requester"}),
    ("ida", "shop", None),
    ("bea", "none", None),
]


@pytest.mark.parametrize(("login", "account", "roles"), MEMBERS)
async def test_roles_are_those_of_members_of_the_account(
    identity: IdentityProvider, service: Service, login: str, account: str, roles: set[str] | None
):
    text = identity.access_token(login, f"{PUBLIC}/a/{account}/mcp")
    if roles is None:
        with pytest.raises(NotAMember):
            await service.verifier.verify(text, account)
    else:
        assert (await service.verifier.verify(text, account)).roles == roles


async def test_a_role_of_one_team_is_no_role_in_another(
    identity: IdentityProvider, service: Service
):
    """Support may use `main` only; that membership gives nothing in `shop`."""
    text = claims(groups=["support", "billing"], aud=[MAIN, SHOP])(identity)
    assert (await service.verifier.verify(text, "main")).roles == {"operator", "requester"}
    assert (await service.verifier.verify(text, "shop")).roles == {"requester"}


async def test_an_account_that_does_not_exist_is_answered_as_one_of_others(
    identity: IdentityProvider, service: Service
):
    """With a token for `main`, and with one for the address itself."""
    for account in ("shop", "none", "x" * 200):
        with pytest.raises(TokenRefused) as refused:
            await service.verifier.verify(token()(identity), account)
        assert refused.value.fault is TokenFault.AUDIENCE
        own = token(audience=f"{PUBLIC}/a/{account}/mcp")(identity)
        with pytest.raises(NotAMember):
            await service.verifier.verify(own, account)


def test_an_audience_that_accounts_share_is_accepted_for_a_name_without_an_account(
    service: Service,
):
    """Otherwise its token would get 403 from an account of others, and 401 from none."""
    shared = {
        name: replace(account, audiences=("application", name))
        for name, account in service.config.accounts.items()
    }
    config = replace(service.config, accounts=shared)
    assert set(accepted_audiences(config, "main")) == {"application", "main"}
    assert set(accepted_audiences(config, "none")) == {"application", f"{PUBLIC}/a/none/mcp"}


@pytest.mark.parametrize("groups", [None, 7, "it", {"it": True}, [["it"]], ["it"] * 1_001])
async def test_a_roles_claim_of_another_type_gives_nothing_more(
    identity: IdentityProvider, service: Service, groups: Any
):
    text = claims(groups=groups)(identity)
    if groups == "it":
        assert (await service.verifier.verify(text, "main")).roles == {"admin"}
        return
    with pytest.raises(NotAMember):
        await service.verifier.verify(text, "main")


async def test_a_verified_token_is_known_until_it_ends(
    identity: IdentityProvider, service: Service
):
    text = timed(iat=0, exp=200)(identity)
    first = await service.verifier.verify(text, "main")
    assert await service.verifier.verify(text, "main") is first
    with pytest.raises(TokenRefused):
        await service.verifier.verify(text, "shop")
    service.clock.passed = 231
    with pytest.raises(TokenRefused) as refused:
        await service.verifier.verify(text, "main")
    assert refused.value.fault is TokenFault.EXPIRED


async def test_a_key_that_its_issuer_withdrew_ends_within_minutes(service: Service):
    text = token()(service.identity)
    await service.verifier.verify(text, "main")
    service.identity.rotate(keep_old=False)
    service.clock.passed = 601
    with pytest.raises(TokenRefused) as refused:
        await service.verifier.verify(text, "main")
    assert refused.value.fault is TokenFault.UNKNOWN_KEY
