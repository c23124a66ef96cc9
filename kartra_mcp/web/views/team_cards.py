"""The part of an approval card that only a team has: approvers, and who may decide. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.web.views.formatting import Fact, Timestamp
from kartra_mcp.web.views.typed_value import TypedValue, find_target, find_typed_value
from kartra_mcp.web.views.viewer import Viewer


@dataclass(frozen=True, slots=True)
class VoteRow:
    """The approval of one user."""

    name: str
    at: Timestamp


@dataclass(frozen=True, slots=True)
class TeamCard:
    """What a team's card adds.

    Attributes:
        typed: the text that an approver types.
        target: transaction or subscription of the call.
        progress: `1 of 2`.
        votes: the approvals so far, oldest first.
        caps: what is left of the caps.
        obstacle: the reason why the viewer cannot decide, or "".
    """

    typed: TypedValue
    target: TypedValue | None
    progress: str
    votes: tuple[VoteRow, ...]
    caps: tuple[Fact, ...]
    obstacle: str

    @property
    def can_decide(self) -> bool:
        return not self.obstacle


def make_team_card(asked: Approval, viewer: Viewer, caps: tuple[Fact, ...] = ()) -> TeamCard:
    target, typed = find_target(asked.facts), find_typed_value(asked)
    return TeamCard(typed, target, "0 of 1", (), caps, _find_obstacle(viewer))


def _find_obstacle(viewer: Viewer) -> str:
    if not viewer.may("approve"):
        return "Your role cannot approve. An approver of this account decides."
    return ""
