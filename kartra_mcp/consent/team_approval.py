"""Approval by other people of a team: how many must approve, where, and what the caller is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from kartra_mcp.consent.preview import Preview
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.core.principal import ROLES
from kartra_mcp.ledger.records import Intent
from kartra_mcp.ledger.rules import split_intent
from kartra_mcp.policy.roles import ROLE_RIGHTS, Right

APPROVER_ROLES = tuple(role for role in ROLES if Right.APPROVE in ROLE_RIGHTS[role])


def need_one(amount: Decimal | None) -> int:
    """Return one approver, whatever the amount is."""
    del amount
    return 1


def no_address(number: int) -> str:
    """Return no address: there is no page."""
    del number
    return ""


def announce_nothing(number: int) -> None:
    """Send no notice: nobody is named who should get one."""
    del number


@dataclass(frozen=True, slots=True)
class TeamApproval:
    """Approvals of one account of a team.

    Attributes:
        needed: number of approvers that an amount needs; None for one that is not known.
        address: address of a request on the page, or "".
        approvers: who can approve, as the caller is told: roles, or the issuer's names of them.
        announce: is called with the number of a request that waits, at each call for it; it
            neither blocks nor fails.
    """

    needed: Callable[[Decimal | None], int] = need_one
    address: Callable[[int], str] = no_address
    approvers: tuple[str, ...] = APPROVER_ROLES
    announce: Callable[[int], None] = announce_nothing


def find_amount(intent: Intent) -> Decimal | None:
    """Return the money that an intent moves; None if it moves none, or if a part is not known."""
    parts = [part for part in split_intent(intent) if part.risk is Risk.IRREVERSIBLE]
    amounts = [part.known_amount for part in parts]
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(amounts) else None


def describe_votes(given: int, needed: int) -> str:
    """Describe how many approvals a request has and needs."""
    people = "1 person" if needed == 1 else f"{needed} different people"
    return f"{people} must approve it" + (f"; {given} did so" if given else "")


def team_approval_required_error(
    number: int, shown: Preview, team: TeamApproval, *, needed: int, given: int = 0
) -> RefusedError:
    """Return `approval_required` with who can approve where, for a requester of a team."""
    address = team.address(number)
    where = f"on {address}" if address else "on the page of the team"
    roles = " or ".join(team.approvers)
    return RefusedError(
        "approval_required",
        f"Other people have to approve this, as number {number}: {describe_votes(given, needed)}. "
        "Nothing was done.",
        f"Ask somebody with the role {roles} to decide it {where}; not the requester. "
        "Then repeat the call with the same arguments.",
        confirmation={
            **shown.to_confirmation(number, address),
            "approvers": {"roles": list(team.approvers), "needed": needed, "given": given},
        },
    )
