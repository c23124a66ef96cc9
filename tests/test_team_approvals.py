"""Approval by other people, on both stores: who counts, how many, what is recorded, and attacks."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from kartra_mcp.app.team_service import count_approvers
from kartra_mcp.consent.team_approval import find_amount
from kartra_mcp.core.models import Risk
from kartra_mcp.ledger.approvals import MAX_PENDING
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import ApproverLogin, TeamDecision, make_requester
from kartra_mcp.ledger.records import IntentPart
from kartra_mcp.team.config import ApprovalBand
from tests.ledger_intents import BINDING, LIMITS, code, intent, two_step
from tests.ledger_stores import Place
from tests.team_people import (
    ANN,
    BOB,
    BOTH,
    CARL,
    MACHINE,
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


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def ledger(ledger_place: Place, clock: Time) -> Generator[Ledger]:
    with closing(ledger_place.open(clock)) as made:
        yield made


def use(ledger: Ledger, number: int, asker: Any = ANN, **more: Any) -> str:
    """The code of the requester's repeated call, or "runs"."""
    wanted = approved_intent(asker, number, **more)
    return code(lambda: ledger.begin(wanted, LIMITS, binding_of(asker)))


def test_one_other_person_approves_and_the_call_runs_once(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN))
    assert use(ledger, number) == "approval_required"
    assert approve_as(ledger, number, BOB).state == "approved"
    found: Any = ledger.approvals.find_approved(binding_of(ANN))
    assert found.number == number
    assert use(ledger, number) == "runs"
    assert use(ledger, number, target="102") == "confirmation_used"
    assert ledger.verify().ok


def test_a_requester_floods_nobody_and_an_equal_request_keeps_its_number(ledger: Ledger):
    def ask(asker: Any, number: int) -> int:
        wanted = request_of(asker)
        binding = replace(wanted.binding, arguments=f"{number:064x}")
        return ledger.approvals.request(replace(wanted, binding=binding))

    numbers = [ask(ANN, number) for number in range(MAX_PENDING)]
    before = ledger.entry_count()
    assert code(lambda: ask(ANN, MAX_PENDING)) == "cap_reached"
    assert ledger.entry_count() == before
    assert ask(ANN, 0) == numbers[0]
    assert ask(BOTH, 0) > numbers[-1]
    decline_as(ledger, numbers[3], BOB)
    assert ask(ANN, MAX_PENDING) > numbers[-1]


def test_two_people_are_needed_where_two_are_needed(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN, needed=2))
    half = approve_as(ledger, number, BOB)
    assert half.state == "pending"
    assert [vote.name for vote in half.team.votes] == ["Bob"]
    assert use(ledger, number) == "approval_required"
    assert approve_as(ledger, number, CARL).who == "Bob, Carl"
    assert use(ledger, number) == "runs"


def test_a_request_that_one_of_two_approved_matches_the_entries(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN, needed=2))
    approve_as(ledger, number, BOB)
    assert ledger.verify().why == ""
    approve_as(ledger, number, CARL)
    assert ledger.verify().ok


def test_each_decision_is_one_entry_with_the_login_and_what_was_shown(ledger: Ledger, clock: Time):
    number = ledger.approvals.request(request_of(ANN, needed=2))
    shown: Any = ledger.approvals.get(number)
    before = ledger.entry_count()
    approve_as(ledger, number, BOB)
    assert ledger.entry_count() == before + 1
    entry: Any = ledger.latest("consent")
    wanted = {
        "event": "approval_agreed",
        "number": number,
        "facts_digest": "facts",
        "who": "Bob",
        "person": BOB.key,
        "auth_time": clock.at,
        "acr": "mfa",
        "seen": shown.fingerprint,
        "given": 1,
        "needed": 2,
    }
    assert {name: entry[name] for name in wanted} == wanted


def test_the_entry_and_the_export_show_who_asked(ledger: Ledger):
    wanted = intent(requester=make_requester(ANN), actor="Ann", risk=Risk.WRITE)
    ledger.begin(wanted, LIMITS)
    (entry,) = ledger.export()
    assert entry["requester"] == {
        "key": ANN.key,
        "name": "Ann",
        "client_id": "desktop",
        "roles": ["requester"],
    }
    assert entry["actor"] == "Ann"


def test_a_pending_request_is_the_same_for_one_requester_and_another_for_the_next(ledger: Ledger):
    first = ledger.approvals.request(request_of(ANN))
    assert ledger.approvals.request(request_of(ANN)) == first
    assert ledger.approvals.request(request_of(BOTH)) != first
    assert ledger.approvals.request(request_of(ANN, needed=2)) != first
    assert getattr(ledger.approvals.get(first), "state", "") == "superseded"


