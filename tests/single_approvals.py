"""Requests for approval of a single user, in tests of the ledger itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kartra_mcp.ledger.ledger import Ledger
from tests.ledger_intents import BINDING
from tests.team_people import ANN, request_of

SINGLE: dict[str, Any] = {"binding": BINDING, "requester": None, "typed": "", "amount": ""}


def ask(ledger: Ledger, arguments: str = "digest", **more: Any) -> int:
    """Ask as the single user."""
    wanted = request_of(ANN, **{**SINGLE, **more})
    return ledger.approvals.request(
        replace(wanted, binding=replace(wanted.binding, arguments=arguments))
    )


def decide(ledger: Ledger, number: int, *, approve: bool = True, reason: str = "") -> Any:
    shown = ledger.approvals.get(number)
    seen = shown.fingerprint if shown else ""
    return ledger.approvals.decide(number, approve=approve, reason=reason, who="ada", seen=seen)


def state(ledger: Ledger, number: int) -> str:
    found: Any = ledger.approvals.get(number)
    return found.state


def entry(ledger: Ledger) -> dict[str, Any]:
    return ledger.latest("consent") or {}
