"""Decisions of a team: who decides is the user of the session, freshly logged in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kartra_mcp.consent.decisions import ApprovalDecision, reason_required_error
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import ApproverLogin, TeamDecision
from kartra_mcp.web.deciders import FreshLoginRequiredError
from kartra_mcp.web.views.viewer import Viewer


@dataclass(frozen=True, slots=True)
class TeamDecider:
    """Decides as the user of a session. `max_age`: seconds for which a login is fresh."""

    ledger: Ledger
    max_age: float

    def decide(
        self, number: int, form: Mapping[str, str], decision: ApprovalDecision, viewer: Viewer
    ) -> Approval:
        if decision.lacks_reason:
            raise reason_required_error()
        if not viewer.is_fresh:
            raise FreshLoginRequiredError
        made = TeamDecision(
            decision.approve, form.get("seen", ""), form.get("typed", ""), decision.reason
        )
        login = ApproverLogin(
            viewer.team_principal, viewer.auth_time, viewer.acr, max_age=self.max_age
        )
        return self.ledger.approvals.decide_as(number, login, made)

    def withdraw(self, number: int, form: Mapping[str, str], viewer: Viewer) -> Approval:
        """Withdraw a request, or revoke an approval. An earlier login is enough: nothing runs."""
        del form
        login = ApproverLogin(viewer.team_principal, viewer.auth_time, viewer.acr)
        return self.ledger.approvals.withdraw_as(number, login)
