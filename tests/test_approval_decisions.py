"""Decisions on approvals and withdrawals at their bounds, and what a refusal leaves behind.

Over the store of one user alone: `test_approvals.py` and `test_team_approvals.py` have both stores.
"""

from __future__ import annotations

from typing import Any

import pytest

from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import TeamDecision, make_requester
from kartra_mcp.ledger.revocations import Admin
from kartra_mcp.ledger.rules import make_identity_key
from tests.ledger_intents import LIMITS, code, intent, refusal_of
from tests.single_approvals import ask, decide, entry, state
from tests.team_people import (
    ANN,
    BOB,
    BOTH,
    CARL,
    Time,
    approve_as,
    approved_intent,
    binding_of,
    decline_as,
    login_of,
    person,
    request_of,
)

DAY = 86_400.0
START = Time.at
IDA = Admin("Ida IT")


@pytest.mark.parametrize("approve", [True, False])
def test_a_decision_on_an_unknown_number_names_it(ledger: Ledger, *, approve: bool):
    for check in (
        lambda: decide(ledger, 9, approve=approve, reason="no"),
        lambda: approve_as(ledger, 9, BOB, approve=approve, reason="no"),
        lambda: ledger.approvals.withdraw(9, "eve"),
        lambda: ledger.approvals.withdraw_as(9, login_of(BOB)),
    ):
        refused = refusal_of(check)
        assert refused.code == "invalid_arguments"
        assert "umber 9 " in refused.message
    assert ledger.entry_count() == 0


def test_a_pin_neither_decides_nor_withdraws_a_request_of_a_team(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN))
    for check in (
        lambda: decide(ledger, number),
        lambda: ledger.approvals.withdraw(number, "eve"),
    ):
        refused = refusal_of(check)
        assert refused.code == "not_allowed"
        assert f"Number {number} " in refused.message
    assert state(ledger, number) == "pending"


def test_a_login_neither_decides_nor_withdraws_a_request_of_a_single_user(ledger: Ledger):
    number = ask(ledger)
    for check in (
        lambda: approve_as(ledger, number, BOB),
        lambda: decline_as(ledger, number, BOB),
        lambda: ledger.approvals.withdraw_as(number, login_of(BOB)),
    ):
        refused = refusal_of(check)
        assert refused.code == "not_allowed"
        assert f"Number {number} " in refused.message
    assert state(ledger, number) == "pending"


def test_a_view_that_is_stale_is_named_with_its_number(ledger: Ledger):
    single, team = ask(ledger), ledger.approvals.request(request_of(ANN))
    for number, check in (
        (
            single,
            lambda: ledger.approvals.decide(1, approve=True, reason="", who="ada", seen="x"),
        ),
        (team, lambda: approve_as(ledger, team, BOB, seen="x")),
    ):
        refused = refusal_of(check)
        assert refused.code == "facts_changed"
        assert f"Number {number} " in refused.message
        assert state(ledger, number) == "pending"


@pytest.mark.parametrize(
    ("age", "max_age", "counts"),
    [
        (360, 300.0, True),
        (360.5, 300.0, False),
        (10_000, None, True),
        (-60, None, True),
        (-60.5, None, False),
        (-60, 300.0, True),
        (60, 0.0, True),
        (60.5, 0.0, False),
    ],
)
@pytest.mark.parametrize("approve", [True, False])
def test_a_login_counts_until_its_age_is_over(
    ledger: Ledger, age: float, max_age: float | None, *, counts: bool, approve: bool
):
    number = ledger.approvals.request(request_of(ANN))
    seen = getattr(ledger.approvals.get(number), "fingerprint", "")
    login = login_of(BOB, START - age, max_age=max_age)
    decision = TeamDecision(approve, seen, "97.00", "no")
    done = code(lambda: ledger.approvals.decide_as(number, login, decision))
    assert done == ("runs" if counts else "not_allowed")
    decided = "approved" if approve else "declined"
    assert state(ledger, number) == (decided if counts else "pending")


def test_a_revoked_approver_decides_nothing(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN))
    ledger.revocations.revoke(BOB.key, IDA, "left")
    for check in (lambda: approve_as(ledger, number, BOB), lambda: decline_as(ledger, number, BOB)):
        assert code(check) == "forbidden_role"
    assert state(ledger, number) == "pending"
    assert approve_as(ledger, number, CARL).state == "approved"


