"""Checks of a chain that creates a lead: it must not be done in part.

The API has no command that deletes a lead, and Kartra may run the rest of a chain after a command
that failed. So the names are checked under every gate, and the lead must not exist: its tags and
lists would be changed, although a new lead was meant.
"""

from __future__ import annotations

from typing import Any

from kartra_mcp.calls.account_names import AccountNames
from kartra_mcp.consent.facts import Read
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import as_list, is_object
from kartra_mcp.core.models import Call, Command, Connection
from kartra_mcp.kartra.addresses import find_lead
from kartra_mcp.kartra.listings import LISTINGS, find_given_name, parse_names
from kartra_mcp.kartra.names import find_nearest
from kartra_mcp.kartra.response_search import find_object, first_field

NO_LEAD_TYPES = frozenset({"234", "243"})
"""Kartra's error types for a lead that does not exist."""


def creates_lead_in_chain(call: Call) -> bool:
    return len(call.commands) > 1 and call.commands[0].name == "create_lead"


async def check_chain_names(
    call: Call, connection: Connection, names: AccountNames, read: Read
) -> None:
    """Refuse a chain that creates a lead, if the account does not have one of its names.

    Raises:
        RefusedError: `invalid_arguments`, with all such names.
        KartraMCPError: the names could not be read.
    """
    if not creates_lead_in_chain(call):
        return
    faults: list[dict[str, Any]] = []
    for command in call.commands[1:]:
        listing = LISTINGS.get(command.name)
        given = find_given_name(command, listing) if listing else ""
        if listing is None or listing.command == "get_lead" or not given:
            continue
        if given in parse_names(names.peek(connection, listing.command), listing):
            continue
        known = parse_names(await names.read(connection, listing.command, read), listing)
        if given not in known:
            faults.append({listing.noun: given, "nearest": find_nearest(given, known)})
    if faults:
        raise _unknown_names_error(faults)


async def find_existing_lead(call: Call, read: Read) -> RefusedError | None:
    """Return the refusal of a chain that creates a lead which exists, or None.

    Raises:
        KartraMCPError: the lead could not be read.
    """
    lead = find_lead(call.commands[0]) if creates_lead_in_chain(call) else {}
    if not lead:
        return None
    try:
        answer = await read(Command("get_lead", lead))
    except KartraMCPError as problem:
        if _is_no_lead(problem):
            return None
        raise
    found = find_object(answer, "lead_details", ("id", "email"))
    return RefusedError(
        "invalid_arguments",
        "A lead with this address exists already. Nothing was done.",
        "Change it with kartra_edit_lead, kartra_assign_tag, kartra_subscribe_lead_to_list and "
        "kartra_subscribe_lead_to_sequence.",
        detail={"lead_id": first_field(found, "id", "lead_id")},
    )


def _is_no_lead(problem: KartraMCPError) -> bool:
    detail = problem.detail
    parts = as_list(detail.get("kartra")) if is_object(detail) else []
    return bool(parts) and all(is_object(one) and one.get("type") in NO_LEAD_TYPES for one in parts)


def _unknown_names_error(faults: list[dict[str, Any]]) -> RefusedError:
    kinds = " and ".join(dict.fromkeys(f"{next(iter(fault))}s" for fault in faults))
    return RefusedError(
        "invalid_arguments",
        f"The account does not have {len(faults)} of the named {kinds}. Nothing was done.",
        "Use each name exactly as the account has it; `detail` has the nearest. The user makes new "
        "tags, lists and sequences in Kartra.",
        detail={"names": faults},
    )
