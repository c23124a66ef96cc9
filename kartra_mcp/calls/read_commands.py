"""Plan one read command: as the action that covers it, else as a raw request. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.core.models import Action, Command, RawRequest, Risk, ValidatedCall
from kartra_mcp.kartra import commands, fields
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.policy import risk
from kartra_mcp.schemas import arguments

ENDPOINT = "/api"


def plan_read(command: Command, entries: Iterable[ActionTool]) -> ValidatedCall:
    """Return a call of the action that has a field for every argument, else of a raw request.

    The call belongs to no tool: the policy decided on the call that needs this read.
    """
    for entry in entries:
        same = entry.is_action and commands.find_command(entry.action.key) == command.name
        if same and entry.risk is Risk.READ:
            given = _map_fields(entry, {**command.lead, **command.arguments})
            if given is not None:
                return _make_read(entry.action, command, given)
    return _make_read(_make_raw_request(command), command, {})


def _make_read(
    request: Action | RawRequest, command: Command, given: Mapping[str, Any]
) -> ValidatedCall:
    return ValidatedCall("", "", request, Risk.READ, frozenset(), (command,), given)


def _map_fields(entry: ActionTool, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the arguments under the action's own names; None if a field is missing."""
    declared = {normalize_name(name): name for name in entry.portable.declared}
    found: dict[str, Any] = {}
    for name, value in given.items():
        own = next((declared[a] for a in _list_aliases(name, value) if a in declared), None)
        if own is None:
            return None
        found[own] = value
    return arguments.coerce_numbers(entry.portable, found, fields.ID_NAMES, fields.AMOUNT_NAMES)


def _list_aliases(name: str, value: Any) -> list[str]:
    """Return the normalized names of a value, its own first; an address is never an id."""
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
