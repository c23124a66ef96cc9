"""Rules for the ID token of a login (OpenID Connect Core 1.0, 3.1.3.7). Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.identity.refusals import LoginFault, LoginRefused, TokenRefused
from kartra_mcp.identity.token_rules import (
    LEEWAY,
    check_subject,
    read_audiences,
    read_time,
)

_HASHES = {"256": "sha256", "384": "sha384", "512": "sha512", "DSA": "sha512"}
"""Hash of `at_hash` by the end of the signature's algorithm; Ed25519 has SHA-512 within."""
_TYPES = frozenset({"jwt", "application/jwt"})
MAX_ISSUE_AGE = 600.0
"""Seconds since the issue of an ID token: it comes straight from the token endpoint."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Requirements on the ID token of one login.

    Attributes:
        client_id: the page at the issuer; the audience.
        nonce: of this login.
        asked_at: time of the request.
        max_age: seconds before the request that the user may have logged in; None: any.
        acr_values: one of these is required, if there are any.
    """

    client_id: str
    nonce: str
    asked_at: float
    max_age: float | None
    acr_values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Authentication:
    """Time and strength of a login, by a verified ID token; `auth_time` None: not stated."""

    auth_time: float | None
    acr: str


def check_id_token(
    header: Mapping[str, Any], claims: Mapping[str, Any], expected: Expected, now: float
) -> Authentication:
    """Return the authentication that a signed ID token of the issuer shows.

    Raises:
        LoginRefused: it is not for this login, or the login was not fresh or strong enough.
    """
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise _refused("another type")
    try:
        check_subject(claims)
        _check_times(claims, now)
        _check_audience(claims, expected.client_id)
        auth_time = read_time(claims, "auth_time") if "auth_time" in claims else None
    except TokenRefused as problem:
        raise _refused(problem.description) from None
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(
        nonce.encode("utf-8", "replace"), expected.nonce.encode()
    ):
        raise _refused("another nonce")
    _check_freshness(auth_time, expected, now)
    acr = claims.get("acr", "")
    if expected.acr_values and acr not in expected.acr_values:
        raise LoginRefused(LoginFault.ACR)
    return Authentication(auth_time, acr if isinstance(acr, str) else "")


def check_access_token_hash(claims: Mapping[str, Any], algorithm: str, access_token: str) -> None:
    """Require that an access token came with the ID token, if that has its hash (`at_hash`).

    Raises:
        LoginRefused: the access token is another one.
    """
    if "at_hash" not in claims:
        return
    digest = hashlib.new(_HASHES[algorithm[-3:]], access_token.encode("ascii", "replace")).digest()
    half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    found = claims["at_hash"]
    if not isinstance(found, str) or not hmac.compare_digest(
        found.encode("utf-8", "replace"), half
    ):
        raise _refused("at_hash of another access token")


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    issued, expires = read_time(claims, "iat"), read_time(claims, "exp")
    not_before = read_time(claims, "nbf") if "nbf" in claims else issued
    if now >= expires + LEEWAY or now >= issued + MAX_ISSUE_AGE + LEEWAY:
        raise _refused("expired")
    if max(issued, not_before) > now + LEEWAY:
        raise _refused("not valid yet")


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    audiences = read_audiences(claims)
    if client_id not in audiences:
        raise _refused("another audience")
    if claims.get("azp", client_id) != client_id or (len(audiences) > 1 and "azp" not in claims):
        raise _refused("another authorized party")


def _check_freshness(auth_time: float | None, expected: Expected, now: float) -> None:
    """Require a login no older than `max_age` when it was asked for: the user may read a while."""
    if expected.max_age is None:
        return
    if auth_time is None:
        raise LoginRefused(LoginFault.STALE, "it has no auth_time")
    if auth_time < expected.asked_at - expected.max_age - LEEWAY:
        raise LoginRefused(LoginFault.STALE, "auth_time is too long ago")
    if auth_time > now + LEEWAY:
        raise _refused("auth_time is in the future")


def _refused(detail: str) -> LoginRefused:
    return LoginRefused(LoginFault.TOKEN, detail)
