"""E-mail addresses in arguments: their form, and leads named by id and address at once. Pure.

Kartra looks up any text: `Ada <ada@example.com>` finds no lead, or creates one that no mail
reaches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Command
from kartra_mcp.kartra.fields import (
    LEAD_ALIASES,
    LEAD_ID_NAMES,
    find_values,
    normalize_name,
    split_words,
)
from kartra_mcp.kartra.values import normalize_id

MAX_ADDRESS: Final = 254
ADDRESS_NAMES: Final = frozenset({"email", "newemail", "leademail", "emailaddress"})
"""Normalized names of fields that hold one e-mail address."""
LEAD_COMMANDS: Final = frozenset(
    """
    edit_lead assign_tag unassign_tag subscribe_lead_to_list unsubscribe_lead_from_list
    subscribe_lead_to_sequence_at_step unsubscribe_lead_from_sequence give_points_to_lead
    remove_points_from_lead calendar_subscribe calendar_cancel grant_membership_access
    revoke_membership_access
    """.split()  # noqa: SIM905  a table that is read as words
)
"""Writes to one lead, which an id or an address names; of both, Kartra takes the id."""

LEAD_READS: Final = frozenset(
    """
    get_lead search_lead retrieve_transactions_from_lead retrieve_subscriptions_from_lead
    """.split()  # noqa: SIM905  a table that is read as words
)
"""Reads of one lead."""
_FLAT_COMMANDS: Final = frozenset({"grant_membership_access", "revoke_membership_access"})
"""Commands that Kartra does not document: their lead may be among their own fields."""
_KARTRA_NAMES: Final = ("id", "email")
_OTHER_NOUNS: Final = frozenset(
    "tag list sequence membership level calendar class field option step product new".split()  # noqa: SIM905
)
_ID_WORDS: Final = frozenset({"id", "identifier", "uid", "key", "email", "mail"})

_LOOKUP_NAMES: Final = ADDRESS_NAMES - {"newemail"}
_ADDRESS: Final = re.compile(r"[^@]+@[^@.]+(\.[^@.]+)+")
_FORBIDDEN: Final = re.compile(r"[<>(),;:\\\"\[\]]")


def address_error(value: str) -> str | None:
    """Return the reason why a text is not one e-mail address, or None."""
    if _FORBIDDEN.search(value):
        return "is not an e-mail address alone; give it without name, brackets or commas"
    if " " in value or not value.isprintable():  # any other blank is not printable
        return "is not an e-mail address: it contains a blank or an invisible character"
    if not _ADDRESS.fullmatch(value) or len(value) > MAX_ADDRESS:
        return "is not an e-mail address such as name@example.com"
    return None


def find_address_faults(command: Command) -> Iterator[tuple[str, str]]:
    """Yield (name, reason) of every invalid address in a command; an empty one counts as absent."""
    for name, value in find_values([command.lead, command.arguments], ADDRESS_NAMES):
        fault = address_error(value) if isinstance(value, str) and value else None
        if fault:
            yield name, fault


def find_named_twice(command: Command) -> tuple[str, str] | None:
    """Return (id, address) of the lead of a command that names it by both."""
    if command.name not in LEAD_COMMANDS:
        return None
    named = list(_iter_lead_fields({**command.arguments, **command.lead}))
    ids = {normalize_id(value) for name, value in named if name in LEAD_ID_NAMES}
    addresses = {normalize_id(value) for name, value in named if name in _LOOKUP_NAMES}
    return (ids.pop(), addresses.pop()) if len(ids) == len(addresses) == 1 else None


def find_lead(command: Command) -> dict[str, Any]:
    """Return the id or the address by which a command names its lead, for a read of the lead."""
    named = list(_iter_lead_fields({**command.arguments, **command.lead}))
    ids = [value for name, value in named if name in LEAD_ID_NAMES]
    addresses = [value for name, value in named if name in _LOOKUP_NAMES]
    return {"id": ids[0]} if ids else {"email": addresses[0]} if addresses else {}


def lacks_lead(command: Command, *, exact: bool) -> bool:
    """Return whether a command on a lead names no lead.

    `exact`: the names are Kartra's own, so that it ignores any other. An action may have its own
    names, so that anything in it that may name a lead counts.
    """
    if command.name == "create_lead":
        fields = [command.lead] if exact else [command.lead, command.arguments]
        return not any(value for _, value in find_values(fields, _LOOKUP_NAMES))
    if command.name not in LEAD_COMMANDS | LEAD_READS:
        return False
    if not exact or command.name in _FLAT_COMMANDS:
        return not _may_name_lead({**command.arguments, **command.lead})
    given = command.arguments if command.name == "get_lead" else command.lead
    return not any(_is_scalar(given.get(name)) for name in _KARTRA_NAMES)


def _may_name_lead(given: Mapping[str, Any]) -> bool:
    return any(
        _is_lead_name(name, one)
        if _is_scalar(one)
        else is_object(one) and not _is_other_noun(name) and _may_name_lead(one)
        for name, value in given.items()
        for one in (value if is_array(value) else [value])
    )


def _is_lead_name(name: str, value: Any) -> bool:
    plain, words = normalize_name(name), split_words(name)
    if plain in LEAD_ID_NAMES or plain in _LOOKUP_NAMES:
        return True
    if _is_other_noun(name) or plain.startswith("new"):
        return False
    owned = bool(words) and (words[-1] in _ID_WORDS or not set(LEAD_ALIASES).isdisjoint(words))
    return owned or "@" in str(value)


def _is_other_noun(name: str) -> bool:
    return not _OTHER_NOUNS.isdisjoint(split_words(name))


def _is_scalar(value: Any) -> bool:
    scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
    return scalar and bool(str(value).strip())


def _iter_lead_fields(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (normalized name, value) of the fields at the top and inside an object of the lead."""
    for name, value in given.items():
        flat = normalize_name(name)
        if is_object(value) and flat in LEAD_ALIASES:
            yield from _iter_lead_fields(value)
        elif _is_scalar(value):
            yield flat, value
