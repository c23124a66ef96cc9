"""Authentication of a request over HTTP: its bearer token to a principal, else a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

from kartra_mcp.core.principal import Principal
from kartra_mcp.identity.challenges import make_challenge, make_metadata_url, read_bearer
from kartra_mcp.identity.refusals import (
    IssuerUnavailable,
    NotAMember,
    TokenFault,
    TokenRefused,
)
from kartra_mcp.service.request_checks import list_header
from kartra_mcp.service.revocation_watch import RevocationWatch
from kartra_mcp.team.config import TeamConfig

RETRY_SECONDS = "5"


class Verifier(Protocol):
    """Verifies tokens, and the membership of their subjects."""

    async def verify(self, token: str, account: str) -> Principal:
        """Return the principal of a token that was issued for this account.

        Raises:
            TokenRefused: the token is not accepted here.
            NotAMember: it is, but its subject may not use the account, or there is no such account.
            IssuerUnavailable: the keys of its issuer cannot be fetched.
        """
        ...


class RequestRefused(Exception):
    """A request that MCP does not answer.

    Attributes:
        status: of HTTP; the response has no body.
        reason: one of a fixed set, for logs and metrics.
        headers: of the response.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


async def authenticate(
    scope: Mapping[str, Any],
    account: str,
    config: TeamConfig,
    verifier: Verifier,
    revocations: RevocationWatch,
) -> Principal:
    """Return the principal of a request; a token in its address is never read.

    Raises:
        RequestRefused: 400, 401, 403 or 503.
    """
    try:
        token = read_bearer(list_header(scope, b"authorization"))
        if token is None:
            raise _unauthorized(config, account)
        principal = await verifier.verify(token, account)
        check_access(principal, account, config, revocations)
        return principal
    except TokenRefused as refusal:
        if refusal.fault is TokenFault.REPEATED:
            raise RequestRefused(HTTPStatus.BAD_REQUEST, refusal.fault) from None
        raise _unauthorized(config, account, refusal) from None
    except NotAMember:
        raise RequestRefused(HTTPStatus.FORBIDDEN, "not_a_member") from None
    except IssuerUnavailable:
        retry = {"retry-after": RETRY_SECONDS}
        raise RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, "issuer", retry) from None


def check_access(
    principal: Principal, account: str, config: TeamConfig, revocations: RevocationWatch
) -> None:
    """Refuse a token or a person that an admin revoked.

    A new token could not help the person, so that no challenge lets the client log in again.

    Raises:
        RequestRefused: 401, 403, or 503 while that is not known.
    """
    token = revocations.has(account, principal.token_key)
    person = revocations.has(account, principal.key)
    if token is None or person is None:
        retry = {"retry-after": RETRY_SECONDS}
        raise RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, "revocations", retry)
    if token:
        raise _unauthorized(config, account, TokenRefused(TokenFault.REVOKED))
    if person:
        raise RequestRefused(HTTPStatus.FORBIDDEN, "revoked")


def _unauthorized(
    config: TeamConfig, account: str, refusal: TokenRefused | None = None
) -> RequestRefused:
    challenge = make_challenge(make_metadata_url(config.public_url, account), refusal)
    reason = "no_token" if refusal is None else str(refusal.fault)
    return RequestRefused(HTTPStatus.UNAUTHORIZED, reason, {"www-authenticate": challenge})
