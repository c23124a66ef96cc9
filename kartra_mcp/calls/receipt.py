"""Receipt of a write: what was done to which object, and how to undo it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kartra_mcp.kartra.effects import MAX_FIELDS, Effect
from kartra_mcp.kartra.names import clean_name
from kartra_mcp.kartra.values import format_amount
from kartra_mcp.ledger.records import Intent

ACTIVE = ":True"
"""End of the evidence of a membership that was active when the facts were read."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Receipt of a write: the contract's `{"intent", "done", "undo", "changed"}`.

    `changed` is None where a success does not show whether the account was changed by it.
    `sure_undo` is the undo of a call that certainly changed something. `before` has old values: it
    is in the answer, next to the receipt.
    """

    intent: str
    done: str
    undo: str
    changed: bool | None
    note: str = ""
    sure_undo: str = ""
    before: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def with_change(self, changed: bool | None) -> Receipt:  # noqa: FBT001  a value, no switch
        """Return the receipt of a call whose values were read before it; None changes nothing."""
        if changed is None:
            return self
        undo = (self.sure_undo or self.undo) if changed else ""
        return replace(self, changed=changed, undo=undo)

    def with_unread(self, names: Sequence[str]) -> Receipt:
        """Return the receipt of an edit of fields whose old values could not be read."""
        if not names:
            return self
        listed = ", ".join(clean_name(name) for name in names[:MAX_FIELDS])
        note = f"The old values of {listed} could not be read before: this answer lacks them."
        return replace(self, note=f"{self.note} {note}".strip())

    def as_dict(self) -> dict[str, Any]:
        undo = {"undo": self.undo} if self.undo and self.changed is not False else {}
        note = {"note": self.note} if self.note else {}
        return {"intent": self.intent, "done": self.done, **undo, "changed": self.changed, **note}


def make_receipt(intent: Intent, effect: Effect, missed: str) -> Receipt:
    """Return the receipt; `missed` is why the ledger has another outcome, or ""."""
    moved = intent.known_amount or intent.amount
    amount = f", {format_amount(moved)}" if moved is not None else ""
    changed = True if effect.sure or _was_active(intent) else False if effect.no_change else None
    undo = effect.undo if changed else effect.undo_if_changed
    note = f"It was done, but {missed}" if missed else ""
    return Receipt(intent.id, effect.done + amount, undo, changed, note, effect.undo)


def _was_active(intent: Intent) -> bool:
    """Return whether the facts show the membership that a revocation ended as active."""
    seen = intent.facts.get("seen") or ()
    return any(str(row).endswith(ACTIVE) for row in seen)
