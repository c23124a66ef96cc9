"""Requests for approval at their bounds: equal ones, how many may wait, and until when they count.

Over the store of one user alone: `test_approvals.py` and `test_team_approvals.py` have both stores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kartra_mcp.ledger.approvals import MAX_PENDING
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import make_requester
from kartra_mcp.ledger.revocations import Admin
from tests.ledger_intents import BINDING, LIMITS, code, intent, refusal_of
from tests.single_approvals import SINGLE, ask, decide, entry, state
from tests.team_people import (
    ANN,
    BOB,
    BOTH,
    Time,
    approve_as,
    binding_of,
    login_of,
    request_of,
)

DAY = 86_400.0
IDA = Admin("Ida IT")


def test_a_person_has_at_most_fifty_requests_that_wait(ledger: Ledger):
    binding = binding_of(ANN)

    def request(number: int) -> int:
        wanted = replace(binding, arguments=str(number))
        return ledger.approvals.request(request_of(ANN, binding=wanted))

    assert [request(number) for number in range(50)][-1] == MAX_PENDING == 50
    refused = refusal_of(lambda: request(50))
    assert refused.code == "cap_reached"
    assert (refused.detail["limit"], refused.detail["left"]) == ("50", "0")
    assert request(0) == 1
    assert ledger.approvals.get(51) is None
    assert ask(ledger) == 51
    ledger.approvals.withdraw_as(1, login_of(ANN))
    assert request(50) == 52


@pytest.mark.parametrize("key", [ANN.key, "token"])
def test_a_revoked_requester_asks_for_nothing(ledger: Ledger, key: str):
    token = "jti_" + "a" * 32
    asker = make_requester(replace(ANN, token_key=token))
    ledger.revocations.revoke(token if key == "token" else key, IDA, "stolen")
    before = ledger.entry_count()
    wanted = request_of(ANN, requester=asker)
    assert code(lambda: ledger.approvals.request(wanted)) == "forbidden_role"
    assert ledger.entry_count() == before
    assert ledger.approvals.list_pending() == []
    assert ledger.approvals.request(request_of(BOTH)) == 1


@pytest.mark.parametrize("team", [False, True])
@pytest.mark.parametrize(
    ("changed", "is_same"),
    [({}, True), ({"facts_digest": "x"}, False), ({"needed": 2}, False), ({"summary": "x"}, True)],
    ids=["equal", "facts", "needed", "summary"],
)
def test_an_equal_request_has_the_facts_and_the_number_of_people(
    ledger: Ledger, changed: dict[str, Any], *, is_same: bool, team: bool
):
    more = {} if team else SINGLE
    first = ledger.approvals.request(request_of(ANN, **more))
    second = ledger.approvals.request(request_of(ANN, **{**more, **changed}))
    assert (first == second) is is_same
    assert state(ledger, first) == ("pending" if is_same else "superseded")
    assert [one.number for one in ledger.approvals.list_pending()] == [second]


def test_an_equal_request_needs_the_same_number_of_people(ledger: Ledger):
    first = ledger.approvals.request(request_of(ANN, needed=2))
    assert ledger.approvals.request(request_of(ANN, needed=2)) == first
    fewer = ledger.approvals.request(request_of(ANN, needed=1))
    assert fewer != first
    assert state(ledger, first) == "superseded"


def test_of_a_single_user_what_was_approved_stays_beside_a_new_request(ledger: Ledger):
    given = ask(ledger)
    decide(ledger, given)
    waiting = ask(ledger, facts_digest="other")
    assert (state(ledger, given), state(ledger, waiting)) == ("approved", "pending")
    found: Any = ledger.approvals.find_approved(BINDING)
    assert found.number == given


def test_of_a_team_what_was_approved_ends_with_a_new_request(ledger: Ledger):
    given = ledger.approvals.request(request_of(ANN))
    approve_as(ledger, given, BOB)
    ledger.approvals.request(request_of(ANN))
    assert state(ledger, given) == "superseded"
    assert ledger.approvals.find_approved(binding_of(ANN)) is None


# Times


@pytest.mark.parametrize(("age", "is_over"), [(DAY - 1, False), (DAY, True)])
def test_a_request_and_an_approval_are_valid_for_a_day(
    ledger: Ledger, clock: Time, age: float, *, is_over: bool
):
    waiting, given = ask(ledger, "one"), ask(ledger, "two")
    decide(ledger, given)
    clock.at += age
    numbers = [] if is_over else [waiting]
    assert [one.number for one in ledger.approvals.list_pending()] == numbers
    assert ledger.approvals.pending_numbers() == tuple(numbers)
    assert [one.number for one in ledger.approvals.unused()] == ([] if is_over else [given])
    binding = replace(BINDING, arguments="two")
    assert (ledger.approvals.find_approved(binding) is None) is is_over
    done = code(lambda: decide(ledger, waiting))
    assert done == ("confirmation_expired" if is_over else "runs")
    taken = code(lambda: ledger.approvals.withdraw(given, "eve"))
    assert taken == ("invalid_arguments" if is_over else "runs")


def test_what_waits_and_what_is_approved_is_listed_in_the_order_of_its_numbers(ledger: Ledger):
    numbers = [ask(ledger, str(number)) for number in range(6)]
    for number in (5, 1, 3):
        decide(ledger, number)
    decide(ledger, 2, approve=False, reason="no")
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert [one.number for one in ledger.approvals.list_pending()] == [4, 6]
    assert ledger.approvals.pending_numbers() == (4, 6)
    assert [one.number for one in ledger.approvals.unused()] == [1, 3, 5]


def test_an_expiry_that_a_refused_decision_noticed_is_recorded(ledger: Ledger, clock: Time):
    number = ask(ledger)
    clock.at += DAY
    refused = refusal_of(lambda: decide(ledger, number))
    assert refused.code == "confirmation_expired"
    assert f"Number {number} " in refused.message
    assert entry(ledger)["event"] == "approval_expired"
    assert entry(ledger)["number"] == number
    assert ledger.verify().ok


def test_the_newest_approval_that_no_call_used_is_found(ledger: Ledger):
    numbers: list[int] = []
    for facts in ("one", "two", "three"):
        numbers.append(ask(ledger, facts_digest=facts))
        decide(ledger, numbers[-1])
    for number in reversed(numbers):
        found: Any = ledger.approvals.find_approved(BINDING)
        assert found.number == number
        wanted = intent(str(number), consent="approval", approval=number)
        assert code(lambda wanted=wanted: ledger.begin(wanted, LIMITS, BINDING)) == "runs"
    assert ledger.approvals.find_approved(BINDING) is None
    assert ledger.approvals.unused() == []


@pytest.mark.parametrize(
    ("age", "seconds", "is_found"),
    [(599, None, True), (600, None, False), (10, 10.5, True), (10, 10.0, False), (0, 1.0, True)],
)
def test_the_newest_decline_is_found_within_its_time(
    ledger: Ledger, clock: Time, age: float, seconds: float | None, *, is_found: bool
):
    assert ledger.approvals.find_declined(BINDING) is None
    for facts in ("one", "two"):
        number = ask(ledger, facts_digest=facts)
        decide(ledger, number, approve=False, reason=facts)
        clock.at += 5
    clock.at += age - 5
    times = () if seconds is None else (seconds,)
    found: Any = ledger.approvals.find_declined(BINDING, *times)
    assert (found is not None) is is_found
    assert not is_found or (found.number, found.reason, found.facts) == (2, "two", {})
    assert ledger.approvals.find_declined(replace(BINDING, arguments="x")) is None
