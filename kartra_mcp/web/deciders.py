"""Decisions of the user of this machine, with the PIN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kartra_mcp.consent.decisions import ApprovalDecision, decide, require_pin_set, withdraw
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.web.views.viewer import Viewer


class Decider(Protocol):
    """Decides on an approval as the form and its user have it. Synchronous."""

    def decide(
        self, number: int, form: Mapping[str, str], decision: ApprovalDecision, viewer: Viewer
    ) -> Approval: ...

    def withdraw(self, number: int, form: Mapping[str, str], viewer: Viewer) -> Approval: ...


class FreshLoginRequiredError(RefusedError):
    """The login is too old for a decision."""

    def __init__(self) -> None:
        super().__init__(
            "not_allowed",
            "Your login was too old for a decision. Nothing was decided.",
            "You are logged in again now: decide again.",
        )


@dataclass(frozen=True, slots=True)
class PinDecider:
    """Decides with the PIN. `flags` are the command-line flags that select the same ledger."""

    ledger: Ledger
    flags: str = ""

    def decide(
        self, number: int, form: Mapping[str, str], decision: ApprovalDecision, viewer: Viewer
    ) -> Approval:
        del viewer  # the PIN belongs to the user of this machine
        require_pin_set(self.ledger.pins, self.flags)
        return decide(
            self.ledger,
            number,
            seen=form.get("seen", ""),
            ask_pin=lambda: form.get("pin", ""),
            decision=decision,
        )

    def withdraw(self, number: int, form: Mapping[str, str], viewer: Viewer) -> Approval:
        del viewer
        require_pin_set(self.ledger.pins, self.flags)
        return withdraw(self.ledger, number, form.get("pin", ""))
