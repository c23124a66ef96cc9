"""Bad access tokens as a table: how each is made, and the reason for which it is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from team_identity import MAIN, PUBLIC, SHOP

from kartra_mcp.identity.refusals import TokenFault
from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.sandbox.identity.signing import SigningKey, encode

Made = Callable[[IdentityProvider], str]
FOREIGN = SigningKey.generate("RS256")


def token(**parts: Any) -> Made:
    """Return the maker of a token of a person of support for `main`, with these differences."""

    def make(identity: IdentityProvider) -> str:
        given: dict[str, Any] = {"audience": MAIN, **parts}
        return identity.access_token("sam", **given)

    return make


def claims(**other: Any) -> Made:
    return token(claims=other)


def header(**other: Any) -> Made:
    return token(header=other)


def timed(**seconds: float) -> Made:
    """Return the maker of a token whose times are this many seconds from now."""

    def make(identity: IdentityProvider) -> str:
        now = int(time.time())
        return claims(**{name: now + one for name, one in seconds.items()})(identity)

    return make


def changed(part: int, text: str) -> Made:
    def make(identity: IdentityProvider) -> str:
        parts = token()(identity).split(".")
        parts[part] = text
        return ".".join(parts)

    return make


def forged_claims(identity: IdentityProvider) -> str:
    """Other claims under the signature of a good token."""
    head, body, signature = token()(identity).split(".")
    known = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{encode(json.dumps({**known, 'groups': ['heads']}).encode())}.{signature}"


def unsigned(identity: IdentityProvider) -> str:
    _, body, _ = token()(identity).split(".")
    head = encode(json.dumps({"alg": "none", "typ": "at+jwt"}).encode())
    return f"{head}.{body}."


def signed_with_public_key(identity: IdentityProvider) -> str:
    """HS256 with the published key as its secret: the classic confusion of algorithms."""
    key = identity.find_key("RS256")
    _, body, _ = token()(identity).split(".")
    head = {"alg": "HS256", "typ": "at+jwt", "kid": key.id}
    content = f"{encode(json.dumps(head).encode())}.{body}"
    secret = json.dumps(key.as_jwk()).encode()
    return f"{content}.{encode(hmac.new(secret, content.encode(), hashlib.sha256).digest())}"


def with_own_key(identity: IdentityProvider) -> str:
    """A key in the header that signed the token itself."""
    return token(key=FOREIGN, header={"jwk": FOREIGN.as_jwk()})(identity)


def key_of_other_algorithm(identity: IdentityProvider) -> str:
    """A signature of ES256 under the id of the RSA key."""
    return token(key=identity.find_key("ES256"), header={"kid": identity.find_key("RS256").id})(
        identity
    )


def raw_payload(payload: bytes) -> Made:
    def make(identity: IdentityProvider) -> str:
        key = identity.find_key()
        return key.sign_raw({"alg": key.algorithm, "kid": key.id, "typ": "at+jwt"}, payload)

    return make


def id_token(identity: IdentityProvider) -> str:
    """An ID token of a client whose id is the audience, as with Entra ID."""
    return token(claims={"nonce": "n"}, header={"typ": "JWT"})(identity)


BAD: dict[str, tuple[Made, TokenFault]] = {
    "empty": (lambda _: "", TokenFault.MALFORMED),
    "a word": (lambda _: "secret", TokenFault.MALFORMED),
    "not ASCII": (lambda _: "é.é.é", TokenFault.MALFORMED),
    "two parts": (lambda i: token()(i).rpartition(".")[0], TokenFault.MALFORMED),
    "four parts": (lambda i: token()(i) + ".x", TokenFault.MALFORMED),
    "five parts, encrypted": (lambda i: token()(i) + ".x.y", TokenFault.MALFORMED),
    "not base64": (changed(1, "!!!!"), TokenFault.MALFORMED),
    "header is a list": (changed(0, encode(b"[]")), TokenFault.MALFORMED),
    "header is deep": (changed(0, encode(b"[" * 5_000)), TokenFault.MALFORMED),
    "claims are a list": (raw_payload(b"[]"), TokenFault.MALFORMED),
    "claims are deep": (raw_payload(b"[" * 5_000), TokenFault.MALFORMED),
    "claims are NaN": (raw_payload(b'{"exp": NaN}'), TokenFault.MALFORMED),
    "claims have a huge number": (
        raw_payload(b'{"exp": ' + b"9" * 5_000 + b"}"),
        TokenFault.MALFORMED,
    ),
    "too large": (claims(more="x" * 20_000), TokenFault.TOO_LARGE),
    "no signature": (unsigned, TokenFault.ALGORITHM),
    "alg None": (header(alg="None"), TokenFault.ALGORITHM),
    "alg in lower case": (header(alg="rs256"), TokenFault.ALGORITHM),
    "alg missing": (header(alg=None), TokenFault.ALGORITHM),
    "alg a list": (header(alg=["RS256"]), TokenFault.ALGORITHM),
    "alg not the issuer's": (header(alg="PS256"), TokenFault.ALGORITHM),
    "HS256 with the public key": (signed_with_public_key, TokenFault.ALGORITHM),
    "crit": (header(crit=["exp"]), TokenFault.MALFORMED),
    "crit empty": (header(crit=[]), TokenFault.MALFORMED),
    "b64": (header(b64=True), TokenFault.HEADER),
    "zip": (header(zip="DEF"), TokenFault.HEADER),
    "kid a number": (header(kid=7), TokenFault.MALFORMED),
    "kid long": (header(kid="k" * 300), TokenFault.HEADER),
    "kid unknown": (header(kid="../../etc/passwd"), TokenFault.UNKNOWN_KEY),
    "kid missing, of an unknown key": (
        token(key=FOREIGN, header={"kid": None}),
        TokenFault.SIGNATURE,
    ),
    "own key": (token(key=FOREIGN), TokenFault.UNKNOWN_KEY),
    "own key in the header": (with_own_key, TokenFault.UNKNOWN_KEY),
    "own key at jku": (
        token(key=FOREIGN, header={"jku": "http://127.0.0.1:9/jwks", "x5u": "http://127.0.0.1:9"}),
        TokenFault.UNKNOWN_KEY,
    ),
    "own key, id of theirs": (
        lambda i: token(key=FOREIGN, header={"kid": i.find_key("RS256").id})(i),
        TokenFault.SIGNATURE,
    ),
    "key of another type": (key_of_other_algorithm, TokenFault.UNKNOWN_KEY),
    "other claims": (forged_claims, TokenFault.SIGNATURE),
    "other signature": (changed(2, encode(b"0" * 256)), TokenFault.SIGNATURE),
    "signature empty": (changed(2, ""), TokenFault.SIGNATURE),
    "ID token": (id_token, TokenFault.NOT_ACCESS_TOKEN),
    "ID token without a nonce": (
        token(claims={"scope": None, "client_id": None}, header={"typ": "JWT"}),
        TokenFault.NOT_ACCESS_TOKEN,
    ),
    "ID token of Keycloak": (
        token(claims={"typ": "ID"}, header={"typ": "JWT"}),
        TokenFault.NOT_ACCESS_TOKEN,
    ),
    "refresh token of Keycloak": (
        token(claims={"typ": "Refresh"}, header={"typ": "JWT"}),
        TokenFault.NOT_ACCESS_TOKEN,
    ),
    "ID token of Cognito": (
        token(claims={"token_use": "id"}, header={"typ": None}),
        TokenFault.NOT_ACCESS_TOKEN,
    ),
    "ID-JAG": (header(typ="oauth-id-jag+jwt"), TokenFault.NOT_ACCESS_TOKEN),
    "logout token": (header(typ="logout+jwt"), TokenFault.NOT_ACCESS_TOKEN),
    "logout token, typ JWT": (
        token(claims={"events": {}}, header={"typ": "JWT"}),
        TokenFault.NOT_ACCESS_TOKEN,
    ),
    "typ a number": (header(typ=1), TokenFault.NOT_ACCESS_TOKEN),
    "another issuer": (claims(iss="https://login.example.org"), TokenFault.ISSUER),
    "issuer with a slash": (
        lambda i: claims(iss=i.issuer + "/")(i),
        TokenFault.ISSUER,
    ),
    "issuer in capitals": (lambda i: claims(iss=i.issuer.upper())(i), TokenFault.ISSUER),
    "issuer missing": (claims(iss=None), TokenFault.ISSUER),
    "issuer a list": (lambda i: claims(iss=[i.issuer])(i), TokenFault.ISSUER),
    "no sub": (claims(sub=None), TokenFault.CLAIMS),
    "sub empty": (claims(sub=""), TokenFault.CLAIMS),
    "sub a number": (claims(sub=7), TokenFault.CLAIMS),
    "sub long": (claims(sub="s" * 300), TokenFault.CLAIMS),
    "sub with a control character": (claims(sub="sam\n"), TokenFault.CLAIMS),
    "no exp": (claims(exp=None), TokenFault.CLAIMS),
    "exp a text": (claims(exp="9999999999"), TokenFault.CLAIMS),
    "exp true": (claims(exp=True), TokenFault.CLAIMS),
    "exp negative": (claims(exp=-1), TokenFault.CLAIMS),
    "exp without bound": (claims(exp=10**18), TokenFault.CLAIMS),
    "no iat": (claims(iat=None), TokenFault.CLAIMS),
    "nbf a text": (claims(nbf="0"), TokenFault.CLAIMS),
    "no aud": (claims(aud=None), TokenFault.CLAIMS),
    "aud empty": (claims(aud=[]), TokenFault.CLAIMS),
    "aud a number in the list": (claims(aud=[MAIN, 7]), TokenFault.CLAIMS),
    "aud many": (claims(aud=[MAIN] * 21), TokenFault.CLAIMS),
    "aud of the other account": (token(audience=SHOP), TokenFault.AUDIENCE),
    "aud with a slash": (token(audience=MAIN + "/"), TokenFault.AUDIENCE),
    "aud a prefix": (token(audience=PUBLIC), TokenFault.AUDIENCE),
    "aud of the client": (token(audience="kartra-cli"), TokenFault.AUDIENCE),
    "aud in capitals": (token(audience=MAIN.replace("kartra", "Kartra")), TokenFault.AUDIENCE),
    "expired": (timed(iat=-600, exp=-31), TokenFault.EXPIRED),
    "iat in the future": (timed(iat=120, exp=600), TokenFault.NOT_YET_VALID),
    "nbf in the future": (timed(nbf=120), TokenFault.NOT_YET_VALID),
    "issued over an hour ago": (timed(iat=-3_700, exp=600), TokenFault.TOO_OLD),
    "for too long": (timed(iat=0, exp=5_500), TokenFault.TOO_OLD),
    "for years": (timed(iat=0, exp=10**9), TokenFault.TOO_OLD),
    "DPoP": (claims(cnf={"jkt": "x"}), TokenFault.SENDER_CONSTRAINED),
}
