"""What the account shows of an item of a bulk run before it runs: read once, nothing written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kartra_mcp.consent.call_effects import call_effect
from kartra_mcp.consent.collect import read_facts
from kartra_mcp.consent.fact_reader import FactReader
from kartra_mcp.consent.facts import Facts, Read
from kartra_mcp.consent.lead_edit import LeadEdit
from kartra_mcp.core.models import Call, Command, Connection, OperationKind
from kartra_mcp.kartra.lead_state import shows_change, would_change


@dataclass(frozen=True, slots=True)
class Examination:
    """What the account shows of a call that is an item of a bulk run.

    Attributes:
        call: as Kartra takes it, with the risk that was found.
        connection: that it would run on.
        facts: of a refund, cancellation, change or revocation; else None.
        lead: the lead that it acts on; {} if it was not read.
        changes: False if it would change nothing, None if that is not known.
    """

    call: Call
    connection: Connection
    facts: Facts | None = None
    lead: Mapping[str, Any] = field(default_factory=dict[str, Any])
    changes: bool | None = None


def remember_reads(read: Read) -> Read:
    """Return a reader that sends equal reads of one item once."""
    known: dict[str, Any] = {}

    async def read_once(command: Command) -> Any:
        asked = [command.name, dict(command.arguments), dict(command.lead)]
        key = json.dumps(asked, sort_keys=True, default=str)
        if key not in known:
            known[key] = await read(command)
        return known[key]

    return read_once


async def examine_write(
    call: Call, connection: Connection, edit: LeadEdit, read: Read
) -> Examination:
    """Return what the account shows of a write that passed the checks of its arguments."""
    facts = None
    if call.operation.kind is not OperationKind.OTHER:
        facts = await read_facts(call, read)
    lead = await _read_lead(call, read)
    return Examination(call, connection, facts, lead, _changes(call, edit, lead))


async def _read_lead(call: Call, read: Read) -> Mapping[str, Any]:
    target = call.operation.target
    looks = call.operation.email_count or any(shows_change(c.name) for c in call.commands)
    if not looks or target is None or target.kind != "lead":
        return {}
    return await FactReader(read).read_lead(target.id, "the lead")


def _changes(call: Call, edit: LeadEdit, lead: Mapping[str, Any]) -> bool | None:
    if len(call.commands) != 1:
        return None
    name = call.commands[0].name
    return edit.changed if edit.was_read else would_change(name, call_effect(call).parts, lead)
