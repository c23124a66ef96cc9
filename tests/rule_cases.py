"""Calls, and calls before them, for tests of the ledger's rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kartra_mcp.core.models import Risk
from kartra_mcp.ledger.records import Intent, PriorIntent

NOW = 1_800_000_000.0


def refund(amount=None, remainder=None, **more: Any) -> Intent:
    said: dict[str, Any] = {
        "id": "int_new",
        "tool": "kartra_refund_transaction",
        "operation": "refund_transaction",
        "risk": Risk.IRREVERSIBLE,
        "connection": "c",
        "target_kind": "transaction",
        "target": "101",
        "amount": amount,
        "remainder": remainder,
        "known_amount": amount if amount is not None else remainder,
    }
    return Intent(**{**said, **more})


def past(
    state, amount=None, remainder=None, operation="refund_transaction", age=60.0
) -> PriorIntent:
    read = [None if x is None else Decimal(x) for x in (amount, remainder)]
    known = read[0] if read[0] is not None else read[1]
    return PriorIntent("int_old", NOW - age, operation, state, read[0], read[1], known)


def code(refusal) -> str | None:
    if refusal is None:
        return None
    assert refusal.message.endswith("."), "a refusal is a sentence"
    return refusal.code
