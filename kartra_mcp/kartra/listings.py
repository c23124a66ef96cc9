"""Commands that list the account's names, for arguments that must be one of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Command
from kartra_mcp.kartra.fields import find_values, normalize_name
from kartra_mcp.kartra.response_search import first_field


@dataclass(frozen=True, slots=True)
class Listing:
    """One kind of name: its command, the response's field, and the arguments that hold it."""

    noun: str
    command: str
    field: str
    arguments: frozenset[str]


_TAGS: Final = Listing(
    "tag", "retrieve_account_tags", "account_tags", frozenset({"tagname", "tag"})
)
_LISTS: Final = Listing(
    "list", "retrieve_account_lists", "account_lists", frozenset({"listname", "list"})
)
_SEQUENCES: Final = Listing(
    "sequence",
    "retrieve_account_sequences",
    "account_sequences",
    frozenset({"sequencename", "sequence"}),
)
_MEMBERSHIPS: Final = Listing(
    "membership", "get_lead", "memberships", frozenset({"membershipname", "membership"})
)

LISTINGS: Final[Mapping[str, Listing]] = {
    "assign_tag": _TAGS,
    "unassign_tag": _TAGS,
    "subscribe_lead_to_list": _LISTS,
    "unsubscribe_lead_from_list": _LISTS,
    "subscribe_lead_to_sequence_at_step": _SEQUENCES,
    "unsubscribe_lead_from_sequence": _SEQUENCES,
    "grant_membership_access": _MEMBERSHIPS,
    "revoke_membership_access": _MEMBERSHIPS,
}
"""Command to the kind of name that it takes. A lead's memberships are all that can be listed."""

WRONG_NAME_TYPES: Final = frozenset(
    {*map(str, (207, 208, 209, 211, 212, 213, 214, 219, 220, 226, 231))}
)
"""Kartra's error types for a name that does not exist or is missing."""
NO_PERMISSION: Final = "262"
"""Kartra documents no command for memberships: a wrong name may get this type too."""


def find_given_name(command: Command, listing: Listing) -> str:
    """Return the name that a command was given, or ""."""
    given = [v for _, v in find_values([command.arguments, command.lead], listing.arguments)]
    texts = {value for value in given if isinstance(value, str) and value.strip()}
    return texts.pop() if len(texts) == 1 else ""


def parse_names(answer: Any, listing: Listing) -> list[str]:
    """Return the names in a response; Kartra lists them as text, a lead's memberships as rows."""
    named = [v for _, v in find_values(answer, frozenset({normalize_name(listing.field)}))]
    rows = next((found for found in named if is_array(found)), list[Any]())
    found = [
        first_field(row, "name", f"{listing.noun}_name") if is_object(row) else row for row in rows
    ]
    return list(dict.fromkeys(name for name in found if isinstance(name, str)))
