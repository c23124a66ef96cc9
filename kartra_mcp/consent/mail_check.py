"""Check of the leads to which a call can start mail: reasons that need an explicit yes.

Kartra cannot recall mail. Whether it withholds mail to such a lead by itself is not documented for
any of these commands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from kartra_mcp.consent.fact_reader import FactReader
from kartra_mcp.consent.facts import Facts
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Call, Target
from kartra_mcp.kartra.suppression import (
    Suppression,
    find_contradictions,
    find_requested_lists,
    find_suppressions,
)

NOT_CHECKED = "The lead was not checked before mail: KARTRA_MCP_CHECK_LEAD is off."
NO_LEAD = "No lead was checked before mail: the call names none."
NO_CONSENT = "A lead that the API creates never counts as consenting (GDPR)."
_LEAD = "the lead"
_BETWEEN = ", "


@dataclass(frozen=True, slots=True)
class MailCheck:
    """Reasons against mail, and contradictory fields; `unread` leads could not be checked."""

    reasons: tuple[Suppression, ...] = ()
    contradictions: dict[str, str] = field(default_factory=dict[str, str])
    unread: tuple[str, ...] = ()

    @property
    def needs_consent(self) -> bool:
        return bool(self.reasons or self.unread)

    def describe(self) -> str:
        """Return the reasons in words of this server."""
        unread = ["the lead could not be read"] if self.unread else []
        return _BETWEEN.join([*map(str, self.reasons), *unread])


def split_reasons(described: str) -> list[str]:
    """Return the reasons that `MailCheck.describe` has joined."""
    return described.split(_BETWEEN)


def checks_lead(call: Call) -> bool:
    """Return whether the leads of the call are read before it can start mail."""
    return call.decision.check_lead and bool(_mail_leads(call))


async def check_mail(call: Call, reader: FactReader) -> MailCheck:
    """Read each lead to which the call can start mail.

    A lead that does not exist is no reason: Kartra refuses the write.
    """
    lists = find_requested_lists(call.commands)
    reasons: dict[Suppression, None] = {}
    contradictions: dict[str, str] = {}
    unread: list[str] = []
    for lead in _mail_leads(call):
        details, failures = await reader.read_existing_lead(lead.id, _LEAD)
        unread += failures
        found = find_suppressions(details, lists)
        reasons |= dict.fromkeys(found)
        contradictions |= find_contradictions(details) if found else {}
    return MailCheck(tuple(reasons), contradictions, tuple(unread))


async def add_suppressions(call: Call, facts: Facts, reader: FactReader) -> Facts:
    """Return the facts with the reasons against mail; without any, as they are."""
    if not checks_lead(call):
        return facts
    found = await check_mail(call, reader)
    missing = tuple(dict.fromkeys([*facts.missing, *found.unread]))
    if not found.reasons:
        return replace(facts, missing=missing)
    shown = {"suppressed": list(map(str, found.reasons)), **facts.shown, **found.contradictions}
    return replace(facts, shown=shown, missing=missing, suppressed=tuple(map(str, found.reasons)))


def suppressed_error(found: MailCheck) -> RefusedError:
    """Return the refusal of an item of a bulk run whose lead was not suppressed before."""
    return RefusedError(
        "facts_changed",
        f"Mail to the lead needs an explicit yes: {found.describe()}. Nothing was done.",
        "Call the tool for this lead alone, or plan a new run with include_suppressed: true.",
    )


def answer_notice(call: Call) -> str:
    """Return what the answer of the call states about mail and consent, or ""."""
    parts = [part for part in call.operation.parts if part.starts_mail]
    notices: list[str] = []
    if parts and not call.decision.check_lead:
        notices.append(NOT_CHECKED)
    elif not all(part.mail_leads for part in parts):
        notices.append(NO_LEAD)
    if any(command.name == "create_lead" for command in call.commands):
        notices.append(NO_CONSENT)
    return " ".join(notices)


def _mail_leads(call: Call) -> tuple[Target, ...]:
    """Return the leads to check; none of a chain that creates its lead.

    Such a chain is refused where the lead exists (`calls/new_lead_checks.py`).
    """
    if call.commands and call.commands[0].name == "create_lead":
        return ()
    leads = (lead for part in call.operation.parts for lead in part.mail_leads)
    return tuple(dict.fromkeys(leads))
