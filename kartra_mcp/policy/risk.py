"""Risk of actions, commands and raw requests: ordered rules over tables. Pure.

Unknown is dangerous: a read needs a row in the table, or a reading type and a reading verb.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Action, Command, RawRequest, Risk
from kartra_mcp.kartra import action_words as words
from kartra_mcp.kartra import commands as kartra
from kartra_mcp.kartra import fields as kartra_fields
from kartra_mcp.kartra import request_path
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.fields import normalize_name


def policy_names_of_action(tool: str, key: str, command: str) -> frozenset[str]:
    """Return all names under which allow and deny may refer to an action."""
    spelled = re.sub(r"[^a-z0-9_]+", "_", key.lower())
    keyed = {f"kartra_{key.lower()}", f"kartra_{spelled}"} if key else set[str]()
    return frozenset({tool} | keyed | ({f"kartra_{command}"} if command else set[str]()))


def policy_names_of_command(command: str) -> frozenset[str]:
    """Return the names of a Kartra command inside a raw request: its own and its action's."""
    key = next((k for k, c in kartra.ACTION_COMMANDS.items() if c == command), command)
    return frozenset({f"kartra_{command}", f"kartra_{key}", f"kartra_{key.replace('_', '-')}"})


def find_action_command(action: Action) -> str:
    """Return the Kartra command behind an action: by its exact key; without one, by its name."""
    return kartra.find_action_command(action.key or action.name)


def max_risk(action: Action) -> Risk:
    """Return the highest risk of an action, whatever its arguments. For the list."""
    command = find_action_command(action)
    return _with_command(action, COMMANDS[command].risk if command else None)


def min_risk(action: Action) -> Risk:
    """Return the lowest risk of an action; it decides whether the tool is hidden."""
    command = find_action_command(action)
    return _with_command(action, COMMANDS[command].lowest_risk if command else None)


def call_risk(action: Action, arguments: Mapping[str, Any]) -> Risk:
    """Return the risk of an action with these arguments."""
    command = find_action_command(action)
    return _with_command(action, classify_command(Command(command, arguments)) if command else None)


def _with_command(action: Action, risk: Risk | None) -> Risk:
    """Return the risk of the command, raised by every other declaration of the action.

    A key that identifies the command may come with a name that contradicts it.
    """
    if risk is None:
        return _classify_unknown_action(action)
    return max(risk, *_declared_risks(action, known=True), _contradicting_risk(action, risk))


def _contradicting_risk(action: Action, risk: Risk) -> Risk:
    """Return the risk of a name next to a key whose command is known.

    A published name of another command counts like that command. Other names are free text: only a
    verb of another kind than the command's counts.
    """
    name, named = action.name, kartra.find_action_command(action.name)
    if named:
        return Risk.READ if named == find_action_command(action) else COMMANDS[named].risk
    if words.moves_money(name) or words.ends_for_good(name):
        return Risk.IRREVERSIBLE
    acts = words.is_acting(name) if risk is Risk.READ else words.destroys(name)
    return Risk.DESTRUCTIVE if acts else Risk.READ


def classify_command(command: Command) -> Risk:
    """Return the risk of one Kartra command with its arguments."""
    row = COMMANDS.get(command.name)
    if row is None:
        return _classify_words(command.name)
    by_arguments = _BY_ARGUMENTS.get(command.name)
    return by_arguments(command) if by_arguments else row.risk


def request_risk(request: RawRequest) -> Risk:
    """Return the highest risk of a raw request's commands and of the words of its path.

    Without any command, a GET without a body reads, unless its path has a verb.
    """
    by_path = request_path.path_risk(request)
    if request.commands:
        by_method = Risk.DESTRUCTIVE if request.method == "DELETE" else Risk.READ
        return max(by_path, by_method, *(classify_command(c) for c in request.commands))
    reads = request.method == "GET" and request.body is None
    return max(by_path, Risk.READ if reads else Risk.DESTRUCTIVE)


