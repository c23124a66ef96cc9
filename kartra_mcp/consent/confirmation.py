"""Wording of the effect of a gated call, and the refusal that requests the confirm flag. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Call, Command, RawRequest
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.kartra import fields as kartra_fields
from kartra_mcp.kartra.commands import COMMANDS, find_status_texts
from kartra_mcp.kartra.request_path import fill_path

SHOWN_VALUE = 60


def confirmation_required_error(call: Call, changes: Sequence[str] = ()) -> RefusedError:
    """Return `confirmation_required`: what would happen, to whom, and how to undo it.

    `changes` are fields as `name old -> new`, as far as they were read: untrusted text.
    """
    return RefusedError(
        "confirmation_required",
        describe_call(call) + " Nothing was done.",
        "Show this to the user. Once they agree, repeat the call with the same arguments and "
        f"{call.consent.confirm_name}: true.",
        detail={"changes": list(changes)} if changes else None,
    )


def describe_call(call: Call) -> str:
    """Describe a call, e.g. `Refund Transaction (transaction_id "101") pays money back …`."""
    commands = call.commands or (Command("", call.arguments),)
    return " ".join(_describe_command(call, command) for command in commands)


def _describe_command(call: Call, command: Command) -> str:
    row = COMMANDS.get(command.name)
    what = _command_title(call, command) + _describe_recipient(command)
    if row is None:
        return f"{what} would change the account. It may not be possible to undo that."
    effect, undo = find_status_texts(command)
    return f"{what} {effect or row.effect}. Undo: {undo or row.undo}."


def _command_title(call: Call, command: Command) -> str:
    if isinstance(call.request, RawRequest):
        name = command.name or f"{call.request.method} {fill_path(call.request)}"
        return f"The command {_quote(name)}" if command.name else f"The raw request {_quote(name)}"
    return _quote(call.title)


def _describe_recipient(command: Command) -> str:
    fields = {**command.lead, **command.arguments}
    names = (
        kartra_fields.ID_NAMES
        | kartra_fields.AMOUNT_NAMES
        | kartra_fields.RECIPIENT_FIELDS
        | {"newemail", "subscriptionstatusmodification"}
    )
    found = [
        f"{_to_plain_text(name)} {_quote(str(value))}"
        for name, value in _find_scalars(fields, names)
    ]
    return f" ({', '.join(found[:5])})" if found else ""


def _find_scalars(fields: dict[str, object], names: frozenset[str]) -> list[tuple[str, object]]:
    found = kartra_fields.find_values(fields, names)
    return [(name, value) for name, value in found if isinstance(value, str | int | float)]


def _quote(text: str) -> str:
    return '"' + _to_plain_text(text).replace('"', "'") + '"'


def _to_plain_text(text: str) -> str:
    return truncate(" ".join(strip_control_chars(text).split()), SHOWN_VALUE)
