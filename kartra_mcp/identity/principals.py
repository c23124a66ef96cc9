"""Claims of a verified token to a principal, and its roles in one account. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kartra_mcp.core.display import display_value
from kartra_mcp.core.json_types import as_dict, is_array
from kartra_mcp.core.principal import SCOPES, Principal, make_principal_key, make_token_key
from kartra_mcp.identity.refusals import TokenFault, TokenRefused
from kartra_mcp.identity.token_rules import MAX_ID_CHARS, check_subject
from kartra_mcp.team.config import Issuer, TeamAccount

MAX_NAME_CHARS = 80
MAX_ROLE_VALUES = 1_000
_CLIENT_CLAIMS = ("client_id", "azp", "cid", "appid")
"""Claims of the OAuth client: RFC 9068, OpenID Connect, Okta, Entra ID."""
_TOKEN_CLAIMS = ("jti", "uti")
"""Claims of the id of a token: RFC 7519, Entra ID."""


def make_principal(claims: Mapping[str, Any], issuer: Issuer) -> Principal:
    """Return the principal of verified claims, without roles: these are of one account.

    Raises:
        TokenRefused: no claim names the user as the team file wants it.
    """
    subject, client = find_subject(claims, issuer.subject_claims), read_client_id(claims)
    is_user = not _is_machine(claims, str(claims["sub"]), client)
    return Principal(
        issuer=issuer.issuer,
        subject=subject,
        name=_read_name(claims, issuer.issuer, subject, "" if is_user else client),
        client_id=client,
        scopes=_read_scopes(claims),
        is_user=is_user,
        claims=frozenset(_read_role_values(claims, issuer.roles_claim)),
        token_key=_read_token_key(claims, issuer.issuer),
    )


def assign_roles(principal: Principal, issuer: Issuer, account: TeamAccount) -> Principal | None:
    """Return the principal with its roles in an account; None if it is not a member.

    Only values that make somebody a member give roles: a head of one team who also belongs to
    another team is no head there.
    """
    values = principal.claims & set(issuer.roles)
    if account.members is not None:
        members = principal.claims.intersection(account.members)
        if not members:
            return None
        values &= members
    elif not values:
        return None
    kept = principal.claims & {*issuer.roles, *(account.members or ())}
    return replace(principal, roles=frozenset(issuer.roles[one] for one in values), claims=kept)


def find_subject(claims: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the text that names a user in every token of an issuer, by the first claim there is.

    A `sub` may differ between the tokens of a client and the login of the page: then one person
    would be two, and could approve a request of their own.

    Raises:
        TokenRefused: the token has none of these claims, or one that is no name.
    """
    name = next((name for name in names or ("sub",) if name in claims), None)
    if name is None:
        raise TokenRefused(TokenFault.CLAIMS)
    check_subject(claims, name)
    return claims[name]


def has_role_values(claims: Mapping[str, Any], name: str) -> bool:
    """Return whether claims have the roles claim, whatever its values."""
    return _find_claim(claims, name) is not None


def read_client_id(claims: Mapping[str, Any]) -> str:
    """Return the OAuth client of a token, cleaned, or ""."""
    for name in _CLIENT_CLAIMS:
        found = claims.get(name)
        if isinstance(found, str) and found:
            return _clean(found, MAX_ID_CHARS)
    return ""


def _read_token_key(claims: Mapping[str, Any], issuer: str) -> str:
    found = (claims[name] for name in _TOKEN_CLAIMS if isinstance(claims.get(name), str))
    token_id = next(found, "")
    return make_token_key(issuer, token_id) if token_id else ""


def _is_machine(claims: Mapping[str, Any], subject: str, client: str) -> bool:
    """Return whether a token was issued to a client for itself (client credentials).

    `amr` is not looked at: it can only make a machine a user, and no such issuer is known.
    """
    own_ids = [claims.get(name) for name in _CLIENT_CLAIMS]
    marks = (
        subject in own_ids,
        claims.get("gty") == "client-credentials",  # Auth0
        claims.get("idtyp") == "app",  # Entra ID
        client != ""
        and claims.get("preferred_username") == f"service-account-{client}",  # Keycloak
    )
    return any(marks)


def _read_name(claims: Mapping[str, Any], issuer: str, subject: str, machine: str) -> str:
    """Return a name for display. An address is cut to the part before @: names stand in logs."""
    for found in (claims.get("name"), claims.get("preferred_username"), machine):
        if isinstance(found, str):
            name = _clean(found.partition("@")[0], MAX_NAME_CHARS)
            if name:
                return name
    return f"user {make_principal_key(issuer, subject)[:8]}"


def _clean(text: str, length: int) -> str:
    shown = display_value(text[: 4 * length], length)
    return "" if shown == "-" else shown


def _read_scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    found = claims.get("scope", claims.get("scp"))
    values: Iterable[Any] = found.split() if isinstance(found, str) else found or ()
    if not isinstance(found, str) and not is_array(found):
        return frozenset()
    return frozenset(scope for scope in SCOPES if scope in list(values))


def _read_role_values(claims: Mapping[str, Any], name: str) -> set[str]:
    """Return the values of the roles claim: a text or a list of texts."""
    found = _find_claim(claims, name)
    values = [found] if isinstance(found, str) else found
    if not is_array(values) or len(values) > MAX_ROLE_VALUES:
        return set()
    return {one for one in values if isinstance(one, str) and 0 < len(one) <= MAX_ID_CHARS}


def _find_claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, else by its path, such as `realm_access.roles` of Keycloak.

    A claim whose name has dots, as those of Auth0, is found first.
    """
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = as_dict(found).get(part)
    return found
