"""Refunds for tests of the ledger itself: intents, refusal codes, changes of the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Answer, Binding, FinalState, Intent, make_intent_id
from kartra_mcp.ledger.rules import make_identity_key
from kartra_mcp.policy.limits import Limits

LIMITS = Limits(cap_day_count=None)
TAG: dict[str, Any] = {
    "tool": "kartra_assign_tag",
    "operation": "assign_tag",
    "risk": Risk.WRITE,
    "target_kind": "lead",
    "amount": None,
    "equality": "tag 5",
}
BINDING = Binding("kartra_refund_transaction", "digest", "c", "2026", "a", "r1", "p")


def intent(target: Any = "101", amount: Any = 97, **more: Any) -> Intent:
    read = None if amount is None else Decimal(amount)
    said: dict[str, Any] = {
        "id": make_intent_id(),
        "tool": "kartra_refund_transaction",
        "operation": "refund_transaction",
        "risk": Risk.IRREVERSIBLE,
        "connection": "c",
        "target_kind": "transaction",
        "target": target,
        "amount": read,
        "known_amount": read,
        "actor": "me",
        "client": "test 1",
        "facts": {"product": "Course"},
    }
    return Intent(**{**said, **more})


def tag(target: str = "7", **more: Any) -> Intent:
    return intent(target, **{**TAG, **more})


def run(ledger: Ledger, wanted: Intent, state: FinalState = "succeeded", **more: Any) -> str:
    ledger.begin(wanted, LIMITS)
    executed = {"succeeded": Executed.YES, "unknown": Executed.UNKNOWN}.get(state, Executed.NO)
    ledger.finish(wanted.id, Answer(state, executed, **more))
    return wanted.id


def code(of: Callable[[], object]) -> str:
    """The code with which a call is refused, or "runs"."""
    try:
        of()
    except RefusedError as refused:
        return refused.code
    return "runs"


def refusal_of(check: Callable[[], object]) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        check()
    return refused.value


def begin(ledger: Ledger, wanted: Intent, limits: Limits = LIMITS, burns: Any = None) -> str:
    return code(lambda: ledger.begin(wanted, limits, burns))


def attempt(ledger: Ledger, *args, **more) -> str:
    return code(lambda: ledger.begin(intent(*args, **more), LIMITS))


def decline(ledger: Ledger, wanted: Intent) -> None:
    ledger.consents.block(make_identity_key(wanted), "declined")


def two_step(ledger: Any, **more: Any) -> Any:
    minted = ledger.consents.issue(BINDING, "Refund 97", "facts")
    return intent(consent="two_step", confirmation_id=minted.id, fresh=True, **more)


def raw(folder: Path):
    return closing(sqlite3.connect(folder / "ledger.db", isolation_level=None))


def rewritten(folder: Path, *statements: str) -> None:
    """Change lines as an attacker who drops the triggers does."""
    with raw(folder) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        for name, sql in triggers.fetchall():
            db.execute(f"DROP TRIGGER {name}")
            statements = (*statements, sql)
        for statement in statements:
            db.execute(statement)
