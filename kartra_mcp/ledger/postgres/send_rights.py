"""The right to send a running intent: it belongs to one attempt, and it ends by the clock.

There is no lock across hosts: a replica that only sleeps would lose it, and one that is cut off
would keep it. Instead the line of the intent has the end of the right, and the credential that is
made for the attempt ends with it.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from kartra_mcp.ledger.records import Intent
from kartra_mcp.ledger.running import RunningIntent, grant_right
from kartra_mcp.ledger.transaction import Transaction

SEND_SECONDS = 30.0
"""Seconds after the begin of an intent in which it may be sent."""

ANSWER_SECONDS = 120.0
"""Seconds after the end of the right to send in which an answer may still come: Membrane ends a
run after 60 seconds."""


_RUNNING = (
    "SELECT i.id, l.body FROM intents i JOIN lines l ON l.n = i.line WHERE i.state = 'running'"
)


@dataclass(frozen=True, slots=True)
class SendRights:
    """The right to send each intent of one ledger."""

    send_seconds: float = SEND_SECONDS
    answer_seconds: float = ANSWER_SECONDS

    def hold(self, transaction: Transaction, intent: Intent) -> tuple[Intent, RunningIntent]:
        """Give the intent an attempt, and an end by the clock of the database.

        The process counts from before the transaction began, so that its own end is earlier; a
        client that asked for a right counts from before it waited for the transaction.
        """
        granted, right = grant_right(intent, transaction.now), intent.right
        attempt, ends = granted.attempt, granted.send_until
        if right is None:
            attempt, ends = uuid4().hex, round(transaction.now + self.send_seconds, 3)
        own_end = transaction.steady + self.send_seconds if right is None else right.deadline
        expires_at = round((ends or transaction.now) + self.answer_seconds, 3)
        return (
            replace(granted, attempt=attempt, send_until=ends, expires_at=expires_at),
            RunningIntent(intent.id, attempt=attempt, send_until=own_end),
        )

    def is_held(self, transaction: Transaction, intent_id: str) -> bool:
        """Return True while the intent runs and its owner may still report the outcome."""
        row = transaction.fetch_one(f"{_RUNNING} AND i.id = ?", intent_id)
        return row is not None and not _is_over(transaction, row)

    def list_ended(self, transaction: Transaction, own: Container[str]) -> list[str]:
        """List the running intents whose end has come, whichever replica owns them."""
        del own  # also an own one ends by the clock
        rows = transaction.fetch_all(f"{_RUNNING} ORDER BY i.line")
        return [row["id"] for row in rows if _is_over(transaction, row)]

    def remove(self, intent_id: str, *, unless_held: bool = False) -> None:
        """Do nothing: the right ends by the clock, and leaves no mark."""


def _is_over(transaction: Transaction, row: Any) -> bool:
    return transaction.earliest >= json.loads(row["body"])["expires_at"]
