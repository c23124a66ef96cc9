"""View models of approvals: cards of pending ones, and rows of approved but unused ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.display import display_value
from kartra_mcp.core.models import Risk
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.bulk_records import BulkRun
from kartra_mcp.web.views.bulk_facts import is_bulk_consent, make_bulk_facts, make_bulk_heading
from kartra_mcp.web.views.formatting import (
    Fact,
    Timestamp,
    format_duration,
    format_money,
    format_values,
    make_facts,
    make_tool_title,
)
from kartra_mcp.web.views.team_cards import TeamCard

_SHOWN_SEPARATELY = ("effect", "undo", "risk", "could_not_be_read")


@dataclass(frozen=True, slots=True)
class UnusedApproval:
    """An approval that no call has used yet."""

    number: int
    heading: str
    summary: str
    who: str
    since: Timestamp
    until: Timestamp
    left: str


def make_unused_approval(approved: Approval, now: float) -> UnusedApproval:
    return UnusedApproval(
        number=approved.number,
        heading=_make_heading(approved.binding.tool, approved.facts),
        summary=display_value(approved.summary),
        who=display_value(approved.who, 80),
        since=Timestamp(approved.decided_at or approved.asked_at),
        until=Timestamp(approved.expires_at),
        left=format_duration(approved.expires_at - now),
    )


@dataclass(frozen=True, slots=True)
class ApprovalCard:
    """One pending approval. `left` is the time until it expires.

    `bulk` is the id of the bulk run that it is for, or ""; `begun` if that needs no consent now.
    """

    number: int
    seen: str
    heading: str
    summary: str
    risk: str
    facts: tuple[Fact, ...]
    unread: tuple[str, ...]
    effect: str
    undo: str
    tool: str
    asked_by: str
    since: Timestamp
    until: Timestamp
    left: str
    bulk: str
    begun: bool
    team: TeamCard | None = None

    @property
    def irreversible(self) -> bool:
        return self.risk == Risk.IRREVERSIBLE.label


def make_card(
    asked: Approval, now: float, run: BulkRun | None = None, team: TeamCard | None = None
) -> ApprovalCard:
    """Return the card of an approval; `run` is the bulk run that it is for."""
    facts = asked.facts
    unread = facts.get("could_not_be_read")
    return ApprovalCard(
        number=asked.number,
        seen=asked.fingerprint,
        heading=_make_heading(asked.binding.tool, facts),
        summary=display_value(asked.summary),
        risk=display_value(facts.get("risk") or "", 20),
        facts=_make_card_facts(
            {name: value for name, value in facts.items() if name not in _SHOWN_SEPARATELY}, run
        ),
        unread=format_values(unread) if unread else (),
        effect=display_value(facts.get("effect")),
        undo=display_value(facts.get("undo")),
        tool=display_value(asked.binding.tool, 100),
        asked_by=display_value(asked.asked_by, 160),
        since=Timestamp(asked.asked_at),
        until=Timestamp(asked.expires_at),
        left=format_duration(asked.expires_at - now),
        bulk=run.id if run else "",
        begun=run is not None and run.state != "planned",
        team=team,
    )


def _make_card_facts(facts: Mapping[str, Any], run: BulkRun | None) -> tuple[Fact, ...]:
    return make_bulk_facts(facts, run) if is_bulk_consent(facts) else make_facts(facts)


def _make_heading(tool: str, facts: Mapping[str, Any]) -> str:
    """Return the heading of a card: the tool's title, with the number of items or the amount."""
    if is_bulk_consent(facts):
        return make_bulk_heading(tool, facts)
    amount = facts.get("this_refund")
    return f"Refund {format_money(amount)}" if amount else make_tool_title(tool)
