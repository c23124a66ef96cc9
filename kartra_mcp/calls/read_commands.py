"""One read command, by the action that does it or else as a raw request. Pure: only says how."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.core.models import Action, Command, RawRequest, Risk
from kartra_mcp.kartra import commands, fields
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.policy import risk
from kartra_mcp.schemas import arguments

ENDPOINT = "/api"


@dataclass(frozen=True, slots=True)
class ActionRead:
    """Run this action with these arguments."""

    action: Action
    arguments: Mapping[str, Any]


def plan_read(command: Command, entries: Iterable[ActionTool]) -> ActionRead | RawRequest:
    """The action whose command it is and that has a field for everything given, else raw."""
    for entry in entries:
        if commands.find_command(entry.action.key) == command.name and entry.risk is Risk.READ:
            given = _map_fields(entry, {**command.lead, **command.arguments})
            if given is not None:
                return ActionRead(entry.action, given)
    return _make_raw_request(command)


def _map_fields(entry: ActionTool, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is given under the action's own names; None where it has no field for something."""
    declared = {normalize_name(name): name for name in entry.portable.declared}
    found: dict[str, Any] = {}
    for name, value in given.items():
        own = next((declared[a] for a in _list_aliases(name, value) if a in declared), None)
        if own is None:
            return None
        found[own] = value
    return arguments.coerce_numbers(entry.portable, found, fields.ID_NAMES, fields.AMOUNT_NAMES)


def _list_aliases(name: str, value: Any) -> list[str]:
    """The plain names that a value may go by, its own first; an address never stands as an id."""
    kinds = [names for names in fields.TARGETS.values() if name in names or name == "id"]
    address = "@" in str(value)
    others = [
        normalize_name(alias) for names in kinds for alias in names if ("email" in alias) == address
    ]
    return [normalize_name(name), *others, *([] if address else ["id"])]


def _make_raw_request(command: Command) -> RawRequest:
    if command.name == "get_lead":
        body: dict[str, Any] = {"get_lead": dict(command.arguments)}
    else:
        body = {"actions": [{"cmd": command.name, **command.arguments}]}
    if command.lead:
        body["lead"] = dict(command.lead)
    request = RawRequest(
        "POST",
        ENDPOINT,
        body=json.dumps(body),
        content_type="application/json",
        commands=(command,),
    )
    assert risk.request_risk(request) is Risk.READ, command.name  # noqa: S101
    return request
