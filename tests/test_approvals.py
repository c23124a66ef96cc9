"""Approvals by a human outside the client, and the PIN that authenticates them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from consent_actors import decided

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger.approval_records import ApprovalRequest
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Answer, Binding, Intent, make_intent_id
from kartra_mcp.ledger.rules import make_identity_key
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.policy.limits import Limits

START = 1_800_000_000.0
DAY = 86_400
LIMITS = Limits()
BINDING = Binding("kartra_refund_transaction", "digest", "c", "2026", "a", "r1", "p")
ASKED = ApprovalRequest(BINDING, "Refund 97", {"buyer": "Ada"}, "facts1", "claude 1")


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(ledger_place, clock):
    with closing(ledger_place.open(clock)) as made:
        yield made


def approved(ledger: Any, asked=ASKED) -> int:
    number = ledger.approvals.request(asked)
    decided(ledger, number, approve=True, reason="", who="ada")
    return number


def wanted(number, target="101") -> Intent:
    return Intent(
        id=make_intent_id(),
        tool="kartra_refund_transaction",
        operation="refund_transaction",
        risk=Risk.IRREVERSIBLE,
        connection="c",
        target_kind="transaction",
        target=target,
        consent="approval",
        approval=number,
        fresh=True,
    )


def code(of: Callable[[], object]) -> str:
    try:
        of()
    except RefusedError as refused:
        return refused.code
    return "runs"


def events(ledger: Any) -> list[str]:
    with ledger._store.read_transaction() as transaction:
        rows = transaction.fetch_all("SELECT json_extract(body, '$.event') FROM lines ORDER BY n")
        return [row[0] for row in rows if row[0]]


def test_the_same_call_waits_under_one_number(ledger: Any):
    number = ledger.approvals.request(ASKED)
    assert number == 1
    assert ledger.approvals.request(ASKED) == number
    other = replace(ASKED, binding=replace(BINDING, arguments="other"))
    assert ledger.approvals.request(other) == 2
    assert [a.number for a in ledger.approvals.list_pending()] == [1, 2]
    shown = ledger.approvals.get(number)
    assert (shown.state, shown.summary, shown.facts) == ("pending", "Refund 97", {"buyer": "Ada"})
    assert ledger.approvals.get(9) is None
    assert events(ledger) == ["approval_asked", "approval_asked"]


def test_other_facts_need_a_new_question(ledger: Any):
    first = ledger.approvals.request(ASKED)
    second = ledger.approvals.request(replace(ASKED, facts_digest="facts2"))
    assert second != first
    assert [a.number for a in ledger.approvals.list_pending()] == [second]
    decide = code(lambda: decided(ledger, first, approve=True, reason="", who="ada"))
    assert decide == "confirmation_expired"


def test_an_approval_is_for_one_run_of_exactly_this_call(ledger: Any, clock):
    assert ledger.approvals.find_approved(BINDING) is None
    number = approved(ledger)
    found = ledger.approvals.find_approved(BINDING)
    assert (found.number, found.facts_digest, found.who) == (number, "facts1", "ada")
    other = replace(BINDING, arguments="other")
    assert ledger.approvals.find_approved(other) is None
    with pytest.raises(RefusedError, match="other arguments"):
        ledger.begin(wanted(number), LIMITS, other)
    clock.at += DAY - 1
    intent = wanted(number)
    ledger.begin(intent, LIMITS, BINDING)
    ledger.finish(intent.id, Answer("failed", Executed.NO))
    assert ledger.approvals.find_approved(BINDING) is None
    assert code(lambda: ledger.begin(wanted(number), LIMITS, BINDING)) == "confirmation_used"
    used = ledger.approvals.get(number)
    assert (used.used_by, used.facts) == (intent.id, {})
    entry = ledger.get(intent.id)
    assert (entry["approval"], entry["confirmation"]) == (number, f"approval {number}")
    assert (entry["lines"][0]["approval"], entry["lines"][0]["confirmation"]) == (number, None)


def test_what_was_not_approved_does_not_run(ledger: Any):
    number = ledger.approvals.request(ASKED)
    for call in (wanted(number), wanted(7), wanted(-1), replace(wanted(1), approval=None)):
        begun = code(lambda call=call: ledger.begin(call, LIMITS, BINDING))
        assert begun == "approval_required"
    assert code(lambda: ledger.begin(wanted(number), LIMITS)) == "approval_required"
    declined = decided(ledger, number, approve=False, reason="wrong sale", who="ada")
    assert (declined.state, declined.reason, declined.facts) == ("declined", "wrong sale", {})
    assert code(lambda: ledger.begin(wanted(number), LIMITS, BINDING)) == "approval_required"
    again = code(lambda: decided(ledger, number, approve=True, reason="", who="eve"))
    assert again == "confirmation_used"
    unknown = code(lambda: decided(ledger, 9, approve=True, reason="", who="eve"))
    assert unknown == "invalid_arguments"
    assert events(ledger) == ["approval_asked", "approval_declined"]
    assert ledger.latest("consent")["reason"] == "wrong sale"


def test_approvals_end_after_a_day_which_is_recorded(ledger: Any, clock):
    pending = ledger.approvals.request(ASKED)
    other = replace(ASKED, binding=replace(BINDING, arguments="other"))
    clock.at += 10
    number = approved(ledger, other)
    clock.at += DAY
    assert ledger.approvals.list_pending() == []
    assert ledger.approvals.get(pending).state == "expired"
    assert ledger.approvals.find_approved(other.binding) is None
    assert code(lambda: ledger.begin(wanted(number), LIMITS, other.binding)) == "approval_required"
    decide = code(lambda: decided(ledger, pending, approve=True, reason="", who="ada"))
    assert decide == "confirmation_expired"
    assert events(ledger)[-2:] == ["approval_expired", "approval_expired"]
    assert ledger.approvals.request(ASKED) == 3


def test_a_decision_on_something_else_than_what_was_shown_is_refused(ledger: Any):
    number = ledger.approvals.request(ASKED)
    decide = partial(ledger.approvals.decide, number, reason="", who="ada")
    other: Any = ledger.approvals.get(
        ledger.approvals.request(replace(ASKED, binding=replace(BINDING, arguments="other")))
    )
    for seen in ("", other.fingerprint):
        for approve in (True, False):
            with pytest.raises(
                RefusedError, match=f"Number {number} differs from the request that was shown"
            ) as refused:
                decide(approve=approve, seen=seen)
            assert refused.value.code == "facts_changed"
    assert ledger.approvals.get(number).state == "pending"
    assert events(ledger) == ["approval_asked", "approval_asked"]


def test_an_approval_keeps_who_asked_and_who_decided_and_when(ledger: Any, clock):
    number = ledger.approvals.request(ASKED)
    asked = ledger.approvals.get(number)
    assert (asked.asked_by, asked.asked_at, asked.expires_at) == ("claude 1", START, START + DAY)
    assert (asked.who, asked.reason, asked.decided_at, asked.used_by) == ("", "", None, None)
    clock.at += 5
    done = decided(ledger, number, approve=True, reason="fine", who="ada")
    assert (done.state, done.who, done.reason, done.decided_at) == (
        *("approved", "ada", "fine"),
        START + 5,
    )
    assert ledger.approvals.get(number) == done
    clock.at += 5
    taken = ledger.approvals.withdraw(number, "eve")
    assert (taken.state, taken.who, taken.decided_at) == ("withdrawn", "eve", START + 10)


def test_the_ledger_records_each_step_of_an_approval(ledger: Any):
    def latest() -> dict[str, Any]:
        entry = ledger.latest("consent")
        return {name: value for name, value in entry.items() if name != "at"}

    number = ledger.approvals.request(ASKED)
    common = {"number": number, "facts_digest": "facts1"}
    assert latest() == {
        **common,
        "event": "approval_asked",
        "tool": "kartra_refund_transaction",
        "by": "claude 1",
    }
    decided(ledger, number, approve=True, reason="fine", who="ada")
    assert latest() == {**common, "event": "approval_approved", "who": "ada", "reason": "fine"}
    ledger.approvals.withdraw(number, "eve")
    assert latest() == {**common, "event": "approval_withdrawn", "who": "eve"}


@pytest.mark.parametrize(
    ("number", "known"), [(9, "it does not exist"), (1, "it is pending"), (2, "it is declined")]
)
def test_what_cannot_be_taken_back_is_named_with_its_state(ledger: Any, number, known):
    ledger.approvals.request(ASKED)
    other = ledger.approvals.request(replace(ASKED, binding=replace(BINDING, arguments="other")))
    decided(ledger, other, approve=False, reason="no", who="ada")
    with pytest.raises(RefusedError, match=f"Number {number} .*: {known}"):
        ledger.approvals.withdraw(number, "eve")


def test_a_decline_is_found_by_its_call_for_ten_minutes(ledger: Any, clock):
    first, other = ASKED, replace(ASKED, binding=replace(BINDING, arguments="other"))
    assert ledger.approvals.find_declined(BINDING) is None
    number = ledger.approvals.request(first)
    assert ledger.approvals.pending_numbers() == (number,)
    decided(ledger, number, approve=False, reason="no", who="ada")
    assert ledger.approvals.pending_numbers() == ()
    assert ledger.approvals.find_declined(other.binding) is None
    clock.at += 599
    assert ledger.approvals.find_declined(BINDING).number == number
    assert ledger.approvals.find_declined(BINDING, 599.0) is None
    clock.at += 1
    assert ledger.approvals.find_declined(BINDING) is None


def test_a_decline_stays_one_when_its_time_is_over(ledger: Any, clock):
    number = ledger.approvals.request(ASKED)
    waiting = ledger.approvals.request(replace(ASKED, binding=replace(BINDING, arguments="other")))
    decided(ledger, number, approve=False, reason="no", who="ada")
    clock.at += DAY - 1
    assert ledger.approvals.pending_numbers() == (waiting,)
    clock.at += 1
    assert ledger.approvals.get(number).state == "declined"
    assert ledger.approvals.get(waiting).state == "expired"
    assert ledger.approvals.pending_numbers() == ()


def test_facts_stay_out_of_the_lines(ledger: Any):
    approved(ledger)
    with ledger._store.read_transaction() as transaction:
        assert not any("Ada" in row[0] for row in transaction.fetch_all("SELECT body FROM lines"))


def test_the_pin(ledger: Any, clock, ledger_place):
    assert not ledger.pins.is_set()
    assert code(lambda: ledger.pins.check("123456", "ada")) == "approval_required"
    assert code(lambda: ledger.pins.set("12345", "ada")) == "invalid_arguments"
    ledger.pins.set("correct horse", "ada")
    assert ledger.pins.is_set()
    assert ledger.pins.check("correct horse", "ada") is True
    assert ledger.pins.check("battery staple", "ada") is False
    assert events(ledger) == ["pin_set", "pin_right", "pin_wrong"]
    with closing(ledger_place.open(clock)) as other:
        assert other.pins.check("correct horse", "ada") is True


def test_no_file_has_the_pin(tmp_path):
    with closing(open_ledger(tmp_path)) as ledger:
        ledger.pins.set("correct horse", "ada")
        ledger.pins.check("battery staple", "ada")
    for file in tmp_path.iterdir():
        content = b"" if file.is_dir() else file.read_bytes()
        assert b"correct horse" not in content
        assert b"battery staple" not in content


def test_five_wrong_attempts_lock_it_for_a_quarter_of_an_hour(ledger: Any, clock):
    ledger.pins.set("123456", "ada")
    for _ in range(5):
        clock.at += 10
        assert ledger.pins.check("000000", "eve") is False
    assert code(lambda: ledger.pins.check("123456", "ada")) == "not_allowed"
    clock.at += 899
    assert code(lambda: ledger.pins.check("123456", "ada")) == "not_allowed"
    assert events(ledger)[-2:] == ["pin_locked", "pin_locked"]
    clock.at += 1
    assert ledger.pins.check("000000", "eve") is False
    assert ledger.pins.check("123456", "ada") is True


def test_slow_attempts_do_not_lock_it(ledger: Any, clock):
    ledger.pins.set("123456", "ada")
    for _ in range(9):
        assert ledger.pins.check("000000", "ada") is False
        clock.at += 300
    assert ledger.pins.check("123456", "ada") is True


def test_a_decline_blocks_the_operation_whatever_the_amount(ledger: Any):
    """Bug: a refund of 20.01 could be asked for right after one of 20.00 was declined."""
    other = wanted(0)
    key = make_identity_key(other)
    number = ledger.approvals.request(replace(ASKED, key=key))
    assert code(lambda: ledger.preflight(other, LIMITS)) == "runs"
    decided(ledger, number, approve=False, reason="no", who="ada")
    assert code(lambda: ledger.preflight(other, LIMITS)) == "declined"
    assert code(lambda: ledger.preflight(wanted(0, target="102"), LIMITS)) == "runs"


def test_what_was_approved_can_be_taken_back_until_it_is_used(ledger: Any, clock):
    """Bug: an approved call was not listed and could not be revoked."""
    number = approved(ledger)
    ledger.approvals.request(replace(ASKED, binding=replace(BINDING, arguments="other")))
    assert [(a.number, a.facts) for a in ledger.approvals.unused()] == [(number, {"buyer": "Ada"})]
    taken = ledger.approvals.withdraw(number, "eve")
    assert (taken.state, taken.who, taken.facts) == ("withdrawn", "eve", {})
    assert ledger.approvals.unused() == []
    assert ledger.approvals.find_approved(BINDING) is None
    assert code(lambda: ledger.begin(wanted(number), LIMITS, BINDING)) == "approval_required"
    assert events(ledger)[-1] == "approval_withdrawn"
    assert ledger.latest("consent")["who"] == "eve"
    for again in (number, 2, 9):
        assert code(lambda n=again: ledger.approvals.withdraw(n, "eve")) == "invalid_arguments"
    assert ledger.approvals.request(ASKED) == 3


def test_what_was_used_or_has_ended_cannot_be_taken_back(ledger: Any, clock):
    number = approved(ledger)
    intent = wanted(number)
    ledger.begin(intent, LIMITS, BINDING)
    ledger.finish(intent.id, Answer("failed", Executed.NO))
    assert ledger.approvals.unused() == []
    assert code(lambda: ledger.approvals.withdraw(number, "eve")) == "confirmation_used"
    other = approved(ledger, replace(ASKED, facts_digest="facts2"))
    clock.at += DAY
    assert ledger.approvals.unused() == []
    assert code(lambda: ledger.approvals.withdraw(other, "eve")) == "invalid_arguments"
    assert events(ledger)[-1] == "approval_expired"


def test_of_taking_back_and_using_at_once_exactly_one_wins(ledger_place):
    """On two connections, as two processes have them."""
    with (
        closing(ledger_place.open()) as person,
        closing(ledger_place.open()) as chat,
        ThreadPoolExecutor(2) as both,
    ):
        for turn in range(20):
            binding = replace(BINDING, arguments=str(turn))
            number = approved(person, replace(ASKED, binding=binding))
            call = wanted(number, target=str(turn))
            go = Barrier(2)
            ways = (
                partial(_withdrawn, go, person, number),
                partial(_begun, go, chat, call, binding),
            )
            said = [one.result() for one in [both.submit(code, way) for way in ways]]
            assert said.count("runs") == 1
            found: Any = person.approvals.get(number)
            assert (found.state == "withdrawn") is (found.used_by is None) is (said[0] == "runs")
            assert (person.get(call.id) is None) is (found.used_by is None)


def _withdrawn(go: Barrier, ledger: Ledger, number: int) -> None:
    go.wait()
    ledger.approvals.withdraw(number, "ada")


def _begun(go: Barrier, ledger: Ledger, call: Intent, binding: Binding) -> None:
    go.wait()
    ledger.begin(call, LIMITS, binding).close()


def test_decisions_and_attempts_are_listed_newest_first(ledger: Any):
    ledger.pins.set("123456", "ada")
    number = ledger.approvals.request(ASKED)
    ledger.pins.check("000000", "eve")
    decided(ledger, number, approve=False, reason="wrong sale", who="ada")
    about = {"tool": "kartra_cancel", "target": "7", "client": "a chat 1.0"}
    ledger.consents.block("key", "dismissed", about=about)
    told = ledger.list_decisions(9)
    assert [x.event for x in told] == [
        *("dismissed", "approval_declined", "pin_wrong", "approval_asked", "pin_set")
    ]
    dismissed, declined, wrong, asked, _ = told
    assert (dismissed.tool, dismissed.target, dismissed.by) == ("kartra_cancel", "7", "a chat 1.0")
    assert (declined.number, declined.tool, declined.who) == (number, BINDING.tool, "ada")
    assert declined.reason == "wrong sale"
    assert (wrong.number, wrong.who) == (None, "eve")
    assert (asked.by, asked.at) == ("claude 1", START)
    assert [x.line for x in ledger.list_decisions(2)] == [5, 4]
    assert "key" not in repr(told)


def test_the_time_of_the_pin_lock_is_shown_without_an_attempt(ledger: Any, clock):
    ledger.pins.set("123456", "ada")
    assert ledger.pins.locked_until() is None
    for _ in range(5):
        ledger.pins.check("000000", "eve")
    assert ledger.pins.locked_until() == START + 900
    clock.at += 900
    assert ledger.pins.locked_until() is None
    assert "pin_locked" not in events(ledger)
