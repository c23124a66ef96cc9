"""Decisions of a team's approvers: a fresh login, and the amount typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kartra_mcp.consent.decisions import (
    ApprovalDecision,
    normalize_reason,
    reason_required_error,
    require_pending,
    require_unused,
)
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.web.deciders import FreshLoginRequiredError
from kartra_mcp.web.views.typed_value import require_typed
from kartra_mcp.web.views.viewer import Viewer


@dataclass(frozen=True, slots=True)
class TeamDecider:
    """Decides as the user of a session."""

    ledger: Ledger

    def decide(
        self, number: int, form: Mapping[str, str], decision: ApprovalDecision, viewer: Viewer
    ) -> Approval:
        if decision.lacks_reason:
            raise reason_required_error()
        if not viewer.is_fresh:
            raise FreshLoginRequiredError
        asked = require_pending(self.ledger.approvals, number)
        if decision.approve:
            require_typed(asked, form.get("typed", ""))
        assert viewer.principal is not None  # noqa: S101  made by the team's page
        return self.ledger.approvals.decide(
            number,
            approve=decision.approve,
            reason=normalize_reason(decision.reason),
            who=viewer.principal.name,
            seen=form.get("seen", ""),
        )

    def withdraw(self, number: int, form: Mapping[str, str], viewer: Viewer) -> Approval:
        """Revoke. An earlier login is enough: it lets nothing run."""
        del form
        require_unused(self.ledger.approvals, number)
        assert viewer.principal is not None  # noqa: S101  made by the team's page
        return self.ledger.approvals.withdraw(number, viewer.principal.name)
