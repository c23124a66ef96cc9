"""Rights of a team's roles: role, scope and kind of identity to what a call may do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.core.principal import Principal, Role


class Right(StrEnum):
    """One thing that a role permits in an account."""

    READ = "read"
    WRITE = "write"
    MONEY = "money"
    LEDGER = "ledger"
    APPROVE = "approve"
    STOP = "stop"
    RESUME = "resume"
    ADMIN = "admin"


_READS = (Right.READ, Right.LEDGER)
ROLE_RIGHTS: Mapping[Role, frozenset[Right]] = {
    "viewer": frozenset(_READS),
    "operator": frozenset({*_READS, Right.WRITE, Right.STOP}),
    "requester": frozenset({*_READS, Right.WRITE, Right.MONEY, Right.STOP}),
    "approver": frozenset({*_READS, Right.APPROVE, Right.STOP, Right.RESUME}),
    "auditor": frozenset({Right.LEDGER}),
    "admin": frozenset({Right.LEDGER, Right.STOP, Right.RESUME, Right.ADMIN}),
}
"""Rights by role. An admin never approves; an approver never writes."""

SCOPE_RIGHTS: Mapping[str, frozenset[Right]] = {
    "kartra:read": frozenset(_READS),
    "kartra:write": frozenset({Right.WRITE}),
    "kartra:money": frozenset({Right.WRITE, Right.MONEY}),
}
"""Rights that each scope lets through. A scope never grants what the role lacks."""

CALL_RIGHTS = frozenset({Right.READ, Right.WRITE, Right.MONEY, Right.LEDGER})
"""The rights that a tool can need. The others belong to the page."""

TOOL_RIGHTS: Mapping[str, Right] = {
    "kartra_ledger": Right.LEDGER,
    "kartra_reconcile": Right.WRITE,
    "kartra_connect": Right.ADMIN,
}
"""Built-in tools whose right does not follow from their risk."""

_OF_RISK: Mapping[Risk, Right] = {
    Risk.READ: Right.READ,
    Risk.WRITE: Right.WRITE,
    Risk.DESTRUCTIVE: Right.WRITE,
    Risk.IRREVERSIBLE: Right.MONEY,
}


def required_right(risk: Risk, names: Iterable[str]) -> Right:
    """Return the right that a call of this risk under these names needs.

    An action may have the name of a built-in tool among others: the right is that of its risk.
    """
    named = set(names)
    own = named.pop() if len(named) == 1 else ""
    return TOOL_RIGHTS.get(own, _OF_RISK[risk])


def rights_of_roles(roles: Iterable[Role]) -> frozenset[Right]:
    return frozenset[Right]().union(*(ROLE_RIGHTS[role] for role in roles))


def call_rights(principal: Principal) -> frozenset[Right]:
    """Return what a call of this principal may do: its roles, within the scopes of its token."""
    return _scoped_rights(principal.roles, principal.scopes)


@lru_cache(maxsize=512)
def _scoped_rights(roles: frozenset[Role], scopes: frozenset[str]) -> frozenset[Right]:
    let_through = frozenset[Right]().union(
        *(SCOPE_RIGHTS.get(scope, frozenset()) for scope in scopes)
    )
    return rights_of_roles(roles) & let_through & CALL_RIGHTS


def page_rights(principal: Principal) -> frozenset[Right]:
    """Return what a login on the page may do. An agent of no user has no rights there."""
    return rights_of_roles(principal.roles) if principal.is_user else frozenset()


def forbidden_role_error() -> RefusedError:
    return RefusedError(
        "forbidden_role",
        "Your role or the scopes of your token do not permit this call. Nothing was done.",
        "Call kartra_status to see your roles. Ask an admin for the role, or log in again with "
        "the missing scope.",
    )
