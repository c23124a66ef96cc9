"""State of the stand-in: people, clients, keys, codes, and the faults that a test arranges."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kartra_mcp.sandbox.identity.people import CLIENTS, PEOPLE, OAuthClient, Person
from kartra_mcp.sandbox.identity.signing import SigningKey, hash_token

DocumentFault = Literal["", "down", "slow", "huge", "garbage", "empty", "list", "redirect"]
DEFAULT_SCOPES = ("kartra:read", "kartra:write", "kartra:money")
ACCESS_SECONDS, ID_SECONDS, CODE_SECONDS = 600, 300, 60
ACR = "urn:example:password"


@dataclass(slots=True)
class Faults:
    """Faults that a test arranges; all are off at first.

    Attributes:
        keys, discovery: fault of that document. `slow` never ends; `huge` is larger than any limit.
        discovery_fields: fields of the discovery document that are other; None leaves one out.
        token: the token endpoint answers with 503.
        response_issuer: `iss` of authorization responses; "" leaves it out, None is right.
        id_claims, access_claims: claims of issued tokens that are other; None leaves one out.
        id_header: header parameters of ID tokens that are other.
        any_verifier: a code is redeemed with any `code_verifier`, as by an issuer without PKCE.
        thin_id_tokens: name and groups are only in the userinfo response.
        userinfo: claims of the userinfo response that are other.
    """

    keys: DocumentFault = ""
    discovery: DocumentFault = ""
    discovery_fields: dict[str, Any] = field(default_factory=dict[str, Any])
    token: bool = False
    response_issuer: str | None = None
    id_claims: dict[str, Any] = field(default_factory=dict[str, Any])
    access_claims: dict[str, Any] = field(default_factory=dict[str, Any])
    id_header: dict[str, Any] = field(default_factory=dict[str, Any])
    any_verifier: bool = False
    thin_id_tokens: bool = False
    userinfo: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Grant:
    """Consent of a person to a client, by which tokens are issued."""

    person: Person
    client: OAuthClient
    scopes: tuple[str, ...]
    audience: str
    auth_time: int
    nonce: str = ""
    acr: str = ACR
    redirect_uri: str = ""
    challenge: str = ""
    ends: float = 0.0


@dataclass(slots=True)
class IdentityProvider:
    """A running stand-in; the handle of tests and of the demo.

    Attributes:
        issuer: its exact address.
        algorithm: of the tokens that it issues next: RS256 or ES256.
        keys: published and used keys, the newest last. Change them by `rotate`.
        requests: number of requests by path.
        faults: what goes wrong.
        clock: seconds since the epoch.
    """

    issuer: str = ""
    algorithm: str = "RS256"
    people: dict[str, Person] = field(default_factory=lambda: {one.login: one for one in PEOPLE})
    clients: dict[str, OAuthClient] = field(
        default_factory=lambda: {one.id: one for one in CLIENTS}
    )
    keys: list[SigningKey] = field(
        default_factory=lambda: [SigningKey.generate("RS256"), SigningKey.generate("ES256")]
    )
    requests: dict[str, int] = field(default_factory=dict[str, int])
    faults: Faults = field(default_factory=Faults)
    clock: Callable[[], float] = time.time
    codes: dict[str, Grant] = field(default_factory=dict[str, Grant])
    refresh_tokens: dict[str, Grant] = field(default_factory=dict[str, Grant])
    access_tokens: dict[str, Grant] = field(default_factory=dict[str, Grant])
    sessions: dict[str, tuple[Person, int]] = field(default_factory=dict[str, tuple[Person, int]])

    def remember(self, login: str, age: float = 0) -> str:
        """Return a session of a test person who logged in so many seconds ago: its cookie."""
        session = secrets.token_urlsafe(16)
        self.sessions[session] = (self.people[login], int(self.clock() - age))
        return session

    def rotate(self, *, keep_old: bool = True) -> list[SigningKey]:
        """Sign with new keys from now on; return the old ones.

        Args:
            keep_old: the old ones stay published, as they should until their tokens have ended.
        """
        old = self.keys
        new = [SigningKey.generate("RS256"), SigningKey.generate("ES256")]
        self.keys = [*old, *new] if keep_old else new
        return old

    def find_key(self, algorithm: str = "") -> SigningKey:
        """Return the newest key of an algorithm; by default, of the current one."""
        wanted = algorithm or self.algorithm
        return next(key for key in reversed(self.keys) if key.algorithm == wanted)

    def access_token(  # noqa: PLR0913  parts of a token, each by its name
        self,
        login: str,
        audience: str,
        *,
        scopes: Iterable[str] = DEFAULT_SCOPES,
        client_id: str = "kartra-cli",
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
        key: SigningKey | None = None,
    ) -> str:
        """Return an access token of a test person, without a login.

        Args:
            login: of the person.
            audience: address of the resource.
            scopes: of the token.
            client_id: through which it was issued.
            claims: claims that are other; None leaves one out.
            header: header parameters that are other; None leaves one out.
            key: that signs it; by default, the newest one.
        """
        person, client = self.people[login], self.clients[client_id]
        grant = Grant(person, client, tuple(scopes), audience, int(self.clock()))
        return self.sign_access(grant, claims or {}, header or {}, key)

    def sign_access(
        self,
        grant: Grant,
        other: Mapping[str, Any] = {},
        header: Mapping[str, Any] = {},
        key: SigningKey | None = None,
    ) -> str:
        """Return a JWT access token (RFC 9068)."""
        now = int(self.clock())
        claims = {
            "iss": self.issuer,
            "sub": grant.person.login,
            "aud": grant.audience,
            "client_id": grant.client.id,
            "iat": now,
            "exp": now + ACCESS_SECONDS,
            "jti": secrets.token_hex(16),
            "scope": " ".join(grant.scopes),
            "auth_time": grant.auth_time,
            "name": grant.person.name,
            "groups": list(grant.person.groups),
        }
        made = (key or self.find_key()).sign(
            _change(claims, self.faults.access_claims, other), {"typ": "at+jwt", **header}
        )
        self.access_tokens[made] = grant
        return made

    def sign_id(self, grant: Grant, access_token: str) -> str:
        """Return an ID token, with the hash of the access token that comes with it."""
        now = int(self.clock())
        claims = {
            "iss": self.issuer,
            "sub": grant.person.login,
            "aud": grant.client.id,
            "iat": now,
            "exp": now + ID_SECONDS,
            "auth_time": grant.auth_time,
            "nonce": grant.nonce or None,
            "acr": grant.acr,
            "amr": ["pwd"],
            "at_hash": hash_token(access_token, self.algorithm),
        }
        if not self.faults.thin_id_tokens:
            claims |= make_profile(grant.person)
        return self.find_key().sign(_change(claims, self.faults.id_claims), self.faults.id_header)

    def machine(self, client: OAuthClient) -> Person:
        """Return the identity of a client of its own: its subject is its client id."""
        return Person(client.id, client.id, client.groups or ())


def make_profile(person: Person) -> dict[str, Any]:
    return {
        "name": person.name,
        "preferred_username": f"{person.login}@example.com",
        "groups": list(person.groups),
    }


def _change(claims: Mapping[str, Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(claims)
    for other in others:
        changed |= other
    return {name: value for name, value in changed.items() if value is not None}