def test_changed_facts_end_an_approval_that_was_given(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN))
    approve_as(ledger, number, BOB)
    newer = ledger.approvals.request(request_of(ANN, facts_digest="other facts"))
    assert newer != number
    assert use(ledger, number) == "approval_required"
    assert code(lambda: approve_as(ledger, number, CARL)) == "confirmation_expired"


Attack = Callable[[Ledger, int], object]


def typed(text: str) -> Attack:
    return lambda ledger, number: approve_as(ledger, number, BOB, typed=text)


def logged_in(login: ApproverLogin) -> Attack:
    def decide(ledger: Ledger, number: int) -> object:
        seen = getattr(ledger.approvals.get(number), "fingerprint", "")
        return ledger.approvals.decide_as(number, login, TeamDecision(True, seen, "97.00"))

    return decide


def decide_other_number(ledger: Ledger, number: int) -> object:
    other = ledger.approvals.request(request_of(ANN))
    seen = getattr(ledger.approvals.get(other), "fingerprint", "")
    return approve_as(ledger, number, BOB, seen=seen)


def with_pin(ledger: Ledger, number: int) -> object:
    seen = getattr(ledger.approvals.get(number), "fingerprint", "")
    return ledger.approvals.decide(number, approve=True, reason="", who="os", seen=seen)


NOW = Time.at
ATTACKS: dict[str, tuple[Attack, str]] = {
    "the requester": (lambda x, n: approve_as(x, n, BOTH), "forbidden_role"),
    "a machine": (lambda x, n: approve_as(x, n, MACHINE), "forbidden_role"),
    "a viewer": (lambda x, n: approve_as(x, n, person("eve", "viewer")), "forbidden_role"),
    "an admin": (lambda x, n: approve_as(x, n, person("eve", "admin")), "forbidden_role"),
    "nobody": (lambda x, n: approve_as(x, n, person("eve")), "forbidden_role"),
    "stale view": (lambda x, n: approve_as(x, n, BOB, seen="0" * 32), "facts_changed"),
    "view of another number": (decide_other_number, "facts_changed"),
    "other amount": (typed("97.01"), "invalid_arguments"),
    "finer amount": (typed("97.004"), "invalid_arguments"),
    "no amount": (typed(""), "invalid_arguments"),
    "another number": (lambda x, n: approve_as(x, n + 50, BOB), "invalid_arguments"),
    "no reason": (lambda x, n: decline_as(x, n, BOB, " \n"), "invalid_arguments"),
    "old login": (logged_in(ApproverLogin(BOB, NOW - 361, max_age=300)), "not_allowed"),
    "login of the future": (logged_in(ApproverLogin(BOB, NOW + 61)), "not_allowed"),
    "a PIN": (with_pin, "not_allowed"),
    "PIN withdraws": (lambda x, n: x.approvals.withdraw(n, "os"), "not_allowed"),
    "other withdraws": (
        lambda x, n: x.approvals.withdraw_as(n, login_of(person("eve", "admin"))),
        "forbidden_role",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_on_a_decision_is_refused_and_decides_nothing(ledger: Ledger, attack: str):
    number = ledger.approvals.request(request_of(BOTH))
    tried, refused = ATTACKS[attack]
    assert code(lambda: tried(ledger, number)) == refused
    assert getattr(ledger.approvals.get(number), "state", "") == "pending"
    assert use(ledger, number, BOTH) == "approval_required"
    assert ledger.verify().ok


def test_one_person_counts_once(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN, needed=2))
    approve_as(ledger, number, BOB)
    again = replace(BOB, name="Robert", client_id="other")
    assert code(lambda: approve_as(ledger, number, again)) == "confirmation_used"
    assert use(ledger, number) == "approval_required"


def test_one_decline_ends_a_request_that_others_approved(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN, needed=2, key="c refund transaction 101"))
    approve_as(ledger, number, BOB)
    assert decline_as(ledger, number, CARL, "wrong buyer").state == "declined"
    found: Any = ledger.approvals.find_declined(binding_of(ANN))
    assert (found.who, found.reason) == ("Carl", "wrong buyer")
    assert code(lambda: approve_as(ledger, number, person("d", "approver"))) == "confirmation_used"
    assert use(ledger, number) == "approval_required"


def test_a_used_approval_is_not_approved_or_withdrawn_again(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN))
    approve_as(ledger, number, BOB)
    use(ledger, number)
    assert code(lambda: approve_as(ledger, number, CARL)) == "confirmation_used"
    assert code(lambda: ledger.approvals.withdraw_as(number, login_of(BOB))) == "confirmation_used"


