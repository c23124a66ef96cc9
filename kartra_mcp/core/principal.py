"""The authenticated principal of a call over HTTP: a user, or an agent of no user."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeGuard, get_args

Role = Literal["viewer", "operator", "requester", "approver", "auditor", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
Scope = Literal["kartra:read", "kartra:write", "kartra:money"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


def is_role(text: str) -> TypeGuard[Role]:
    return text in ROLES


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified identity, with its roles in one account.

    Attributes:
        issuer: exact issuer of the token or login.
        subject: `sub`; unique only with its issuer.
        name: for display; chosen by the user, so untrusted.
        client_id: OAuth client through which the call came; "" on the page.
        roles: roles in this account, from the issuer's claim.
        scopes: ceiling of the token. A login on the page has none, and no ceiling.
        is_user: a user, not an agent of its own (client credentials).
        claims: values of the roles claim, for the members of an account.
        token_key: key of the access token of the call; "" on the page, and for one without an id.
    """

    issuer: str
    subject: str
    name: str
    client_id: str = ""
    roles: frozenset[Role] = frozenset()
    scopes: frozenset[str] = frozenset(SCOPES)
    is_user: bool = True
    claims: frozenset[str] = field(default_factory=frozenset[str])
    token_key: str = ""

    @property
    def key(self) -> str:
        """Stable key of the identity: 32 hex digits of issuer and subject."""
        return make_principal_key(self.issuer, self.subject)


@lru_cache(maxsize=4_096)
def make_principal_key(issuer: str, subject: str) -> str:
    covered = f"{len(issuer)}:{issuer}{subject}"  # no pair of texts can be split in two ways
    return hashlib.sha256(covered.encode()).hexdigest()[:32]


def make_token_key(issuer: str, token_id: str) -> str:
    """Return the key of one token; it is never that of a principal."""
    return f"jti_{make_principal_key(issuer, token_id)}"


_CALLER: ContextVar[str] = ContextVar("caller_key", default="")
"""Key of the principal of the running call; "" for a single user.

A context variable instead of an argument: results are stored and read in places that know neither
the client nor the call. The worker threads of the call inherit it.
"""


@contextmanager
def calling_as(principal: Principal | None) -> Generator[None]:
    """Let everything that this call stores belong to its principal."""
    before = _CALLER.set("" if principal is None else principal.key)
    try:
        yield
    finally:
        _CALLER.reset(before)


def caller_key() -> str:
    return _CALLER.get()
