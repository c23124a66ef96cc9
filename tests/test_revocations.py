"""Revoked people and tokens, on both stores: what does not count, and what a release gives back."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from kartra_mcp.core.models import Executed
from kartra_mcp.core.principal import make_token_key
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import make_requester
from kartra_mcp.ledger.records import Answer
from kartra_mcp.ledger.revocations import Admin
from tests.ledger_intents import LIMITS, attempt, code, intent
from tests.ledger_stores import Place
from tests.team_people import (
    ANN,
    BOB,
    CARL,
    ISSUER,
    Time,
    approve_as,
    approved_intent,
    binding_of,
    request_of,
)

IDA = Admin("Ida IT")
TOKEN = make_token_key(ISSUER, "stolen")
ANN_BY_TOKEN = replace(ANN, token_key=TOKEN)


@pytest.fixture
def ledger(ledger_place: Place) -> Generator[Ledger]:
    with closing(ledger_place.open(Time())) as made:
        yield made


def begin(ledger: Ledger, number: int) -> str:
    wanted = approved_intent(ANN, number)
    return code(lambda: ledger.begin(wanted, LIMITS, binding_of(ANN)))


def state(ledger: Ledger, number: int) -> str:
    found: Any = ledger.approvals.get(number)
    return found.state


def approved(ledger: Ledger, *by: Any, **more: Any) -> int:
    number = ledger.approvals.request(request_of(ANN, needed=len(by), **more))
    for who in by:
        approve_as(ledger, number, who)
    return number


def test_a_requester_who_is_revoked_between_approval_and_call_is_refused(ledger: Ledger):
    number = approved(ledger, BOB)
    found = ledger.revocations.revoke(ANN.key, IDA, "laptop stolen")
    assert (found.name, found.who, found.reason) == ("Ann", "Ida IT", "laptop stolen")
    assert begin(ledger, number) == "forbidden_role"
    assert state(ledger, number) == "withdrawn"
    assert code(lambda: ledger.approvals.request(request_of(ANN))) == "forbidden_role"
    wanted = intent(requester=make_requester(ANN))
    assert code(lambda: ledger.preflight(wanted, LIMITS)) == "forbidden_role"
    assert ledger.export() == []
    assert ledger.verify().ok


def test_what_was_approved_before_is_of_no_use_after_a_release(ledger: Ledger):
    number = approved(ledger, BOB)
    ledger.revocations.revoke(ANN.key, IDA, "laptop stolen")
    ledger.revocations.release(ANN.key, IDA, "new laptop")
    assert begin(ledger, number) == "approval_required"
    assert begin(ledger, approved(ledger, BOB)) == "runs"
    assert ledger.verify().ok


@pytest.mark.parametrize("voted", [(BOB,), (BOB, CARL)], ids=["one of one", "one of two"])
def test_the_approval_of_a_revoked_approver_does_not_count(ledger: Ledger, voted: Any):
    number = approved(ledger, *voted)
    ledger.revocations.revoke(BOB.key, IDA, "left")
    assert (state(ledger, number), begin(ledger, number)) == ("withdrawn", "approval_required")
    other = ledger.approvals.request(request_of(ANN))
    assert other != number
    assert code(lambda: approve_as(ledger, other, BOB)) == "forbidden_role"
    assert approve_as(ledger, other, CARL).state == "approved"
    assert begin(ledger, other) == "runs"
    assert ledger.verify().ok


def test_a_pending_request_that_a_revoked_approver_agreed_to_is_withdrawn(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN, needed=2))
    approve_as(ledger, number, BOB)
    untouched = ledger.approvals.request(request_of(CARL, binding=binding_of(CARL)))
    ledger.revocations.revoke(BOB.key, IDA, "left")
    assert (state(ledger, number), state(ledger, untouched)) == ("withdrawn", "pending")


def test_a_used_approval_and_a_running_write_stay_as_they_are(ledger: Ledger):
    number = approved(ledger, BOB)
    wanted = approved_intent(ANN, number)
    ledger.begin(wanted, LIMITS, binding_of(ANN))
    ledger.revocations.revoke(ANN.key, IDA, "left")
    ledger.revocations.revoke(BOB.key, IDA, "left")
    ledger.finish(wanted.id, Answer("succeeded", Executed.YES))
    assert ledger.export()[0]["state"] == "succeeded"
    assert ledger.verify().ok


def test_a_token_is_revoked_without_its_person(ledger: Ledger):
    asked = approved(ledger, BOB, requester=make_requester(ANN_BY_TOKEN))
    found = ledger.revocations.revoke(TOKEN, IDA, "seen in a log")
    assert found.name == "a token of Ann"
    assert state(ledger, asked) == "withdrawn"
    by_token = intent(requester=make_requester(ANN_BY_TOKEN))
    assert code(lambda: ledger.begin(by_token, LIMITS)) == "forbidden_role"
    assert code(lambda: ledger.begin(intent(requester=make_requester(ANN)), LIMITS)) == "runs"
    assert code(lambda: ledger.revocations.require_access(ANN_BY_TOKEN)) == "forbidden_role"
    assert code(lambda: ledger.revocations.require_access(ANN)) == "runs"


def test_the_list_the_decisions_and_the_entries_show_who_when_and_why(ledger: Ledger):
    ledger.revocations.revoke(BOB.key, Admin("Carl", CARL.key), "left")
    ledger.revocations.revoke(ANN.key, IDA, "left, too")
    ledger.revocations.revoke(ANN.key, IDA, "again")
    assert [(one.key, one.reason) for one in ledger.revocations.list_in_force()] == [
        (BOB.key, "left"),
        (ANN.key, "again"),
    ]
    ledger.revocations.release(BOB.key, IDA, "is back")
    assert [one.key for one in ledger.revocations.list_in_force()] == [ANN.key]
    events = [(one.event, one.who, one.reason) for one in ledger.list_decisions(10)]
    assert events[0] == ("released", "Ida IT", "is back")
    assert events[-1] == ("revoked", "Carl", "left")
    assert ledger.verify().ok


def test_a_name_that_no_entry_has_is_shown_as_unnamed(ledger: Ledger):
    assert ledger.revocations.revoke(ANN.key, IDA, "left").is_unnamed
    assert ledger.revocations.revoke(TOKEN, IDA, "left").is_unnamed
    assert attempt(ledger) == "runs"


@pytest.mark.parametrize(
    ("key", "who", "reason"),
    [(ANN.key, "Ida", " "), (ANN.key, "", "left"), ("", "Ida", "left"), ("%", "Ida", "left")],
)
def test_a_revocation_needs_a_key_a_name_and_a_reason(
    ledger: Ledger, key: str, who: str, reason: str
):
    for change in (ledger.revocations.revoke, ledger.revocations.release):
        assert code(lambda change=change: change(key, Admin(who), reason)) == "invalid_arguments"
    assert ledger.revocations.list_in_force() == []


def test_what_is_not_revoked_is_not_released(ledger: Ledger):
    released = code(lambda: ledger.revocations.release(ANN.key, IDA, "a mistake"))
    assert released == "invalid_arguments"


def test_a_revoked_admin_releases_nobody(ledger: Ledger):
    """The page of a replica that did not read the list yet still shows them the form."""
    ledger.revocations.revoke(CARL.key, IDA, "account taken over")
    carl = Admin("Carl", CARL.key)
    assert code(lambda: ledger.revocations.release(CARL.key, carl, "mine")) == "forbidden_role"
    assert code(lambda: ledger.revocations.revoke(BOB.key, carl, "x")) == "forbidden_role"
    assert [one.key for one in ledger.revocations.list_in_force()] == [CARL.key]


@pytest.mark.parametrize("is_released", [False, True], ids=["revoked", "released again"])
def test_the_wish_of_a_revoked_person_to_resume_writes_does_not_count(
    ledger: Ledger, *, is_released: bool
):
    ledger.switch.stop(ANN, "strange refunds")
    ledger.switch.resume(BOB)
    ledger.revocations.revoke(BOB.key, IDA, "account taken over")
    assert code(lambda: ledger.switch.resume(BOB)) == "forbidden_role"
    if is_released:
        ledger.revocations.release(BOB.key, IDA, "is back")
    found: Any = ledger.switch.resume(CARL)
    assert found.resume.who == "Carl"
    assert attempt(ledger) == "writes_stopped"
    other = ledger.switch.resume(BOB) if is_released else found
    assert (other is None) == is_released
    assert ledger.verify().ok
