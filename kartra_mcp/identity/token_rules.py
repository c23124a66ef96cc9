"""Rules for the header and the claims of an access token (RFC 9068, RFC 8725). Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from kartra_mcp.core.json_types import is_array, is_number
from kartra_mcp.identity.refusals import TokenFault, TokenRefused

MAX_TOKEN_CHARS = 16 * 1024
LEEWAY = 30.0
"""Seconds by which clocks may differ."""
MAX_AGE = 3_600.0
"""Seconds after its issue for which a token is accepted."""
MAX_LIFETIME = 5_400.0
"""Seconds from issue to expiry: Entra ID's longest. It is accepted only for `MAX_AGE` of them."""
MAX_AUDIENCES = 20
MAX_ID_CHARS = 255
MAX_KEY_ID_CHARS = 255

_TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt", "application/jwt"})
_NOT_ACCEPTED = ("crit", "b64", "zip", "enc")
_OF_OTHER_TOKENS = ("nonce", "at_hash", "c_hash", "s_hash", "events")
_OF_ACCESS_TOKENS = ("scope", "scp", "client_id", "cid", "appid", "idtyp")
"""An ID token has none of them; its `nonce` and `at_hash` are optional."""


def check_header(header: Mapping[str, Any], algorithms: Collection[str]) -> tuple[str, str | None]:
    """Return algorithm and key id of a header. Its keys and addresses of keys are not read.

    Raises:
        TokenRefused: another algorithm or type, or a parameter that has to be understood.
    """
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise TokenRefused(TokenFault.ALGORITHM)
    if any(name in header for name in _NOT_ACCEPTED):
        raise TokenRefused(TokenFault.HEADER)
    if key_id is not None and not (isinstance(key_id, str) and len(key_id) <= MAX_KEY_ID_CHARS):
        raise TokenRefused(TokenFault.HEADER)
    return algorithm, key_id


def check_type(header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Refuse ID tokens, ID-JAGs, logout tokens and refresh tokens: same issuer, same keys.

    Some issuers send no type or `JWT` for all of their tokens; claims show which one it is.
    """
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenRefused(TokenFault.NOT_ACCESS_TOKEN)
    if kind.lower().endswith("at+jwt"):
        return
    keycloak, cognito = claims.get("typ", "Bearer"), claims.get("token_use", "access")
    if keycloak != "Bearer" or cognito != "access":
        raise TokenRefused(TokenFault.NOT_ACCESS_TOKEN)
    is_other = any(name in claims for name in _OF_OTHER_TOKENS)
    if is_other or not any(name in claims for name in _OF_ACCESS_TOKENS):
        raise TokenRefused(TokenFault.NOT_ACCESS_TOKEN)


def check_claims(claims: Mapping[str, Any], audiences: Collection[str], now: float) -> float:
    """Return the time until which a token is accepted.

    Raises:
        TokenRefused: a claim is missing, has another type, or does not permit the use now.
    """
    check_subject(claims)
    issued, expires = read_time(claims, "iat"), read_time(claims, "exp")
    not_before = read_time(claims, "nbf") if "nbf" in claims else issued
    if not any(one in audiences for one in read_audiences(claims)):
        raise TokenRefused(TokenFault.AUDIENCE)
    if now >= expires + LEEWAY:
        raise TokenRefused(TokenFault.EXPIRED)
    if max(issued, not_before) > now + LEEWAY:
        raise TokenRefused(TokenFault.NOT_YET_VALID)
    if now >= issued + MAX_AGE + LEEWAY or expires - issued > MAX_LIFETIME:
        raise TokenRefused(TokenFault.TOO_OLD)
    if "cnf" in claims:  # as a plain bearer it may be stolen (RFC 9449, RFC 8705)
        raise TokenRefused(TokenFault.SENDER_CONSTRAINED)
    return min(expires, issued + MAX_AGE) + LEEWAY


def check_subject(claims: Mapping[str, Any], name: str = "sub") -> None:
    subject = claims.get(name)
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_ID_CHARS:
        raise TokenRefused(TokenFault.CLAIMS)
    if not subject.isprintable():
        raise TokenRefused(TokenFault.CLAIMS)


def read_time(claims: Mapping[str, Any], name: str) -> float:
    found = claims.get(name)
    if not is_number(found) or not 0 <= found < 2**53 or not math.isfinite(found):
        raise TokenRefused(TokenFault.CLAIMS)
    return float(found)


def read_audiences(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return `aud` as texts; one that is neither a text nor a list of texts is refused."""
    found = claims.get("aud")
    values = [found] if isinstance(found, str) else found
    if not is_array(values) or not 0 < len(values) <= MAX_AUDIENCES:
        raise TokenRefused(TokenFault.CLAIMS)
    if not all(isinstance(one, str) and one for one in values):
        raise TokenRefused(TokenFault.CLAIMS)
    return tuple(values)