def _edit_lead_risk(command: Command) -> Risk:
    """Return the risk of edit_lead.

    A new address changes the lead's identity; an empty value erases.
    """
    fields = [given for given in (command.lead, command.arguments) if given]
    named = [(normalize_name(name), value) for name, value in kartra_fields.iter_fields(fields)]
    addresses = {name for name, _ in named if "mail" in name}
    beside = len(addresses) > 1 or any(_identifies_lead(name, value) for name, value in named)
    changes = any(name.startswith("new") for name in addresses) or (addresses and beside)
    several = len({value.lower() for _, value in named if _is_address(value)}) > 1
    return Risk.DESTRUCTIVE if changes or several or _has_empty_value(fields) else Risk.WRITE


def _identifies_lead(name: str, value: Any) -> bool:
    """Return True if a field identifies the lead by more than the address."""
    alone = name in kartra_fields.LEAD_ALIASES and isinstance(value, str | int | float)
    return alone or name in kartra_fields.LEAD_ID_NAMES


def _is_address(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch(r"\s*[^@\s]+@[^@\s]+\s*", value) is not None


def _classify_status(command: Command) -> Risk:
    """Return the risk of a status change: only `pause` and `unpause` are known to be reversible."""
    values = kartra_fields.find_values(
        {**command.lead, **command.arguments},
        frozenset({"subscriptionstatusmodification", "statusmodification", "status"}),
    )
    wanted = {value if isinstance(value, str) else "" for _, value in values}
    undoable = bool(wanted) and wanted <= {"pause", "unpause"}
    return Risk.DESTRUCTIVE if undoable else Risk.IRREVERSIBLE


_BY_ARGUMENTS: Mapping[str, Callable[[Command], Risk]] = {
    "edit_lead": _edit_lead_risk,
    "modify_subscription_status": _classify_status,
}


def _declared_risks(action: Action, *, known: bool) -> tuple[Risk, ...]:
    """Return the risks of Membrane's type and method, as lower bounds.

    Kartra's reads are POST requests too, so for a known command POST is ignored.
    """
    by_type = kartra.TYPE_RISKS.get(action.type, Risk.READ)
    method = action.method.upper()
    posts = known and method == "POST"
    by_method = Risk.READ if posts else kartra.METHOD_RISKS.get(method, Risk.READ)
    return by_type, by_method


def _classify_unknown_action(action: Action) -> Risk:
    """Return the risk of an action that is not in the table: the highest of all that it declares.

    A read needs a reading verb, and a reading type or the method GET; a plain write an editing verb
    and an editing type. A type alone lowers nothing.
    """
    names = [name for name in (action.key, action.name) if name]
    declared = max(_declared_risks(action, known=False))
    if words.is_destroyed_for_good(action.description):
        return Risk.IRREVERSIBLE
    reading_type = action.type in kartra.READ_TYPES
    reads = reading_type or (
        action.method.upper() == "GET" and action.type not in kartra.TYPE_RISKS
    )
    by_words = [_classify_named(action, name, reads=reads) for name in names]
    return max(declared, *by_words) if by_words else max(declared, Risk.DESTRUCTIVE)


def _classify_named(action: Action, name: str, *, reads: bool) -> Risk:
    """Return the risk of one name of an action; a name without a verb is no evidence."""
    if name != action.key and action.key and not (words.is_reading(name) or words.is_acting(name)):
        return Risk.READ
    if words.is_reading(name) and reads:
        return Risk.READ
    if (
        words.is_editing(name)
        and action.type in kartra.EDITING_TYPES
        and not words.moves_money(name)
    ):
        return Risk.WRITE
    return _classify_words(name)


def _classify_words(name: str) -> Risk:
    """Return the risk of an unknown name: what its words do not prove harmless is destructive."""
    if words.moves_money(name) or words.ends_for_good(name):
        return Risk.IRREVERSIBLE
    return Risk.DESTRUCTIVE


def _has_empty_value(value: Any) -> bool:
    if is_object(value):
        return not value or any(_has_empty_value(inner) for inner in value.values())
    if is_array(value):
        return not value or any(_has_empty_value(inner) for inner in value)
    return value is None or (isinstance(value, str) and not value.strip())
