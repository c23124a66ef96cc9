"""Convert actions to tools, and a tool's name and arguments to a validated call. Pure.

The actions are the result of `action list`; one malformed action never makes the list fail.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kartra_mcp.catalogue import consent_arguments
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import Action, Command, ConsentArguments, Risk, ValidatedCall
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.kartra import addresses, commands, fields
from kartra_mcp.kartra.values import amount_error, id_error
from kartra_mcp.policy import gates
from kartra_mcp.policy import risk as policy_risk
from kartra_mcp.schemas import arguments as args
from kartra_mcp.schemas.portable import PortableSchema, make_portable

MAX_NAME = 45
NAME_BEFORE_SUFFIX = 38
DESCRIPTION = 1_900
TITLE = 80
_RUNNABLE_STATES = ("", "READY")


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

    @cached_property
    def names(self) -> frozenset[str]:
        """Return all names under which allow, deny and gates may refer to it."""
        own = policy_risk.policy_names_of_action(self.tool, self.action.key, self.command)
        return own | {make_tool_name(self.action)}

    @cached_property
    def portable(self) -> PortableSchema:
        return make_portable(self.action.schema)

    def input_schema(self, *, gated: bool) -> dict[str, Any]:
        """Return the advertised input schema, with the consent arguments if the tool is gated."""
        if not gated:
            return self.portable.advertised
        own = self.portable.advertised.get("properties", {})
        added = consent_arguments.consent_properties(self.own_names, repeat=self.writes)
        return {**self.portable.advertised, "properties": {**own, **added}}

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


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All tools of one connection, ordered by name; `left_out` lists what is missing and why."""

    entries: Mapping[str, ActionTool]
    left_out: tuple[str, ...] = ()

    def same_definitions(self, other: Catalogue) -> bool:
        """Return whether a client would see the same tools."""
        mine, others = self.entries, other.entries
        return mine.keys() == others.keys() and all(
            e.same_definition(others[n]) for n, e in mine.items()
        )


EMPTY = Catalogue({})


def build_catalogue(raw: Iterable[Any], own: Iterable[str] = ()) -> Catalogue:
    """Build the catalogue from the result of `action list`.

    Args:
        raw: the list's entries as received.
        own: names of the built-in tools.
    """
    actions: dict[str, Action] = {}
    left_out: list[str] = []
    for number, entry in enumerate(raw):
        action = parse_action(entry)
        if isinstance(action, str):
            left_out.append(f"entry {number + 1}: {action}")
        else:
            actions.setdefault(action.id, action)
    named = _assign_names(actions.values(), gates.ALWAYS_ALLOWED.union(own))
    entries = {tool: ActionTool(tool, named[tool]) for tool in sorted(named)}
    return Catalogue(entries, tuple(left_out))


def parse_action(entry: Any) -> Action | str:
    """Parse one entry of `action list`; or return the reason why it cannot be a tool."""
    if not is_object(entry):
        return "not an object"
    identity = entry.get("id")
    if not isinstance(identity, str) or not _is_word(identity):
        return "no usable id"
    if entry.get("archivedAt") or entry.get("isDeactivated") is True:
        return "archived or deactivated"
    if _clean_text(entry.get("state")).upper() not in _RUNNABLE_STATES:
        return f"in the state {_clean_text(entry.get('state'))!r}"
    return Action(
        id=identity,
        key=_clean_text(entry.get("key")),
        name=_clean_text(entry.get("name")),
        description=strip_control_chars(entry["description"]).strip()
        if isinstance(entry.get("description"), str)
        else "",
        type=_clean_text(entry.get("type")).strip(),
        method=_get_method(entry.get("config")),
        schema=entry.get("inputSchema"),
        revision=str(entry.get("revision") or ""),
    )


