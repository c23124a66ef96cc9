"""The wording of what a gated call would do, and the refusal that asks for consent. Pure."""

from __future__ import annotations

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Call, Command, RawRequest
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.kartra import fields as kartra_fields
from kartra_mcp.kartra.commands import COMMANDS

SHOWN_VALUE = 60


def required(call: Call) -> RefusedError:
    """`confirmation_required`: what would happen, to whom, and how to undo it."""
    return RefusedError(
        "confirmation_required",
        sentence(call) + " Nothing was done.",
        "Show this to the person. Once they agree, repeat the call with the same arguments and "
        f"{call.consent.confirm_name}: true.",
    )


def sentence(call: Call) -> str:
    """E.g. `Refund Transaction (transaction_id "101") pays money back …. A refund cannot …`."""
    commands = call.commands or (Command("", call.arguments),)
    return " ".join(_one(call, command) for command in commands)


def _one(call: Call, command: Command) -> str:
    row = COMMANDS.get(command.name)
    what = _name(call, command) + _whom(command)
    if row is None:
        return f"{what} would change the account. Whether that can be undone is not known."
    return f"{what} {row.effect}. Undo: {row.undo}."


def _name(call: Call, command: Command) -> str:
    if isinstance(call.operation, RawRequest):
        name = command.name or f"{call.operation.method} {call.operation.path}"
        return f"The raw request {_quoted(name)}"
    return _quoted(call.title)


def _whom(command: Command) -> str:
    fields = {**command.lead, **command.arguments}
    names = kartra_fields.ID_NAMES | kartra_fields.AMOUNT_NAMES | kartra_fields.RECIPIENT_FIELDS
    found = [f"{_plain(name)} {_quoted(str(value))}" for name, value in _scalars(fields, names)]
    return f" ({', '.join(found[:5])})" if found else ""


def _scalars(fields: dict[str, object], names: frozenset[str]) -> list[tuple[str, object]]:
    found = kartra_fields.find_values(fields, names)
    return [(name, value) for name, value in found if isinstance(value, str | int | float)]


def _quoted(text: str) -> str:
    return '"' + _plain(text).replace('"', "'") + '"'


def _plain(text: str) -> str:
    return truncate(" ".join(strip_control_chars(text).split()), SHOWN_VALUE)
