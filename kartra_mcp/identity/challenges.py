"""Bearer tokens in headers, challenges (RFC 6750) and resource metadata (RFC 9728). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from kartra_mcp.core.principal import SCOPES
from kartra_mcp.identity.refusals import TokenFault, TokenRefused
from kartra_mcp.team.config import TeamConfig, make_endpoint

METADATA_PREFIX = "/.well-known/oauth-protected-resource"
_SCHEME = re.compile(r"bearer(?: +(.*))?", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_NOT_QUOTABLE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")


def read_bearer(values: Sequence[str]) -> str | None:
    """Return the token in the values of all Authorization headers; None if there is none.

    Raises:
        TokenRefused: there are several headers, or what follows `Bearer` is not a token.
    """
    if not values:
        return None
    if len(values) > 1:
        raise TokenRefused(TokenFault.REPEATED)
    found = _SCHEME.fullmatch(values[0].strip(" \t"))
    if found is None:
        return None
    token = found[1] or ""
    if not _TOKEN.fullmatch(token):
        raise TokenRefused(TokenFault.MALFORMED)
    return token


def make_challenge(metadata_url: str, refusal: TokenRefused | None = None) -> str:
    """Return the value of `WWW-Authenticate` for a 401.

    It carries every scope at once: clients ask for what the first challenge names, and many never
    ask again. Without a token there is no `error` (RFC 6750, 3.1).
    """
    parameters = {"resource_metadata": metadata_url, "scope": " ".join(SCOPES)}
    if refusal is not None:
        parameters |= {"error": refusal.error, "error_description": refusal.description}
    return "Bearer " + ", ".join(f"{name}={_quote(value)}" for name, value in parameters.items())


def make_metadata_path(account: str) -> str:
    """Return the path of an account's resource metadata: the well-known part comes first."""
    return f"{METADATA_PREFIX}/a/{account}/mcp"


def make_metadata_url(public_url: str, account: str) -> str:
    return public_url + make_metadata_path(account)


def make_resource_metadata(
    public_url: str, account: str, authorization_servers: Iterable[str]
) -> dict[str, Any]:
    """Return the resource metadata of an account.

    It contains nothing of the account but the name in the request: it is served without a login,
    also for accounts that do not exist.
    """
    return {
        "resource": make_endpoint(public_url, account),
        "authorization_servers": list(authorization_servers),
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
        "resource_name": "Kartra",
    }


def list_authorization_servers(config: TeamConfig) -> tuple[str, ...]:
    return tuple(issuer.issuer for issuer in config.issuers)


def _quote(text: str) -> str:
    """Return a quoted string of the characters that RFC 6750 permits in each parameter."""
    return '"' + _NOT_QUOTABLE.sub("?", text) + '"'
