"""Documented form of a command from its flat arguments (`kartra/command_schemas.py`). Pure.

The form is not sent as it is: `kartra/request_guard.py` validates it like that of a raw request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kartra_mcp.kartra.command_schemas import COMMAND_SCHEMAS, LEAD_FIELDS

_WRITES_LEAD = frozenset({"create_lead", "edit_lead"})
_LEAD_NAMES: Mapping[str, str] = {"email": "email", "lead_id": "id", "new_email": "new_email"}


def build_form(command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the request with this one command."""
    lead, action = _split_lead(command, arguments)
    if command == "get_lead":
        return {"get_lead": lead}
    return _join(lead, [{"cmd": command, **_add_option_names(action)}])


def build_onboarding_form(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the request that creates a lead and puts it where it belongs.

    A name that is given twice is sent once.
    """
    lead = {"email": arguments["email"], **arguments.get("fields", {})}
    actions: list[dict[str, Any]] = [{"cmd": "create_lead"}]
    for command, name, given in (
        ("assign_tag", "tag_name", arguments.get("tags", ())),
        ("subscribe_lead_to_list", "list_name", arguments.get("lists", ())),
    ):
        actions += [{"cmd": command, name: value} for value in dict.fromkeys(given)]
    if "sequence" in arguments:
        actions.append(
            {
                "cmd": "subscribe_lead_to_sequence_at_step",
                "sequence_name": arguments["sequence"],
                "step": arguments["step"],
            }
        )
    return _join(lead, actions)


def _join(lead: Mapping[str, Any], actions: list[dict[str, Any]]) -> dict[str, Any]:
    return {**({"lead": dict(lead)} if lead else {}), "actions": actions}


def _split_lead(
    command: str, arguments: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of `lead`, and those of the command itself."""
    writes = command in _WRITES_LEAD
    of_lead = _LEAD_NAMES.keys() | (LEAD_FIELDS.keys() if writes else ())
    acts = writes or COMMAND_SCHEMAS[command].on_lead
    lead = {_LEAD_NAMES.get(n, n): v for n, v in arguments.items() if acts and n in of_lead}
    rest = {n: v for n, v in arguments.items() if not (acts and n in of_lead)}
    return lead, rest


def _add_option_names(action: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with each option of a custom field as Kartra's object."""
    if "custom_field_options" not in action:
        return dict(action)
    options = [{"option_name": label} for label in action["custom_field_options"]]
    return {**action, "custom_field_options": options}
