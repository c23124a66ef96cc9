"""Signatures of JWTs, and the public keys of an issuer (RFC 7515, RFC 7517), by PyJWT."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import jwt
from jwt import PyJWK, PyJWS

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.identity.refusals import TokenFault, TokenRefused
from kartra_mcp.team.config import ALGORITHMS

MAX_KEYS = 100
MIN_RSA_BITS = 2048
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_PRIVATE = frozenset({"d", "p", "q", "k", "dp", "dq", "qi", "oth"})
PublicKey = PyJWK
_JWS = PyJWS(algorithms=ALGORITHMS, options={"enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """Header and claims of a token as they are written; nothing of it is proved."""

    text: str = field(repr=False)
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeySet:
    """Public keys of an issuer by key id and algorithm; each key is of the algorithm's type."""

    keys: Mapping[tuple[str | None, str], PublicKey]

    def find(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        """Return the key of a token; one without a key id has the issuer's only key."""
        if key_id is not None:
            return self.keys.get((key_id, algorithm))
        suitable = [key for (_, name), key in self.keys.items() if name == algorithm]
        return suitable[0] if len(suitable) == 1 else None


def parse_token(text: str) -> UnverifiedToken:
    """Parse a compact JWS with three parts.

    Raises:
        TokenRefused: it is not one, or its claims are no JSON object.
    """
    try:
        found = _JWS.decode_complete(text, options={"verify_signature": False})
        claims = json.loads(found["payload"], parse_constant=_refuse_constant)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenRefused(TokenFault.MALFORMED) from None
    if not is_object(claims):
        raise TokenRefused(TokenFault.MALFORMED)
    return UnverifiedToken(text, found["header"], claims)


def verify_signature(token: UnverifiedToken, key: PublicKey, algorithm: str) -> None:
    """Raise TokenRefused unless a token is signed with a key, by this algorithm."""
    try:
        _JWS.decode_complete(token.text, key=key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        raise TokenRefused(TokenFault.SIGNATURE) from None


def parse_key_set(document: Mapping[str, Any], algorithms: Collection[str]) -> KeySet:
    """Return the usable keys of a JWKS document.

    A key is used for an algorithm only if its type and curve are the algorithm's, and its own
    `use`, `key_ops` and `alg` permit that. A key whose private part was published is not used.
    """
    entries = document.get("keys")
    found: dict[tuple[str | None, str], PublicKey] = {}
    for entry in entries[:MAX_KEYS] if is_array(entries) else ():
        if is_object(entry) and _may_verify(entry):
            for algorithm, key in _load(entry, algorithms):
                found.setdefault((entry.get("kid"), algorithm), key)
    return KeySet(found)


def _may_verify(entry: Mapping[str, Any]) -> bool:
    key_id, operations = entry.get("kid"), entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not (is_array(operations) and "verify" in operations):
        return False
    return not _PRIVATE & entry.keys() and isinstance(key_id, str | None)


def _load(entry: dict[str, Any], algorithms: Collection[str]) -> Iterator[tuple[str, PublicKey]]:
    for algorithm in algorithms:
        if algorithm not in ALGORITHMS or not _is_of_type(entry, algorithm):
            continue
        try:
            key = PyJWK(entry, algorithm)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        if getattr(key.key, "key_size", MIN_RSA_BITS) >= MIN_RSA_BITS or entry["kty"] != "RSA":
            yield algorithm, key


def _is_of_type(entry: Mapping[str, Any], algorithm: str) -> bool:
    if entry.get("alg", algorithm) != algorithm:
        return False
    kind, curve = entry.get("kty"), entry.get("crv")
    if algorithm == "EdDSA":
        return kind == "OKP" and curve in ("Ed25519", "Ed448")
    if algorithm in _CURVES:
        return kind == "EC" and curve == _CURVES[algorithm]
    return kind == "RSA"


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")
