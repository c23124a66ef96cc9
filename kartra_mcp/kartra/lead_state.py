"""Whether a command would change a lead as it was read: one that has the tag gains nothing. Pure.

Kartra answers a command that changes nothing with success, so that only a look before it shows
what it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kartra_mcp.kartra.names import fold_text
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
_INACTIVE: Final = frozenset({"0", "false", "unsubscribed", "cancelled"})


def shows_change(command: str) -> bool:
    """Return whether a lead shows before the command whether it would be changed."""
    return command in _RULES


def would_change(command: str, parts: Mapping[str, Any], details: Mapping[str, Any]) -> bool | None:
    """Return whether a command would change the lead; None if the lead does not show that.

    Args:
        command: Kartra's name of it.
        parts: its object: `tag`, `list`, `sequence`, or `membership` and `level`.
        details: the lead as `get_lead` returns it; {} if it was not read.
    """
    noun, adds = _RULES.get(command, ("", False))
    name = str(parts.get(noun) or "").strip()
    if not name or f"{noun}s" not in details:
        return None
    level = str(parts.get("level") or "").strip() if noun == "membership" else ""
    rows = find_rows(details, f"{noun}s") if details[f"{noun}s"] else []
    alike = [row for row in rows if _is_named(row, noun, name, exact=False)]
    same = [row for row in alike if _is_named(row, noun, name, exact=True)]
    if level:
        same = [row for row in same if _is_named(row, "level", level, exact=True)]
    if any(_is_active(row) for row in same):
        return not adds
    # Whether Kartra takes another spelling for the same name is not documented.
    return adds if len(alike) == len(same) or not any(map(_is_active, alike)) else None


def _is_named(row: Mapping[str, Any], noun: str, name: str, *, exact: bool) -> bool:
    keys = (f"{noun}_name", f"{noun}_id", *(("name", "id") if noun != "level" else ()))
    found = [str(value).strip() for key in keys if (value := first_field(row, key)) is not None]
    return name in found if exact else fold_text(name) in map(fold_text, found)


def _is_active(row: Mapping[str, Any]) -> bool:
    """Return whether a row is in force; a tag has no such field, and is."""
    found = first_field(row, "active", "status")
    return found is None or str(found).lower() not in _INACTIVE
