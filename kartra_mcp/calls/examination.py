"""Examination of a bulk item before it runs: each fact is read once, nothing is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kartra_mcp.consent.call_effects import call_effect
from kartra_mcp.consent.collect import read_facts
from kartra_mcp.consent.fact_reader import FactReader
from kartra_mcp.consent.facts import Facts, Impossible, Read
from kartra_mcp.consent.lead_edit import LeadEdit
from kartra_mcp.consent.lead_facts import absent_lead, acts_on_known_lead, read_held_object
from kartra_mcp.consent.mail_check import MailCheck, check_mail, checks_lead
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Call, Command, Connection, OperationKind, Risk
from kartra_mcp.kartra.lead_state import HeldState, would_change

_LEAD = "the lead"


@dataclass(frozen=True, slots=True)
class Examination:
    """Facts of one bulk item, as the account shows them before it runs.

    Attributes:
        call: as Kartra takes it, with the risk that was found.
        connection: that it would run on.
        facts: of a refund, cancellation, change or revocation; else None.
        lead: the lead that it acts on; {} if it was not read.
        impossible: why it could not run, whoever agrees; else None.
        mail: reasons against mail to its leads; None if they are not checked.
        held: the state of its object on the lead; None if it was not read.
        changes: False if it would change nothing, None if that is not known.
    """

    call: Call
    connection: Connection
    facts: Facts | None = None
    lead: Mapping[str, Any] = field(default_factory=dict[str, Any])
    changes: bool | None = None
    impossible: Impossible | None = None
    mail: MailCheck | None = None
    held: HeldState | None = None


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


def raise_failures(read: Read, failures: list[KartraMCPError]) -> Read:
    """Return a reader that adds to `failures` what is no answer of Kartra.

    A single call shows its user what could not be read. In a bulk run nobody would see it.
    """

    async def read_or_note(command: Command) -> Any:
        try:
            return await read(command)
        except KartraMCPError as problem:
            if problem.code != "kartra_error":
                failures.append(problem)
            raise

    return read_or_note


async def examine_write(
    call: Call, connection: Connection, edit: LeadEdit, read: Read
) -> Examination:
    """Return what the account shows of a write that passed the checks of its arguments.

    Raises:
        KartraMCPError: the account could not be read; nothing was done.
    """
    failures: list[KartraMCPError] = []
    read = raise_failures(read, failures)
    facts = None
    if call.operation.kind is not OperationKind.OTHER:
        facts = await read_facts(call, read)
    lead, absent = await _read_lead(call, read)
    mail = await check_mail(call, FactReader(read)) if checks_lead(call) else None
    if failures:
        raise failures[0]
    impossible = absent or (facts.impossible if facts else None) or _unread(call, facts)
    changes = _changes(call, edit, lead)
    held = read_held_object(call, lead)
    return Examination(call, connection, facts, lead, changes, impossible, mail, held)


async def _read_lead(call: Call, read: Read) -> tuple[Mapping[str, Any], Impossible | None]:
    """Return the lead that a write acts on, or why it cannot; ({}, None) if none is named."""
    target = call.operation.target
    if target is None or not acts_on_known_lead(target, call):
        return {}, None
    reader = FactReader(read)
    lead = await reader.read_lead(target.id, _LEAD)
    return lead, absent_lead(target, reader, _LEAD)


def _unread(call: Call, facts: Facts | None) -> Impossible | None:
    """Return why nobody can agree to an irreversible item whose facts were not read."""
    if facts is None or not facts.missing or call.risk is not Risk.IRREVERSIBLE:
        return None
    return Impossible(f"Its facts could not be read: {facts.missing[0]}.", "Run it alone.")


def _changes(call: Call, edit: LeadEdit, lead: Mapping[str, Any]) -> bool | None:
    if len(call.commands) != 1:
        return None
    name = call.commands[0].name
    return edit.changed if edit.was_read else would_change(name, call_effect(call).parts, lead)