@pytest.mark.parametrize("who", [ANN, CARL], ids=["requester", "approver"])
@pytest.mark.parametrize("approved", [True, False])
def test_the_requester_and_an_approver_withdraw_an_unused_one(
    ledger: Ledger, who, *, approved: bool
):
    number = ledger.approvals.request(request_of(ANN))
    if approved:
        approve_as(ledger, number, BOB)
    assert ledger.approvals.withdraw_as(number, login_of(who)).state == "withdrawn"
    assert use(ledger, number) == "approval_required"


def test_an_approval_expires_after_a_day(ledger: Ledger, clock: Time):
    asked = ledger.approvals.request(request_of(ANN))
    given = ledger.approvals.request(request_of(BOTH))
    approve_as(ledger, given, BOB)
    clock.at += DAY
    assert code(lambda: approve_as(ledger, asked, BOB)) == "confirmation_expired"
    assert use(ledger, given, BOTH) == "approval_required"


def test_another_person_cannot_use_an_approval(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN))
    approve_as(ledger, number, CARL)
    stolen = approved_intent(BOTH, number)
    assert code(lambda: ledger.begin(stolen, LIMITS, binding_of(BOTH))) == "approval_required"
    assert code(lambda: ledger.begin(stolen, LIMITS, binding_of(ANN))) == "confirmation_mismatch"
    as_nobody = replace(stolen, requester=None)
    assert code(lambda: ledger.begin(as_nobody, LIMITS, BINDING)) == "approval_required"
    assert code(lambda: ledger.begin(as_nobody, LIMITS, binding_of(ANN))) == (
        "confirmation_mismatch"
    )


@pytest.mark.parametrize("field", ["tool", "arguments", "connection", "action", "policy"])
def test_an_approval_does_not_serve_another_call(ledger: Ledger, field: str):
    number = ledger.approvals.request(request_of(ANN))
    approve_as(ledger, number, BOB)
    other = binding_of(ANN, **{field: "other"})
    wanted = approved_intent(ANN, number)
    assert code(lambda: ledger.begin(wanted, LIMITS, other)) == "approval_required"


def test_another_person_cannot_use_a_confirmation(ledger: Ledger):
    ann, bob = make_requester(ANN), make_requester(BOTH)
    minted = ledger.consents.issue(binding_of(ANN), "Assign", "facts")
    wanted = intent(consent="two_step", confirmation_id=minted.id, risk=Risk.WRITE, requester=bob)
    for burns in (binding_of(BOTH), binding_of(ANN), BINDING):
        assert code(lambda: ledger.begin(wanted, LIMITS, burns)) == "confirmation_mismatch"  # noqa: B023
    assert (
        code(lambda: ledger.consents.validate(minted.id, binding_of(BOTH), "Assign"))
        == "confirmation_mismatch"
    )
    own = replace(wanted, requester=ann)
    assert code(lambda: ledger.begin(own, LIMITS, binding_of(ANN))) == "runs"


def test_a_confirmation_of_a_single_user_is_not_one_of_a_person(ledger: Ledger):
    wanted = replace(two_step(ledger), requester=make_requester(ANN), risk=Risk.WRITE)
    assert code(lambda: ledger.begin(wanted, LIMITS, BINDING)) == "confirmation_mismatch"


def test_a_row_that_was_changed_does_not_replace_the_people_of_the_chain(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN, needed=2))
    approve_as(ledger, number, BOB)
    with ledger._store.write_transaction() as transaction:
        transaction.run("UPDATE approvals SET state = 'approved' WHERE number = ?", number)
    assert use(ledger, number) == "approval_required"


@pytest.mark.parametrize(
    ("amount", "needed"),
    [("0.01", 1), ("100", 1), ("100.01", 2), ("500", 2), ("500.01", 3), (None, 3)],
)
def test_an_amount_needs_the_approvers_of_its_band(amount: str | None, needed: int):
    bands = (ApprovalBand(Decimal(100), 1), ApprovalBand(Decimal(500), 2), ApprovalBand(None, 3))
    assert count_approvers(bands, None if amount is None else Decimal(amount)) == needed


def test_the_amount_of_a_chain_is_known_only_as_a_whole():
    part = IntentPart(operation="refund_transaction", risk=Risk.IRREVERSIBLE)
    known = [replace(part, known_amount=Decimal(amount)) for amount in (40, 60)]
    whole = intent(parts=(*known, IntentPart(operation="assign_tag", risk=Risk.WRITE)))
    assert find_amount(whole) == 100
    assert find_amount(replace(whole, parts=(*whole.parts, part))) is None
    assert find_amount(intent(risk=Risk.WRITE)) is None
