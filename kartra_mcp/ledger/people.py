"""People of a team in the ledger: who asked for a write, and who decided it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.principal import ROLES, Principal, Role
from kartra_mcp.core.sanitize import safe_excerpt

MAX_NAME_CHARS = 80
MAX_REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class Requester:
    """A principal that asked for a write, as the ledger records it.

    Attributes:
        key: of the principal; caps and bindings compare it.
        name: for display.
        client_id: OAuth client through which the call came.
        roles: its roles in the account then, in a fixed order.
        token: key of the access token of the call, or "".
    """

    key: str
    name: str
    client_id: str = ""
    roles: tuple[Role, ...] = ()
    token: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys by which an admin can revoke the access of this call."""
        return (self.key, self.token) if self.token else (self.key,)

    def as_payload(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "name": self.name,
            "client_id": self.client_id,
            "roles": list(self.roles),
            **({"token": self.token} if self.token else {}),
        }


@dataclass(frozen=True, slots=True)
class Group:
    """The people that a cap counts together: all with a role, or without one the person `key`."""

    key: str
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class ApproverLogin:
    """A login on the page, by which its user decides.

    Attributes:
        principal: the user, with the roles in this account.
        auth_time: when the issuer authenticated the user, in seconds since the epoch.
        acr: class of that authentication, as the issuer names it, or "".
        max_age: the most seconds since `auth_time`; None for a limit that was checked before.
    """

    principal: Principal
    auth_time: float
    acr: str = ""
    max_age: float | None = None

    def as_payload(self) -> dict[str, Any]:
        """Return who decides and how they logged in, for an entry."""
        return {
            "who": make_name(self.principal),
            "person": self.principal.key,
            "auth_time": self.auth_time,
            "acr": safe_excerpt(self.acr, MAX_NAME_CHARS),
        }


@dataclass(frozen=True, slots=True)
class TeamDecision:
    """A decision as an approver gave it on the page.

    Attributes:
        approve: True to approve, False to decline.
        seen: `Approval.fingerprint` of the request that was shown.
        typed: the amount, or without one the id, as the approver typed it; not for a decline.
        reason: required for a decline.
    """

    approve: bool
    seen: str
    typed: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Vote:
    """The approval of one person, as the chain records it."""

    key: str
    name: str
    at: float
    auth_time: float = 0.0
    acr: str = ""


@dataclass(frozen=True, slots=True)
class TeamRequest:
    """The part of an approval request that only a team has, as the chain records it.

    Attributes:
        requester: the principal that asked; it never decides.
        needed: number of different people that must approve.
        amount: the money that the call moves, or "" where it moves none or that is not known.
        votes: the people that approved, oldest first.
    """

    requester: Requester
    needed: int
    amount: str = ""
    votes: tuple[Vote, ...] = ()

    @property
    def voters(self) -> frozenset[str]:
        """Keys of the people that approved, without the requester."""
        return frozenset(vote.key for vote in self.votes) - {self.requester.key}

    @property
    def has_quorum(self) -> bool:
        return len(self.voters) >= max(self.needed, 1)


def make_requester(principal: Principal | None) -> Requester | None:
    """Return a principal as the ledger records it; None for a single user."""
    if principal is None:
        return None
    roles: tuple[Role, ...] = tuple(role for role in ROLES if role in principal.roles)
    client_id = safe_excerpt(principal.client_id, MAX_NAME_CHARS)
    return Requester(principal.key, make_name(principal), client_id, roles, principal.token_key)


def make_name(principal: Principal) -> str:
    """Return the name for display: one line, bounded; the issuer's users choose it."""
    return clean_line(principal.name, MAX_NAME_CHARS) or f"unnamed {principal.key[:8]}"


def clean_line(text: str, length: int = MAX_REASON_CHARS) -> str:
    """Return a name or a reason for the ledger: one line, without secrets, bounded."""
    return " ".join(safe_excerpt(text, length).split())


def parse_requester(payload: Mapping[str, Any]) -> Requester:
    """Return the principal of an entry."""
    roles: tuple[Role, ...] = tuple(role for role in ROLES if role in payload["roles"])
    token = payload.get("token", "")
    return Requester(payload["key"], payload["name"], payload["client_id"], roles, token)
