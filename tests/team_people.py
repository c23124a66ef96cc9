"""People of a team for tests of its ledger: principals, logins, and what they ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kartra_mcp.core.principal import Principal, Role
from kartra_mcp.ledger.approval_records import ApprovalRequest
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import ApproverLogin, TeamDecision, make_requester
from kartra_mcp.ledger.records import Binding, Intent
from tests.ledger_intents import BINDING, intent

ISSUER = "https://login.example.com"


def person(subject: str, *roles: Role, is_user: bool = True) -> Principal:
    return Principal(ISSUER, subject, subject.title(), "desktop", frozenset(roles), is_user=is_user)


ANN = person("ann", "requester")
BOB, CARL = person("bob", "approver"), person("carl", "approver")
BOTH = person("dora", "requester", "approver")
MACHINE = person("nightly", "requester", "approver", is_user=False)


def binding_of(asker: Principal, **more: Any) -> Binding:
    return replace(BINDING, requester=asker.key, **more)


def request_of(asker: Principal, *, needed: int = 1, **more: Any) -> ApprovalRequest:
    values: dict[str, Any] = {
        "binding": binding_of(asker),
        "summary": "Refund 97.00 to Lea",
        "facts": {"this_refund": "97.00"},
        "facts_digest": "facts",
        "asked_by": f"{asker.name}, through test 1",
        "typed": "97.00",
        "requester": make_requester(asker),
        "needed": needed,
        "amount": "97.00",
    }
    return ApprovalRequest(**{**values, **more})


def login_of(who: Principal, at: float = 1_800_000_000.0, **more: Any) -> ApproverLogin:
    return ApproverLogin(who, at, "mfa", **more)


def approve_as(ledger: Ledger, number: int, who: Principal, **more: Any) -> Any:
    shown = ledger.approvals.get(number)
    seen = shown.fingerprint if shown else ""
    values: dict[str, Any] = {"approve": True, "seen": seen, "typed": "97.00", **more}
    return ledger.approvals.decide_as(number, login_of(who), TeamDecision(**values))


def decline_as(ledger: Ledger, number: int, who: Principal, reason: str = "not now") -> Any:
    return approve_as(ledger, number, who, approve=False, reason=reason)


def approved_intent(asker: Principal, number: int, **more: Any) -> Intent:
    """The intent of the requester's repeated call."""
    return intent(consent="approval", approval=number, requester=make_requester(asker), **more)


class Time:
    """A wall clock that a test sets."""

    at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at
