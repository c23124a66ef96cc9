"""One way to decide an approval, for the page and the terminal, and what costs an attempt."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from kartra_mcp.consent.decisions import (
    ApprovalDecision,
    ReasonRequiredError,
    decide,
    require_pin_set,
)
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.approval_records import ApprovalRequest
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.pin import MAX_ATTEMPTS
from kartra_mcp.ledger.records import Binding

PIN = "correct horse"
BINDING = Binding("kartra_refund_transaction", "a", "c", "2026", "act", "1", "p")
ASKED = ApprovalRequest(BINDING, "Refund 97.00.", {"transaction_id": "101"}, "f", "claude 1", "key")


@pytest.fixture
def ledger(ledger_place):
    with closing(ledger_place.open()) as made:
        made.pins.set(PIN, "ada")
        made.approvals.request(ASKED)
        yield made


class Asked:
    """The order in which the user was asked, and the answers."""

    def __init__(self, pin: str = PIN, decision: ApprovalDecision | None = None) -> None:
        self.order: list[str] = []
        self.answer, self.decision = pin, decision

    def pin(self) -> str:
        self.order.append("pin")
        return self.answer

    def choice(self) -> ApprovalDecision:
        assert self.decision
        self.order.append("decision")
        return self.decision


def fingerprint(ledger: Ledger) -> str:
    found: Any = ledger.approvals.get(1)
    return found.fingerprint


def state(ledger: Ledger) -> str:
    found: Any = ledger.approvals.get(1)
    return found.state


def test_a_decision_that_is_made_needs_the_pin_alone(ledger):
    asked = Asked()
    made = ApprovalDecision(approve=True, reason=" as  agreed ")
    done = decide(ledger, 1, seen=fingerprint(ledger), ask_pin=asked.pin, decision=made)
    assert (done.state, done.reason, asked.order) == ("approved", "as agreed", ["pin"])


def test_a_decision_that_is_asked_for_follows_the_pin(ledger):
    asked = Asked(decision=ApprovalDecision(approve=False, reason="wrong sale"))
    done = decide(ledger, 1, seen=fingerprint(ledger), ask_pin=asked.pin, decision=asked.choice)
    assert (done.state, done.reason) == ("declined", "wrong sale")
    assert asked.order == ["pin", "decision"]


def test_a_decline_without_a_reason_costs_no_attempt(ledger):
    asked = Asked("wrong")
    with pytest.raises(ReasonRequiredError):
        decide(
            ledger,
            1,
            seen=fingerprint(ledger),
            ask_pin=asked.pin,
            decision=ApprovalDecision(False, " "),
        )
    assert (asked.order, ledger.pins.attempts_left(), state(ledger)) == (
        [],
        MAX_ATTEMPTS,
        "pending",
    )


def test_a_decline_that_is_asked_for_needs_a_reason_too(ledger):
    asked = Asked(decision=ApprovalDecision(approve=False))
    with pytest.raises(ReasonRequiredError):
        decide(ledger, 1, seen=fingerprint(ledger), ask_pin=asked.pin, decision=asked.choice)
    assert state(ledger) == "pending"


def test_a_wrong_pin_ends_it_before_the_decision(ledger):
    asked = Asked("wrong", ApprovalDecision(approve=True))
    with pytest.raises(RefusedError, match="PIN is wrong"):
        decide(ledger, 1, seen=fingerprint(ledger), ask_pin=asked.pin, decision=asked.choice)
    assert (asked.order, ledger.pins.attempts_left()) == (["pin"], MAX_ATTEMPTS - 1)
    assert state(ledger) == "pending"


@pytest.mark.parametrize(("number", "code"), [(1, "facts_changed"), (2, "invalid_arguments")])
def test_what_was_not_shown_or_does_not_wait_is_not_asked_about(ledger, number, code):
    asked = Asked(decision=ApprovalDecision(approve=True))
    with pytest.raises(RefusedError) as refused:
        decide(ledger, number, seen="other", ask_pin=asked.pin, decision=asked.choice)
    assert (refused.value.code, asked.order) == (code, [])


def test_without_a_pin_the_command_that_sets_one_is_named(ledger_place):
    with closing(ledger_place.open()) as ledger, pytest.raises(RefusedError) as refused:
        require_pin_set(ledger.pins, " --sandbox")
    assert refused.value.code == "approval_required"
    assert refused.value.remedy.endswith("kartra-mcp approve --set-pin --sandbox")
