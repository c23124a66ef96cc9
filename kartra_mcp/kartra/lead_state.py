"""State of the object that a command sets on a lead, as the lead shows it: held or not. Pure.

Kartra answers a command that changes nothing with success, so that only a look before it shows
what it did, and only a look after it shows a write whose answer was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kartra_mcp.core.json_types import as_list, is_object
from kartra_mcp.kartra.names import clean_name, fold_text
from kartra_mcp.kartra.response_search import find_rows, first_field

_RULES: Final[Mapping[str, tuple[str, bool]]] = {
    "assign_tag": ("tag", True),
    "unassign_tag": ("tag", False),
    "subscribe_lead_to_list": ("list", True),
    "unsubscribe_lead_from_list": ("list", False),
    "unsubscribe_lead_from_sequence": ("sequence", False),
    "grant_membership_access": ("membership", True),
    "revoke_membership_access": ("membership", False),
}
"""Command to the kind of object in the lead, and whether the command adds it."""
SEQUENCE_ENTRY: Final = "subscribe_lead_to_sequence_at_step"
"""An equal entry begins the sequence again: no look shows that one changes nothing."""
HELD_BEFORE: Final = "held_before"
"""Fact of an intent: the state before the call, as `HeldState.as_dict` makes it."""
_INACTIVE: Final = frozenset({"0", "false", "unsubscribed", "cancelled"})
_ACTIVE: Final = frozenset({"1", "true", "active"})
_UNCLEAR: Final = ("…", "(address)")
"""Parts of names that the ledger cut or masked: they equal no name in the account."""


@dataclass(frozen=True, slots=True)
class HeldState:
    """State of one tag, list, sequence or membership on a lead.

    `step` is the step of a sequence that is held; `levels` are the levels of a membership that are.
    """

    held: bool
    step: str = ""
    levels: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        step = {"step": self.step} if self.step else {}
        return {"held": self.held, **step, **({"levels": [*self.levels]} if self.levels else {})}


def read_held_before(facts: Mapping[str, Any]) -> HeldState | None:
    """Return the state before a write, from the facts of its intent; None if it was not read."""
    return parse_held(facts.get(HELD_BEFORE))


def parse_held(kept: Any) -> HeldState | None:
    """Return the state that `HeldState.as_dict` made; None for anything else."""
    if not is_object(kept) or not isinstance(kept.get("held"), bool):
        return None
    levels = tuple(str(level) for level in as_list(kept.get("levels")))
    return HeldState(kept["held"], str(kept.get("step") or ""), levels)


def find_object(command: str) -> tuple[str, bool] | None:
    """Return the kind of the object that a command sets, and whether it adds it; None if none."""
    return ("sequence", True) if command == SEQUENCE_ENTRY else _RULES.get(command)


def would_change(command: str, parts: Mapping[str, Any], details: Mapping[str, Any]) -> bool | None:
    """Return whether a command would change the lead; None if the lead does not show that.

    Args:
        command: Kartra's name of it.
        parts: its object: `tag`, `list`, `sequence`, or `membership` and `level`.
        details: the lead as `get_lead` returns it; {} if it was not read.
    """
    found = read_held(command, parts, details) if command in _RULES else None
    if found is None:
        return None
    if command == "grant_membership_access" and found.held and not parts.get("level"):
        return None  # it may add another level
    return found.held != _RULES[command][1]


def read_held(
    command: str, parts: Mapping[str, Any], details: Mapping[str, Any]
) -> HeldState | None:
    """Return the state of the object of a command; None if the lead does not show it.

    Args:
        command: Kartra's name of it.
        parts: its object: `tag`, `list`, `sequence`, or `membership` and `level`.
        details: the lead as `get_lead` returns it; {} if it was not read.
    """
    noun, _ = find_object(command) or ("", False)
    name = str(parts.get(noun) or "").strip()
    level = str(parts.get("level") or "").strip() if noun == "membership" else ""
    if not name or details.get(f"{noun}s") is None or is_unclear(name + level):
        return None
    rows = find_rows(details, f"{noun}s") if details[f"{noun}s"] else []
    alike = [row for row in rows if _is_named(row, noun, name, exact=False)]
    same = [row for row in alike if _is_named(row, noun, name, exact=True)]
    if level:
        alike = [row for row in alike if _is_named(row, "level", level, exact=False)]
        same = [row for row in same if _is_named(row, "level", level, exact=True)]
    if any(_is_active(row) is None for row in same):
        return None
    if active := [row for row in same if _is_active(row)]:
        return HeldState(True, _find_step(noun, active), _list_levels(noun, active))
    # Whether Kartra takes another spelling for the same name is not documented.
    unsure = len(alike) != len(same) and any(_is_active(row) is not False for row in alike)
    return None if unsure else HeldState(False)


def is_unclear(name: str) -> bool:
    """Return whether a kept name was cut or masked, so that it equals no name in the account."""
    return any(part in name for part in _UNCLEAR)


def _find_step(noun: str, rows: Iterable[Mapping[str, Any]]) -> str:
    steps = [first_field(row, "step") for row in rows] if noun == "sequence" else []
    return "" if len(steps) != 1 or steps[0] is None else clean_name(str(steps[0]))


def _list_levels(noun: str, rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    if noun != "membership":
        return ()
    found = (first_field(row, "level_name", "level", "level_id") for row in rows)
    return tuple(clean_name(str(level), mask=True) for level in found if level is not None)


def _is_named(row: Mapping[str, Any], noun: str, name: str, *, exact: bool) -> bool:
    keys = (f"{noun}_name", f"{noun}_id", *(("name", "id") if noun != "level" else ()))
    found = [
        clean_name(str(value), mask=True)
        for key in keys
        if (value := first_field(row, key)) is not None
    ]
    return name in found if exact else fold_text(name) in map(fold_text, found)


def _is_active(row: Mapping[str, Any]) -> bool | None:
    """Return whether a row is in force, None if that is not clear.

    A tag has no field for it, and is.
    """
    found = first_field(row, "active", "status")
    text = "1" if found is None else str(found).strip().lower()
    return text in _ACTIVE or (None if text not in _INACTIVE else False)