def make_call(entry: ActionTool, given: Mapping[str, Any] | None, *, gated: bool) -> ValidatedCall:
    """Return the validated call of a tool, with the consent arguments if the tool is gated.

    Raises:
        RefusedError: `invalid_arguments`, naming every invalid field.
    """
    args.limit_names(given)
    own, said = dict(given or {}), ConsentArguments()
    if gated:
        own, said = consent_arguments.split_consent(entry.own_names, own, repeat=entry.writes)
    own = args.drop_absent(entry.portable, own, _find_optional_names(entry))
    money = commands.has_amount(entry.action.key or entry.action.name)
    amounts = fields.find_amount_names(own, money=money)
    normal = args.coerce_numbers(entry.portable, own, fields.COERCED_NAMES, amounts)
    args.limit_names(normal)  # again: a text may have been a large object
    strict = entry.risk is Risk.IRREVERSIBLE
    checked = args.validate(entry.portable, normal, strict=strict)
    risk = policy_risk.call_risk(entry.action, checked)
    if risk is Risk.IRREVERSIBLE:
        check_amounts(checked, money=money)
    command = policy_risk.find_action_command(entry.action)
    if command:
        check_references(Command(command, checked))
    return ValidatedCall(
        tool=entry.tool,
        title=entry.title,
        request=entry.action,
        risk=risk,
        policy_names=entry.names,
        commands=(Command(command, checked),) if command else (),
        arguments=checked,
        consent=said,
    )


def _find_optional_names(entry: ActionTool) -> frozenset[str] | None:
    """Return the names that may be left out without a larger effect; None is all of them.

    A write without its reference is refused by Kartra. Without an amount, a level or an expiration
    it does more, and the fields of an unknown write are unknown.
    """
    if entry.risk is Risk.READ:
        return None
    return fields.REFERENCE_NAMES if entry.command else frozenset()


def check_amounts(arguments: Mapping[str, Any], *, money: bool) -> None:
    """Refuse an amount that is not a plain sum of money: without one a refund is a full refund."""
    for name, value in fields.find_amounts(arguments, money=money):
        fault = amount_error(value, cents=fields.is_cents_field(name))
        if fault:
            raise RefusedError(
                "invalid_arguments",
                f"{truncate(strip_control_chars(name), 60)}: {fault}",
                "Give a sum above 0 with at most two decimals, or leave it out where everything "
                "is meant.",
            )


def check_references(command: Command) -> None:
    """Refuse a text that is not an e-mail address, or not an id, where one is expected."""
    for name, value in fields.find_values([command.lead, command.arguments], fields.NUMBER_NAMES):
        fault = id_error(value)
        if fault:
            raise RefusedError(
                "invalid_arguments",
                f"{truncate(strip_control_chars(name), 60)} {fault}. Nothing was done.",
                "Give the id alone, in digits, e.g. 101.",
            )
    for name, fault in addresses.find_address_faults(command):
        raise RefusedError(
            "invalid_arguments",
            f"{truncate(strip_control_chars(name), 60)} {fault}. Nothing was done.",
            "Give the address alone, e.g. ada@example.com.",
        )


def check_raw_amounts(command: Command) -> None:
    """Check the amounts in an irreversible raw command and in its request's lead.

    The rules are those of the command's own tool.
    """
    if policy_risk.classify_command(command) is Risk.IRREVERSIBLE:
        money = commands.has_amount(command.name)
        for given in (command.lead, command.arguments):
            check_amounts(given, money=money)


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


def _assign_names(actions: Iterable[Action], own: frozenset[str]) -> dict[str, Action]:
    """Give every action a unique name, whatever the order of the list."""
    known = [(make_tool_name(a), a) for a in sorted(actions, key=lambda action: action.id)]
    count = Counter(name for name, _ in known)
    meets = [(name, action) for name, action in known if count[name] > 1 or name in own]
    taken = {name for name, _ in meets} | {_add_suffix(action) for _, action in meets}
    named: dict[str, Action] = {}
    for name, action in known:
        named.setdefault(_add_suffix(action) if name in taken else name, action)
    return named


def _add_suffix(action: Action) -> str:
    digest = hashlib.sha256(action.id.encode()).hexdigest()[:6]
    return f"{make_tool_name(action)[:NAME_BEFORE_SUFFIX]}_{digest}"


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
    when = "Asks for confirmation" if risk == least else "May ask for confirmation"
    return " ".join(part for part in (effect, undo, f"{when} ({risk.label}).") if part)


def _end_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text else ""


def _is_word(identity: str) -> bool:
    """Return whether the program can receive this as one argument."""
    return bool(identity) and identity.isprintable() and not identity.startswith("-")


def _get_method(config: Any) -> str:
    request = config.get("request") if is_object(config) else None
    method = request.get("method") if is_object(request) else None
    return method.strip().upper() if isinstance(method, str) else ""


def _clean_text(value: Any) -> str:
    return strip_control_chars(value).strip() if isinstance(value, str) else ""
