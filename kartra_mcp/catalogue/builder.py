"""Build the catalogue of one connection from its list of actions. Pure.

The list is the result of `action list`; one malformed action never makes it fail.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from kartra_mcp.catalogue.catalogue import ActionTool, Catalogue, make_tool_name
from kartra_mcp.catalogue.command_tools import CommandTool, list_command_tools
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import Action
from kartra_mcp.core.sanitize import strip_control_chars
from kartra_mcp.policy import gates
from kartra_mcp.policy import risk as policy_risk

NAME_BEFORE_SUFFIX = 38
_RUNNABLE_STATES = ("", "READY")


def build_catalogue(
    raw: Iterable[Any], own: Iterable[str] = (), *, commands: bool = False
) -> Catalogue:
    """Build the catalogue from the result of `action list`.

    Args:
        raw: the list's entries as received.
        own: names of the built-in tools.
        commands: add a tool for each Kartra command that no action covers.
    """
    actions: dict[str, Action] = {}
    left_out: list[str] = []
    for number, entry in enumerate(raw):
        action = parse_action(entry)
        if isinstance(action, str):
            left_out.append(f"entry {number + 1}: {action}")
        else:
            actions.setdefault(action.id, action)
    covered = {policy_risk.find_action_command(action) for action in actions.values()}
    added = list_command_tools(covered) if commands else dict[str, CommandTool]()
    named = _assign_names(actions.values(), gates.ALWAYS_ALLOWED.union(own, added))
    entries = {**{tool: ActionTool(tool, action) for tool, action in named.items()}, **added}
    return Catalogue({tool: entries[tool] for tool in sorted(entries)}, tuple(left_out))


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


def _is_word(identity: str) -> bool:
    """Return whether the program can receive this as one argument."""
    return bool(identity) and identity.isprintable() and not identity.startswith("-")


def _get_method(config: Any) -> str:
    request = config.get("request") if is_object(config) else None
    method = request.get("method") if is_object(request) else None
    return method.strip().upper() if isinstance(method, str) else ""


def _clean_text(value: Any) -> str:
    return strip_control_chars(value).strip() if isinstance(value, str) else ""
