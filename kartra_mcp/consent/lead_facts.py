"""Facts of a lead: its memberships before a revocation, and its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kartra_mcp.consent.call_effects import call_effect
from kartra_mcp.consent.changes import format_arguments
from kartra_mcp.consent.fact_reader import (
    FactReader,
    describe_person,
    short_text,
    without_empty,
)
from kartra_mcp.consent.facts import Facts, Impossible
from kartra_mcp.consent.lead_edit import LeadEdit, describe_edit, edits_lead
from kartra_mcp.core.models import Call, OperationKind, Risk, Target
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.effects import describe_object
from kartra_mcp.kartra.lead_state import HeldState, find_object, read_held
from kartra_mcp.kartra.names import fold_text
from kartra_mcp.kartra.response_search import find_rows, first_field

_MEMBERSHIPS, _LEAD = "the lead's memberships", "the lead"
_MEMBERSHIP_KEYS = (("name", "membership_name"), ("membership_id", "id"))
_LEVEL_KEYS = (("level_name",), ("level_id",))


async def membership_facts(target: Target, call: Call, reader: FactReader) -> Facts:
    """Return the facts of a revocation: the memberships that it means, and the lead's name."""
    details = await reader.read_lead(target.id, _MEMBERSHIPS)
    given = call.operation.arguments
    wanted = {fold_text(str(v)) for n, v in given.items() if "membership" in n.lower()}
    levels = {fold_text(str(v)) for n, v in given.items() if "level" in n.lower()}
    every = find_rows(details, "memberships")
    mine = [m for m in every if _is_meant(m, wanted, levels)]
    active = [m for m in mine if _is_active(m)]
    shown = {
        "lead": describe_person(details, short_text(first_field(details, "email"))) or target.id,
        "memberships": [_describe_membership(m) for m in mine],
        "charges": "go on: a revocation does not cancel a subscription",
    }
    evidence = tuple(f"{first_field(m, 'level_id', 'level_name')}:{m in active}" for m in mine)
    held = read_held_object(call, details)
    impossible = absent_lead(target, reader, _MEMBERSHIPS)
    if impossible is None and not mine and not reader.unread:
        impossible = Impossible(
            "The lead does not hold this membership.",
            "Read the lead (kartra_get_lead), and name one of its memberships and levels exactly.",
        )
        shown["memberships_of_the_lead"] = [_describe_membership(m) for m in every]
    return Facts(
        OperationKind.REVOCATION,
        target,
        without_empty(shown),
        tuple(reader.unread),
        already_done=bool(mine) and not active and not reader.unread,
        impossible=impossible,
        evidence=evidence,
        lead=short_text(first_field(details, "email")),
        held=held,
    )


async def other_facts(target: Target, call: Call, reader: FactReader) -> Facts:
    """Return the target of a call, with the lead's name if a known command has a lead as target."""
    details: Mapping[str, Any] = {}
    if acts_on_known_lead(target, call):
        details = await reader.read_lead(target.id, _LEAD)
    edit = describe_edit(call, details or None) if edits_lead(call) else LeadEdit()
    email = short_text(first_field(details, "email"))
    commands = [command.name for command in call.commands if command.name]
    held = read_held_object(call, details)
    shown = {
        "acts_on": str(target),
        "lead": describe_person(details, email),
        "now": _describe_held(call, held),
        "does": commands,
        "changes": list(map(str, edit.changes)),
        "arguments": format_arguments(call.operation.arguments),
    }
    return Facts(
        OperationKind.OTHER,
        target,
        without_empty(shown),
        tuple(reader.unread),
        impossible=absent_lead(target, reader, _LEAD) or _not_held(call, held),
        changes=edit.changes,
        lead=email,
        held=held,
    )


async def lead_object_facts(
    target: Target, operation: str, entry: Mapping[str, Any], reader: FactReader
) -> Facts:
    """Return the present state of the object that an earlier write set on a lead."""
    details = await reader.read_lead(target.id, _LEAD)
    held = read_held(operation, entry.get("facts") or {}, details)
    return Facts(OperationKind.OTHER, target, missing=tuple(reader.unread), held=held)


def read_held_object(call: Call, details: Mapping[str, Any]) -> HeldState | None:
    """Return the state of the object that a single command sets; None for a chain."""
    if len(call.commands) != 1:
        return None
    return read_held(call.commands[0].name, call_effect(call, mask=True).parts, details)


def _describe_held(call: Call, held: HeldState | None) -> str:
    if held is None:
        return ""
    step = f" at step {held.step}" if held.step else ""
    return f"the lead {'has' if held.held else 'does not have'} {_name_object(call)}{step}"


def _not_held(call: Call, held: HeldState | None) -> Impossible | None:
    """Return the reason why nothing can be taken away, or None."""
    found = find_object(call.commands[0].name) if call.commands else None
    if held is None or held.held or found is None or found[1]:
        return None
    return Impossible(
        f"The lead does not have {_name_object(call)}.",
        f"Read the lead (kartra_get_lead), and name one of its {found[0]}s exactly.",
    )


def _name_object(call: Call) -> str:
    """Return `the tag "VIP"`."""
    return f"the {describe_object(call_effect(call, mask=True).parts)}"


def absent_lead(target: Target, reader: FactReader, what: str) -> Impossible | None:
    if what not in reader.absent:
        return None
    # An address is not repeated: it is the caller's, and may be a hostile text.
    name = f"Lead {target.id}" if target.id.isdecimal() else "The lead"
    return Impossible(
        f"{name} does not exist, or was deleted.",
        "Call kartra_get_lead with another address or id.",
    )


def acts_on_known_lead(target: Target, call: Call) -> bool:
    """Return whether a call is a write of known commands on a lead that must exist."""
    names = {command.name for command in call.commands}
    known = names <= COMMANDS.keys() and bool(names)
    if target.kind != "lead" or not known or "create_lead" in names:
        return False
    # A gated read of a lead must not run for its own preview, before the user agreed.
    return any(COMMANDS[name].risk > Risk.READ for name in names)


def _is_meant(membership: Mapping[str, Any], wanted: set[str], levels: set[str]) -> bool:
    names = {fold_text(str(first_field(membership, *keys))) for keys in _MEMBERSHIP_KEYS}
    level = {fold_text(str(first_field(membership, *keys))) for keys in _LEVEL_KEYS}
    return (not wanted or bool(wanted & names)) and (not levels or bool(levels & level))


def _is_active(membership: Mapping[str, Any]) -> bool:
    return str(first_field(membership, "active")).lower() in {"1", "true"}


def _describe_membership(membership: Mapping[str, Any]) -> str:
    """Return `Studio Circle, level Gold, active`."""
    name = short_text(first_field(membership, "name", "membership_name"))
    level = short_text(first_field(membership, "level_name", "level"))
    parts = (
        name,
        f"level {level}" if level else "",
        "active" if _is_active(membership) else "not active",
    )
    return ", ".join(part for part in parts if part)
