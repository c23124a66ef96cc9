"""Approval requests and their states, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from kartra_mcp.ledger.hash_chain import dump_canonical
from kartra_mcp.ledger.people import Requester, TeamRequest
from kartra_mcp.ledger.records import Binding

LIFETIME = 86_400.0
DECLINE_HOLDS = 600.0

ApprovalState = Literal["pending", "approved", "declined", "expired", "superseded", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval request and its state; times are seconds since the epoch.

    `facts` and `summary` are deleted as soon as the approval can no longer be used: they hold the
    user's data, and the chain already holds their digest. So does `typed`, the amount or id that
    an approver of a team types. `team` is None for a single user.
    """

    number: int
    state: ApprovalState
    binding: Binding
    summary: str
    facts: Mapping[str, Any]
    facts_digest: str
    asked_at: float
    expires_at: float
    asked_by: str
    decided_at: float | None = None
    who: str = ""
    reason: str = ""
    used_by: str | None = None
    typed: str = ""
    team: TeamRequest | None = None

    def is_enough(self, needed: int) -> bool:
        """Return whether as many people approved as are needed now; of a single user, one."""
        return self.team is None or len(self.team.voters) >= needed

    @property
    def fingerprint(self) -> str:
        """Hash of exactly this request, in this ledger and no other.

        A decision must repeat it. A page that was loaded before the request changed, or that
        belongs to another ledger with the same number, would otherwise approve something unseen.
        """
        covered = [self.number, asdict(self.binding), self.facts_digest, self.asked_at]
        if self.team is not None:
            covered += [self.team.needed, self.team.amount]
        return hashlib.sha256(dump_canonical(covered).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A request for approval: shown to the user in full, bound to one call.

    Each line of `key` names an operation and its target: a decline blocks those, whatever the
    amount.

    Args:
        typed: text that an approver of a team must type.
        requester: the principal that asks; None for a single user, who approves with the PIN.
        needed: number of different people of a team that must approve.
        amount: the money that it moves, for display, or "".
    """

    binding: Binding
    summary: str
    facts: Mapping[str, Any]
    facts_digest: str
    asked_by: str
    key: str = ""
    typed: str = ""
    requester: Requester | None = None
    needed: int = 1
    amount: str = ""
