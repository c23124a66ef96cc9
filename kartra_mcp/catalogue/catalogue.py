"""Convert actions to tools, and a tool's name and arguments to a validated call. Pure.

The actions are the result of `action list`; one malformed action never makes the list fail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kartra_mcp.catalogue import command_checks, consent_arguments
from kartra_mcp.core.models import (
    Action,
    Command,
    ConsentArguments,
    RawRequest,
    Risk,
    ValidatedCall,
)
from kartra_mcp.core.sanitize import truncate
from kartra_mcp.kartra import commands, fields
from kartra_mcp.policy import risk as policy_risk
from kartra_mcp.schemas import arguments as args
from kartra_mcp.schemas.locations import at_property, declared_types, locate, property_names
from kartra_mcp.schemas.portable import PortableSchema, find_portable

MAX_NAME = 45
DESCRIPTION = 1_900
TITLE = 80


@dataclass(frozen=True)
class ActionTool:
    """One action as a tool; everything but its name is computed on first use.

    Only few of thousands of actions are ever listed or called.
    """

    tool: str
    action: Action

    @cached_property
    def title(self) -> str:
        return truncate(self.action.name or self.action.key or self.action.id, TITLE)

    @cached_property
    def description(self) -> str:
        return _make_description(self.action, self.title, self.command, self.risk, self.min_risk)

    @cached_property
    def command(self) -> str:
        """Return the Kartra command of the action, or ""."""
        return policy_risk.find_action_command(self.action)

    @cached_property
    def risk(self) -> Risk:
        """Return the highest risk that its arguments can cause."""
        return policy_risk.max_risk(self.action)

    @cached_property
    def min_risk(self) -> Risk:
        """Return the lowest risk; it decides whether the tool is hidden."""
        return policy_risk.min_risk(self.action)

    @property
    def is_action(self) -> bool:
        """Return whether it is an action of the connection; else it is one of this server's own."""
        return True

    @property
    def undo(self) -> str:
        row = commands.COMMANDS.get(self.command)
        return row.undo if row else "not known"

    @cached_property
    def names(self) -> frozenset[str]:
        """Return all names under which allow, deny and gates may refer to it."""
        own = policy_risk.policy_names_of_action(self.tool, self.action.key, self.command)
        return own | {make_tool_name(self.action)}

    @property
    def search_names(self) -> tuple[str, ...]:
        """Return the names by which the search ranks it, the most exact first."""
        return tuple(filter(None, (self.action.key or self.tool, self.action.name)))

    @cached_property
    def portable(self) -> PortableSchema:
        return find_portable(self.action.schema)

    def input_schema(self, *, gated: bool) -> dict[str, Any]:
        """Return the advertised input schema, with the consent arguments if the tool is gated."""
        if not gated:
            return self.portable.advertised
        own = self.portable.advertised.get("properties", {})
        added = consent_arguments.consent_properties(self.own_names, repeat=self.writes)
        return {**self.portable.advertised, "properties": {**own, **added}}

    def make_request(self, arguments: Mapping[str, Any]) -> Action | RawRequest:
        """Return the request that runs the tool; `arguments` were validated."""
        del arguments  # an action takes them next to the request
        return self.action

    def same_definition(self, other: ActionTool) -> bool:
        """Return whether a client would see the same tool.

        Equal source schemas need no comparison.
        """
        mine = (self.title, self.description, self.risk)
        if mine != (other.title, other.description, other.risk):
            return False
        same = self.action.schema == other.action.schema
        return same or self.input_schema(gated=True) == other.input_schema(gated=True)

    @property
    def writes(self) -> bool:
        """Return whether a call can write, and so be repeated."""
        return self.risk > Risk.READ

    @property
    def own_names(self) -> frozenset[str]:
        """Return the action's own top-level names, advertised and original."""
        return frozenset(self.portable.advertised.get("properties", {})) | self.portable.declared

    @property
    def argument_types(self) -> dict[str, frozenset[str]]:
        """Return the JSON types of each advertised argument; empty if any is allowed."""
        at = locate(self.portable.advertised)
        return {name: declared_types(at_property(at, name)) for name in property_names(at)}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All tools of one connection, ordered by name; `left_out` lists what is missing and why."""

    entries: Mapping[str, ActionTool]
    left_out: tuple[str, ...] = ()

    @property
    def action_count(self) -> int:
        """Return how many entries are actions of the connection."""
        return sum(entry.is_action for entry in self.entries.values())

    def same_definitions(self, other: Catalogue) -> bool:
        """Return whether a client would see the same tools."""
        mine, others = self.entries, other.entries
        return mine.keys() == others.keys() and all(
            e.same_definition(others[n]) for n, e in mine.items()
        )


EMPTY = Catalogue({})


def make_call(entry: ActionTool, given: Mapping[str, Any] | None, *, gated: bool) -> ValidatedCall:
    """Return the validated call of a tool, with the consent arguments if the tool is gated.

    Raises:
        RefusedError: `invalid_arguments`, naming every invalid field.
    """
    args.limit_names(given)
    own, said = dict(given or {}), ConsentArguments()
    if gated:
        own, said = consent_arguments.split_consent(entry.own_names, own, repeat=entry.writes)
    own = args.drop_absent(entry.portable, own, find_optional_names(entry))
    money = commands.has_amount(entry.action.key or entry.action.name)
    amounts = fields.find_amount_names(own, money=money)
    normal = args.coerce_numbers(entry.portable, own, fields.COERCED_NAMES, amounts)
    args.limit_names(normal)  # again: a text may have been a large object
    strict = entry.risk is Risk.IRREVERSIBLE or not entry.is_action
    checked = args.validate(entry.portable, normal, strict=strict)
    request = entry.make_request(checked)
    if isinstance(request, RawRequest):
        risk, found, checked = policy_risk.request_risk(request), request.commands, {}
    else:
        risk = policy_risk.call_risk(request, checked)
        found = (Command(entry.command, checked),) if entry.command else ()
    if risk is Risk.IRREVERSIBLE:
        for fields_of in (checked, *(field for c in found for field in (c.lead, c.arguments))):
            command_checks.check_amounts(fields_of, money=money)
    # An action without fields has no place for a lead: the caller could not name one.
    needs_lead = bool(entry.portable.declared)
    for command in found:
        exact = isinstance(request, RawRequest)
        command_checks.check_command(command, exact=exact, needs_lead=needs_lead)
    return ValidatedCall(
        tool=entry.tool,
        title=entry.title,
        request=request,
        risk=risk,
        policy_names=entry.names,
        commands=found,
        arguments=checked,
        consent=said,
    )


def find_optional_names(entry: ActionTool) -> frozenset[str] | None:
    """Return the names that may be left out without a larger effect; None is all of them.

    A write without its reference is refused by Kartra. Without an amount, a level or an expiration
    it does more, and the fields of an unknown write are unknown.
    """
    if entry.risk is Risk.READ:
        return None
    return fields.REFERENCE_NAMES if entry.command else frozenset()


def make_tool_name(action: Action) -> str:
    """Return `kartra_` + the key (else the name, else the id): letters, digits, `_`, at most 45."""
    words = (action.key or action.name or action.id).lower()
    return ("kartra_" + re.sub(r"[^a-z0-9_]+", "_", words))[:MAX_NAME]


def tool_annotations(title: str, risk: Risk) -> dict[str, Any]:
    """Return MCP's annotations, derived from risk alone.

    What MCP assumes without them is left out: a tool has effects outside (`openWorldHint`), and an
    equal second call may have a second one (`idempotentHint`).
    """
    return {
        "title": title,
        "readOnlyHint": risk is Risk.READ,
        "destructiveHint": risk >= Risk.DESTRUCTIVE,
    }


def describe_effect(text: str, command: str, risk: Risk, least: Risk) -> str:
    """Return a sentence of this server with undo and confirmation, if needed."""
    row = commands.COMMANDS.get(command)
    undo = f"Undo: {row.undo}." if row and risk is Risk.IRREVERSIBLE else ""
    return " ".join(part for part in (text, undo, _ask_sentence(risk, least)) if part)


def _make_description(action: Action, title: str, command: str, risk: Risk, least: Risk) -> str:
    said = _end_sentence(action.description or title)
    notice = _make_notice(command, risk, least)
    stop = "." if notice and said[-1:].isalnum() else ""
    room = DESCRIPTION - len(notice) - 2
    return f"{truncate(said, room)}{stop} {notice}".strip()


def _make_notice(command: str, risk: Risk, least: Risk) -> str:
    """Return one sentence on effect and confirmation, if needed."""
    row = commands.COMMANDS.get(command)
    if risk < Risk.DESTRUCTIVE:
        return ""
    effect = _as_sentence(row.effect) if row and row.effect else ""
    undo = f"Undo: {row.undo}." if row and risk is Risk.IRREVERSIBLE else ""
    return " ".join(part for part in (effect, undo, _ask_sentence(risk, least)) if part)


def _ask_sentence(risk: Risk, least: Risk) -> str:
    if risk < Risk.DESTRUCTIVE:
        return ""
    when = "Asks for confirmation" if risk == least else "May ask for confirmation"
    return f"{when} ({risk.label})."


def _end_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text else ""