@pytest.mark.parametrize("needed", [1, 2, 3])
def test_the_last_person_that_is_needed_approves(ledger: Ledger, clock: Time, needed: int):
    number = ledger.approvals.request(request_of(ANN, needed=needed))
    people = [person(name, "approver") for name in ("bea", "cora", "dan")][:needed]
    found: Any = None
    for given, who in enumerate(people, start=1):
        is_last = given == needed
        clock.at += 1
        found = approve_as(ledger, number, who, reason="  fine\n by me ")
        assert found.state == ("approved" if is_last else "pending")
        assert [vote.key for vote in found.team.votes] == [one.key for one in people[:given]]
        assert found.decided_at == (clock.at if is_last else None)
        assert found.reason == ("fine by me" if is_last else "")
        said = entry(ledger)
        assert said["event"] == ("approval_approved" if is_last else "approval_agreed")
        assert (said["given"], said["needed"], said["person"]) == (given, needed, who.key)
        assert said["reason"] == "fine by me"
    assert ledger.approvals.get(number) == found
    wanted = approved_intent(ANN, number)
    assert code(lambda: ledger.begin(wanted, LIMITS, binding_of(ANN))) == "runs"


def test_a_decline_of_one_person_blocks_the_operation_and_deletes_the_facts(ledger: Ledger):
    own = intent("101", requester=make_requester(ANN))
    number = ledger.approvals.request(request_of(ANN, needed=2, key=make_identity_key(own)))
    found = decline_as(ledger, number, BOB, " wrong\n buyer ")
    assert (found.state, found.who, found.reason) == ("declined", "Bob", "wrong buyer")
    assert (found.facts, found.summary, found.decided_at) == ({}, "", START)
    said = entry(ledger)
    assert (said["event"], said["reason"], said["person"]) == (
        *("approval_declined", "wrong buyer"),
        BOB.key,
    )
    assert code(lambda: ledger.preflight(own, LIMITS)) == "declined"
    assert code(lambda: ledger.preflight(intent("102"), LIMITS)) == "runs"


# Withdrawals


@pytest.mark.parametrize("who", [ANN, CARL], ids=["requester", "approver"])
def test_a_withdrawal_is_recorded_with_the_login(ledger: Ledger, clock: Time, who: Any):
    number = ledger.approvals.request(request_of(ANN))
    clock.at += 5
    found = ledger.approvals.withdraw_as(number, login_of(who, START - 7))
    assert (found.number, found.state, found.who) == (number, "withdrawn", who.name)
    assert (found.facts, found.summary, found.decided_at) == ({}, "", START + 5)
    assert entry(ledger) == {
        "event": "approval_withdrawn",
        "number": number,
        "facts_digest": "facts",
        "who": who.name,
        "person": who.key,
        "auth_time": START - 7,
        "acr": "mfa",
        "at": START + 5,
    }


def test_what_is_over_in_a_team_is_not_withdrawn_and_named(ledger: Ledger, clock: Time):
    declined = ledger.approvals.request(request_of(ANN))
    decline_as(ledger, declined, BOB)
    used = ledger.approvals.request(request_of(BOTH))
    approve_as(ledger, used, BOB)
    wanted = approved_intent(BOTH, used)
    ledger.begin(wanted, LIMITS, binding_of(BOTH))
    expired = ledger.approvals.request(request_of(person("eve", "requester")))
    clock.at += DAY
    before = ledger.entry_count()
    for number, expected, words in (
        (declined, "invalid_arguments", "it is declined"),
        (used, "confirmation_used", "already run"),
        (expired, "invalid_arguments", "it is expired"),
    ):
        withdraw = ledger.approvals.withdraw_as
        refused = refusal_of(lambda n=number, withdraw=withdraw: withdraw(n, login_of(CARL)))
        assert (refused.code, words in refused.message) == (expected, True)
        assert f"Number {number} " in refused.message
    assert (
        wanted.id in refusal_of(lambda: ledger.approvals.withdraw_as(used, login_of(CARL))).remedy
    )
    assert ledger.entry_count() == before + 1


def test_another_person_withdraws_nothing(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN))
    refused = refusal_of(
        lambda: ledger.approvals.withdraw_as(number, login_of(person("eve", "requester")))
    )
    assert refused.code == "forbidden_role"
    assert f"number {number}." in refused.message
    assert state(ledger, number) == "pending"


def test_of_a_single_user_only_an_approval_is_withdrawn(ledger: Ledger):
    waiting, given = ask(ledger, "one"), ask(ledger, "two")
    decide(ledger, given)
    refused = refusal_of(lambda: ledger.approvals.withdraw(waiting, "eve"))
    assert refused.code == "invalid_arguments"
    assert f"Number {waiting} " in refused.message
    assert ledger.approvals.withdraw(given, "eve").state == "withdrawn"
    assert (state(ledger, waiting), entry(ledger)["who"]) == ("pending", "eve")
