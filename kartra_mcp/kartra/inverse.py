"""Inverse of a write: the calls that undo it, or the reason why there is none. Pure.

`kartra/effects.py` describes the same undo in words; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kartra_mcp.core.models import Command
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.effects import OBJECT_ALIASES, describe_effect
from kartra_mcp.kartra.fields import LEAD_ID_NAMES, find_status, normalize_name
from kartra_mcp.kartra.lead_state import SEQUENCE_ENTRY, HeldState, is_unclear

_STATUS: Final = "subscription_status_modification"
_SUBSCRIPTION: Final = "subscription_id"
ARGUMENT_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "email": ("email", "lead_email"),
    "lead_id": ("lead_id", *sorted(LEAD_ID_NAMES - {"leadid"})),
    _SUBSCRIPTION: (_SUBSCRIPTION, "subscription"),
    _STATUS: (_STATUS, "status_modification", "status"),
    **{names[0]: names for names in OBJECT_ALIASES.values()},
}
"""Documented name of an argument, and the names under which tools have it."""

_RULES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "assign_tag": ("unassign_tag", ("tag",)),
    "unassign_tag": ("assign_tag", ("tag",)),
    "subscribe_lead_to_list": ("unsubscribe_lead_from_list", ("list",)),
    "unsubscribe_lead_from_list": ("subscribe_lead_to_list", ("list",)),
    SEQUENCE_ENTRY: ("unsubscribe_lead_from_sequence", ("sequence",)),
    "unsubscribe_lead_from_sequence": (SEQUENCE_ENTRY, ("sequence",)),
    "give_points_to_lead": ("remove_points_from_lead", ("points",)),
    "remove_points_from_lead": ("give_points_to_lead", ("points",)),
    "calendar_subscribe": ("calendar_cancel", ("calendar", "class")),
    "grant_membership_access": ("revoke_membership_access", ("membership", "level")),
    "revoke_membership_access": ("grant_membership_access", ("membership", "level")),
}
"""Command of a lead, its inverse, and the parts of its object that the inverse names."""
_STATUSES: Final[Mapping[str, str]] = {"pause": "unpause", "unpause": "pause"}
NO_INVERSE: Final[Mapping[str, str]] = {
    "create_lead": "Kartra has no command that deletes a lead",
    "create_custom_field": "Kartra has no command that deletes a custom field",
    "edit_lead": "a bulk run keeps no old values",
    "edit_subscription": "the old terms are not kept",
    "calendar_cancel": "no command shows when the booking was",
    "refund_transaction": "a refund cannot be taken back",
    "cancel_transaction": "a cancellation cannot be undone: the customer must buy again",
}
"""Command without an inverse, and the reason."""
_NOT_KNOWN: Final = "it is not known whether it changed anything"
PLANNABLE: Final = frozenset(_RULES) - {"calendar_subscribe"} | {"modify_subscription_status"}
"""Commands of which some effect can be undone. Kartra does not show whether a booking is new."""


@dataclass(frozen=True, slots=True)
class Inverse:
    """Calls of one command that undo a write; none if it cannot be undone or need not be.

    Attributes:
        command: Kartra's name of it, or "".
        calls: the arguments of each call, under their documented names.
        why: the reason why there are no calls, or "".
        changed: False if the write changed nothing.
    """

    command: str = ""
    calls: tuple[Mapping[str, Any], ...] = ()
    why: str = ""
    changed: bool = True


def find_inverse(
    commands: Sequence[Command], *, held: HeldState | None, changes: bool | None
) -> Inverse:
    """Return the inverse of a write that succeeded.

    Args:
        commands: of the write.
        held: the state of its object before it; None if it was not read.
        changes: whether it changed the account, by what was read before it; None if not known.
    """
    if len(commands) != 1:
        return Inverse(why="it ran several commands" if commands else "its command is not known")
    (command,) = commands
    effect = describe_effect(commands, "", who="", what="", held=held)
    if changes is False or effect.no_change:
        return Inverse(changed=False)
    if command.name in NO_INVERSE or command.name not in COMMANDS:
        return Inverse(why=NO_INVERSE.get(command.name, "its inverse is not known"))
    if not effect.sure and not changes:
        return Inverse(why=_NOT_KNOWN)
    if command.name == "modify_subscription_status":
        return _invert_status(command)
    return _invert_on_lead(command, held)


def _invert_status(command: Command) -> Inverse:
    wanted = _STATUSES.get(find_status(command.arguments))
    number = _find_argument(_SUBSCRIPTION, command.arguments)
    if wanted is None or not number:
        return Inverse(why=NO_INVERSE["cancel_transaction"])
    return Inverse(command.name, ({**number, _STATUS: wanted},))


def _invert_on_lead(command: Command, held: HeldState | None) -> Inverse:
    name, parts = _RULES[command.name]
    given = {**command.lead, **command.arguments}
    lead = {**_find_argument("email", given), **_find_argument("lead_id", given)}
    found = {n: v for part in parts for n, v in _find_part(part, given).items()}
    object_ = parts[0]
    if not lead or not any(alias in found for alias in OBJECT_ALIASES[object_]):
        return Inverse(why=f"its lead or its {object_} is not known")
    if name == SEQUENCE_ENTRY or (command.name == SEQUENCE_ENTRY and held and held.held):
        return _enter_again({**lead, **found}, held)
    if name == "grant_membership_access":
        return _grant_again(name, {**lead, **found}, held)
    return Inverse(name, ({**lead, **found},))


def _enter_again(given: Mapping[str, Any], held: HeldState | None) -> Inverse:
    """Return the entry at the step that the lead had in the sequence."""
    if held is None or not held.step or is_unclear(held.step):
        return Inverse(why="the step that the lead had in the sequence is not known")
    return Inverse(SEQUENCE_ENTRY, ({**given, "step": held.step},))


def _grant_again(name: str, given: Mapping[str, Any], held: HeldState | None) -> Inverse:
    """Return a grant for each level that ended."""
    if "level_name" in given or "level_id" in given:
        return Inverse(name, (given,))
    levels = held.levels if held else ()
    if not levels or any(map(is_unclear, levels)):
        return Inverse(why="the levels that the lead had are not known")
    return Inverse(name, tuple({**given, "level_name": level} for level in levels))


def _find_part(part: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of an object under its documented name; an id keeps its own."""
    documented = OBJECT_ALIASES[part][0]
    for alias in OBJECT_ALIASES[part]:
        found = _find_value((alias,), given)
        if found is not None and part == "points":
            return {documented: int(found) if str(found).isdecimal() else found}
        if found is not None:
            return {alias if alias.endswith("_id") else documented: found}
    return {}


def _find_argument(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    found = _find_value(ARGUMENT_ALIASES[name], given)
    return {} if found is None else {name: found}


def _find_value(aliases: Sequence[str], given: Mapping[str, Any]) -> Any:
    plain = {normalize_name(name): value for name, value in given.items()}
    values = (plain.get(normalize_name(alias)) for alias in aliases)
    return next((v for v in values if isinstance(v, str | int | float) and str(v).strip()), None)
