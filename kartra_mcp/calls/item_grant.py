"""Consent of a bulk run to one of its items: the intent that may run on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from kartra_mcp.consent.collect import read_facts
from kartra_mcp.consent.facts import Read
from kartra_mcp.consent.intents import add_facts
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Call
from kartra_mcp.ledger.bulk_records import BulkItem, BulkRun
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Consent, Intent


@dataclass(frozen=True, slots=True)
class ItemGrant:
    """The consent to a bulk run, for exactly one of its items.

    `skips_look`: the lead was read a short time ago, when the run was planned. `on_answer` is
    called when the item has succeeded, before its outcome is recorded.
    """

    run: BulkRun
    item: BulkItem
    skips_look: bool = False
    on_answer: Callable[[], None] = lambda: None

    async def make_intent(self, call: Call, draft: Intent, read: Read, ledger: Ledger) -> Intent:
        """Return the intent to record; facts that were shown are read again and must be equal.

        Raises:
            RefusedError: `facts_changed`; nothing was done.
        """
        if self.item.facts_digest:
            facts = await read_facts(call, read)
            if facts.digest != self.item.facts_digest:
                raise RefusedError(
                    "facts_changed",
                    "The account changed since the preview of the bulk run. Nothing was done.",
                    "Preview this item alone, or plan a new run with it.",
                )
            draft = add_facts(draft, facts, ledger)
        return replace(
            draft,
            consent=cast("Consent", self.run.consent),
            fresh=True,
            bulk=self.run.id,
            item=self.item.number,
        )
