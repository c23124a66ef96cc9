"""Checks of the arguments of Kartra commands, of actions and raw requests alike. Pure.

The user is not asked for a call that cannot run: what Kartra would refuse is refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Command, Risk
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.kartra import addresses, command_values, commands, fields
from kartra_mcp.kartra.command_values import ValueFault
from kartra_mcp.kartra.values import amount_error, id_error
from kartra_mcp.policy import risk as policy_risk

MAX_FAULTS = 5


def check_command(
    command: Command, *, exact: bool, needs_lead: bool = True, is_raw: bool = False
) -> None:
    """Refuse a command that Kartra would refuse whatever the account contains.

    `exact`: the names of the arguments are Kartra's own. `needs_lead`: a command on a lead has to
    name one. `is_raw`: the caller wrote the request, which the remedy then shows.

    Raises:
        RefusedError: `invalid_arguments`.
    """
    check_references(command)
    if needs_lead and addresses.lacks_lead(command, exact=exact):
        raise _no_lead_error(command, is_raw=is_raw)
    faults = list(command_values.find_value_faults(command, exact=exact))
    if faults:
        raise value_error(faults)


def value_error(faults: Iterable[ValueFault]) -> RefusedError:
    """Return the error of values that Kartra would refuse."""
    listed = [truncate(strip_control_chars(str(fault)), 240) for fault in faults]
    more = f"; and {len(listed) - MAX_FAULTS} more" if len(listed) > MAX_FAULTS else ""
    return RefusedError(
        "invalid_arguments",
        f"{'; '.join(listed[:MAX_FAULTS])}{more}. Nothing was done.",
        "Correct the values, then repeat the call.",
    )


def _no_lead_error(command: Command, *, is_raw: bool) -> RefusedError:
    field = "get_lead" if command.name == "get_lead" else "lead"
    one = '"email": …' if command.name == "create_lead" else '"id": … or "email": …'
    remedy = (
        f'Put "{field}": {{{one}}} into the request, beside the actions.'
        if is_raw
        else "Give the lead's id or e-mail address."
    )
    return RefusedError("invalid_arguments", "The call names no lead. Nothing was done.", remedy)


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
