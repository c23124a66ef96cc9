"""What waits for a person, as cards: everything that is agreed to, and who asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.display import display_value
from kartra_mcp.core.models import Risk
from kartra_mcp.ledger.approvals import Approval
from kartra_mcp.web.views.formatting import Fact, Moment, facts, lasting, money, tool_title, values

_APART = ("effect", "undo", "risk", "could_not_be_read")
"""What a card says in places of its own."""


@dataclass(frozen=True, slots=True)
class Unused:
    """What was approved, and no call used yet."""

    number: int
    heading: str
    summary: str
    who: str
    since: Moment
    until: Moment
    left: str


def unused(approved: Approval, now: float) -> Unused:
    return Unused(
        number=approved.number,
        heading=_heading(approved.binding.tool, approved.facts),
        summary=display_value(approved.summary),
        who=display_value(approved.who, 80),
        since=Moment(approved.decided_at or approved.asked_at),
        until=Moment(approved.expires_at),
        left=lasting(approved.expires_at - now),
    )


@dataclass(frozen=True, slots=True)
class Card:
    """One approval that waits. `left` is how long it still does."""

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
    since: Moment
    until: Moment
    left: str

    @property
    def irreversible(self) -> bool:
        return self.risk == Risk.IRREVERSIBLE.label


def card(asked: Approval, now: float) -> Card:
    told = asked.facts
    unread = told.get("could_not_be_read")
    return Card(
        number=asked.number,
        seen=asked.fingerprint,
        heading=_heading(asked.binding.tool, told),
        summary=display_value(asked.summary),
        risk=display_value(told.get("risk") or "", 20),
        facts=facts({name: value for name, value in told.items() if name not in _APART}),
        unread=values(unread) if unread else (),
        effect=display_value(told.get("effect")),
        undo=display_value(told.get("undo")),
        tool=display_value(asked.binding.tool, 100),
        asked_by=display_value(asked.asked_by, 160),
        since=Moment(asked.asked_at),
        until=Moment(asked.expires_at),
        left=lasting(asked.expires_at - now),
    )


def _heading(tool: str, told: Mapping[str, Any]) -> str:
    """What would be done, in a few words: of a refund, the sum."""
    sum_ = told.get("this_refund")
    return f"Refund {money(sum_)}" if sum_ else tool_title(tool)
