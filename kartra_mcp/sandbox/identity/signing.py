"""Signing keys of the stand-in, their JWKS, and JWTs made with them."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

_MAKERS: Mapping[str, Callable[[], Any]] = {
    "RS": lambda: rsa.generate_private_key(65537, 2048),
    "PS": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key for one algorithm."""

    algorithm: str
    private: Any
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def generate(cls, algorithm: str) -> SigningKey:
        make = _MAKERS.get(algorithm) or _MAKERS[algorithm[:2]]
        return cls(algorithm, make())

    def as_jwk(self) -> dict[str, Any]:
        """Return the public key as a JWK."""
        kind = get_default_algorithms()[self.algorithm]
        public = json.loads(kind.to_jwk(self.private.public_key()))
        public.pop("key_ops", None)
        return {**public, "kid": self.id, "alg": self.algorithm, "use": "sig"}

    def sign(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """Return a JWT. A value None in `header` leaves the parameter out."""
        full = {"alg": self.algorithm, "kid": self.id, "typ": "JWT", **(header or {})}
        return self.sign_raw(full, json.dumps(claims).encode())

    def sign_raw(self, header: Mapping[str, Any], payload: bytes) -> str:
        """Return a JWS of any header and payload, signed with this key's algorithm."""
        written = json.dumps({name: one for name, one in header.items() if one is not None})
        content = f"{encode(written.encode())}.{encode(payload)}"
        signature = get_default_algorithms()[self.algorithm].sign(content.encode(), self.private)
        return f"{content}.{encode(signature)}"


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def hash_token(token: str, algorithm: str) -> str:
    """Return `at_hash` of an access token that comes with an ID token of this algorithm."""
    digest = hashlib.new(f"sha{algorithm[-3:]}", token.encode()).digest()
    return encode(digest[: len(digest) // 2])


def read_claims(token: str) -> dict[str, Any]:
    """Return the claims of a JWT of the stand-in's own."""
    return jwt.decode(token, options={"verify_signature": False})
