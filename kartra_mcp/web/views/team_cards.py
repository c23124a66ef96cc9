"""The part of an approval card that only a team has: approvers, and who may decide. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kartra_mcp.core.display import display_value
from kartra_mcp.core.principal import Role
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.people import TeamRequest
from kartra_mcp.ledger.records import CapsLeft
from kartra_mcp.web.views.formatting import Fact, Timestamp, format_money
from kartra_mcp.web.views.typed_value import TypedValue, find_target, find_typed_value
from kartra_mcp.web.views.viewer import Viewer


@dataclass(frozen=True, slots=True)
class VoteRow:
    """The approval of one user."""

    name: str
    at: Timestamp


@dataclass(frozen=True, slots=True)
class CapsOf:
    """Rest of the caps of an account, a role or a person; `whose` names it."""

    whose: str
    left: CapsLeft


@dataclass(frozen=True, slots=True)
class TeamCard:
    """Additions of a team's card.

    Attributes:
        typed: the text that an approver types.
        target: transaction or subscription of the call.
        requester: name of the user or agent that asked.
        client: OAuth client through which the call came, or "-".
        progress: `1 of 2`.
        votes: the approvals so far, oldest first.
        caps: what is left of the caps of the account, the requester and each of its roles.
        obstacle: the reason why the viewer cannot decide, or "".
        is_own: the viewer asked, and may withdraw it.
    """

    typed: TypedValue
    target: TypedValue | None
    requester: str
    client: str
    progress: str
    votes: tuple[VoteRow, ...]
    caps: tuple[Fact, ...]
    obstacle: str
    is_own: bool

    @property
    def can_decide(self) -> bool:
        return not self.obstacle


def make_team_card(
    asked: Approval, team: TeamRequest, viewer: Viewer, caps: Sequence[CapsOf]
) -> TeamCard:
    """Return the part of a team's card; `team` is that of the request."""
    return TeamCard(
        typed=find_typed_value(asked),
        target=find_target(asked.facts),
        requester=display_value(team.requester.name, 80),
        client=display_value(team.requester.client_id or "", 80),
        progress=f"{len(team.voters)} of {team.needed}",
        votes=tuple(
            VoteRow(display_value(vote.name, 80), Timestamp(vote.at)) for vote in team.votes
        ),
        caps=tuple(fact for of in caps for fact in make_caps(of)),
        obstacle=_find_obstacle(team, viewer),
        is_own=viewer.team_principal.key == team.requester.key,
    )


def make_caps(of: CapsOf) -> tuple[Fact, ...]:
    """Return what is left of each cap that there is."""
    left = of.left
    values: Mapping[str, str | None] = {
        "Largest refund": None if left.refund is None else format_money(left.refund),
        "Left for refunds in 24 hours": (
            None if left.day_amount is None else format_money(left.day_amount)
        ),
        "Left of irreversible operations in 24 hours": (
            None if left.day_count is None else f"{left.day_count:,}"
        ),
    }
    return tuple(
        Fact("cap", f"{label}, {of.whose}", (text,))
        for label, text in values.items()
        if text is not None
    )


def describe_group(role: Role | None) -> str:
    """Return whose caps those of a role are; of the requester alone for None."""
    return "this requester" if role is None else f"all with the role {role}"


def _find_obstacle(team: TeamRequest, viewer: Viewer) -> str:
    key = viewer.team_principal.key
    if key == team.requester.key:
        return "You requested this, so that you cannot approve it. Another user decides."
    if not viewer.may("approve"):
        return "Your role cannot approve. An approver of this account decides."
    if key in team.voters:
        return "You approved this. It needs another approver."
    return ""
