"""Fields of one write in the ledger, in the order of the export, and the audiences of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EntryField:
    """One field of a write. The export contains every field; `model` marks those for a model."""

    name: str
    model: bool = False


ENTRY_FIELDS: tuple[EntryField, ...] = (
    EntryField("line"),
    EntryField("time", model=True),
    EntryField("ended"),
    EntryField("intent", model=True),
    EntryField("tool", model=True),
    EntryField("operation", model=True),
    EntryField("risk"),
    EntryField("connection"),
    EntryField("target_kind", model=True),
    EntryField("target", model=True),
    EntryField("object", model=True),
    EntryField("amount", model=True),
    EntryField("known_amount", model=True),
    EntryField("remainder"),
    EntryField("state", model=True),
    EntryField("executed", model=True),
    EntryField("consent", model=True),
    EntryField("confirmation"),
    EntryField("repeat"),
    EntryField("mail"),
    EntryField("actor", model=True),
    EntryField("client", model=True),
    EntryField("lead", model=True),
    EntryField("facts"),
    EntryField("detail"),
    EntryField("evidence", model=True),
    EntryField("action_run_id", model=True),
    EntryField("undo", model=True),
    EntryField("bulk", model=True),
    EntryField("item", model=True),
)


def model_view(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a write for a model, without digests and empty fields."""
    names = [field.name for field in ENTRY_FIELDS if field.model]
    return {name: entry[name] for name in names if entry.get(name) not in (None, "")}
