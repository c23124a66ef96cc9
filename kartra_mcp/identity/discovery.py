"""Discovery document of an issuer (OpenID Connect Discovery 1.0) to `ProviderMetadata`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.json_types import is_array
from kartra_mcp.identity.endpoints import is_endpoint_of
from kartra_mcp.identity.refusals import IssuerUnavailable

BASIC, POST = "client_secret_basic", "client_secret_post"


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """Endpoints of an issuer; "" where it has none.

    Attributes:
        sends_issuer: its authorization responses carry `iss` (RFC 9207).
        token_auth_methods: ways in which a client authenticates at the token endpoint.
        has_one_subject: a user may have one `sub` for all clients, and not one for each.
    """

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    userinfo_endpoint: str = ""
    sends_issuer: bool = False
    token_auth_methods: tuple[str, ...] = (BASIC,)
    has_one_subject: bool = True


def parse_metadata(issuer: str, document: Mapping[str, Any]) -> ProviderMetadata:
    """Check a discovery document.

    Raises:
        IssuerUnavailable: it is of another issuer, has no keys, or names an unsafe endpoint.
    """
    if document.get("issuer") != issuer:
        raise IssuerUnavailable("its discovery document names another issuer")
    jwks_uri = _read_endpoint(issuer, document, "jwks_uri")
    if not jwks_uri:
        raise IssuerUnavailable("its discovery document has no jwks_uri")
    return ProviderMetadata(
        issuer=issuer,
        jwks_uri=jwks_uri,
        authorization_endpoint=_read_endpoint(issuer, document, "authorization_endpoint"),
        token_endpoint=_read_endpoint(issuer, document, "token_endpoint"),
        userinfo_endpoint=_read_endpoint(issuer, document, "userinfo_endpoint"),
        sends_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        token_auth_methods=_read_methods(document),
        has_one_subject=_has_one_subject(document),
    )


def _read_endpoint(issuer: str, document: Mapping[str, Any], name: str) -> str:
    found = document.get(name, "")
    if found == "":
        return ""
    if not isinstance(found, str) or not is_endpoint_of(issuer, found):
        raise IssuerUnavailable(f"{name} in its discovery document is not an https address")
    return found


def _has_one_subject(document: Mapping[str, Any]) -> bool:
    """Return False for an issuer that names pairwise subjects as the only ones that it has."""
    found = document.get("subject_types_supported")
    return not is_array(found) or "pairwise" not in found or "public" in found


def _read_methods(document: Mapping[str, Any]) -> tuple[str, ...]:
    found = document.get("token_endpoint_auth_methods_supported")
    if not is_array(found):
        return (BASIC,)  # the default of the specification
    return tuple(name for name in found if isinstance(name, str))
