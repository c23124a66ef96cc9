"""Late answers and contradictions in the ledger, and outcomes that users state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from ledger_intents import LIMITS, code, intent

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import FENCED, UNFENCED, Executed, Fence, SendRight
from kartra_mcp.core.timings import WriteTimings
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Answer, FinalState, Intent
from kartra_mcp.ledger.settlement import (
    Standing,
    Statement,
    agreed_state,
    classify_answer,
    look_delay,
)

Lose = Callable[[Intent], str]
YES, NO, UNKNOWN = Executed.YES, Executed.NO, Executed.UNKNOWN
EVIDENCE = {"why": "two looks"}
SAW_IT = Statement("ada", "succeeded", "the refund is in Kartra")
SAW_NONE = Statement("ada", "failed", "no refund in Kartra")


class Clock:
    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(ledger_place: Any, clock: Clock) -> Iterator[Ledger]:
    """The ledger in each store."""
    with closing(ledger_place.open(clock, wait=2.0)) as made:
        yield made


@pytest.fixture
def lose(ledger_place: Any, ledger: Ledger, clock: Clock) -> Lose:
    """Begin a write whose owner ends; its outcome is unknown. Return its intent."""

    def begin(wanted: Intent) -> str:
        ledger_place.let_go(ledger.begin(wanted, LIMITS), clock)
        assert ledger.mark_orphans_unknown() == [wanted.id]
        return wanted.id

    return begin


def sent(fence: Fence = FENCED, target: str = "101", attempt: str = "att_1") -> Intent:
    return intent(target, right=SendRight(attempt, 30.0, fence, 0.0))


def answer(ledger: Ledger, id_: str, executed: Executed, attempt: str = "att_1") -> str:
    states: dict[Executed, FinalState] = {YES: "succeeded", NO: "failed", UNKNOWN: "unknown"}
    state = states[executed]
    return ledger.finish(id_, Answer(state, executed, attempt=attempt))


def state(ledger: Ledger, id_: str) -> str:
    found = ledger.get(id_)
    assert found is not None
    assert ledger.verify().why == ""
    return found["state"]


def kinds(ledger: Ledger, id_: str) -> list[str]:
    found = ledger.get(id_)
    assert found is not None
    return [line["kind"] for line in found["lines"]]


def test_the_entry_of_an_intent_has_attempt_fence_and_end(ledger: Ledger):
    ledger.begin(wanted := sent(), LIMITS)
    found = ledger.get(wanted.id)
    assert found is not None
    assert (found["attempt"], found["fence"]) == ("att_1", "short_token")
    assert found["send_until"] == pytest.approx(found["at"] + 30, abs=0.001)
    if "expires_at" in found:
        return  # this store gives every write an attempt
    ledger.begin(plain := intent("102"), LIMITS)
    assert not {"attempt", "fence", "send_until"} & (ledger.get(plain.id) or {}).keys()


@pytest.mark.parametrize(("executed", "after"), [(YES, "succeeded"), (NO, "failed")])
def test_an_answer_after_the_loss_of_its_owner_counts(ledger: Ledger, lose: Lose, executed, after):
    id_ = lose(sent())
    assert answer(ledger, id_, UNKNOWN) == "nothing"
    assert answer(ledger, id_, executed) == "late_outcome"
    assert state(ledger, id_) == after
    assert kinds(ledger, id_) == ["intent", "outcome", "outcome"]
    assert code(lambda: answer(ledger, id_, executed)) == "internal_error"


@pytest.mark.parametrize("wrong", ["att_2", ""])
def test_the_answer_to_another_attempt_does_not_count(ledger: Ledger, lose: Lose, wrong):
    id_ = lose(sent())
    assert code(lambda: answer(ledger, id_, YES, wrong)) == "internal_error"
    assert state(ledger, id_) == "unknown"


@pytest.mark.parametrize(
    ("settled", "executed"), [("failed", YES), ("succeeded", NO)], ids=["was done", "was not done"]
)
def test_a_contradiction_stops_the_writes_of_its_account(
    ledger: Ledger, lose: Lose, settled, executed
):
    id_ = lose(sent())
    ledger.reconcile(id_, settled, EVIDENCE)
    assert answer(ledger, id_, executed) == "conflict"
    found = ledger.get(id_) or {}
    assert (state(ledger, id_), found["executed"]) == (settled, "unknown")
    assert ledger.list_conflicts() == [(id_, "c")]
    report = ledger.verify()
    assert (report.ok, report.why, id_ in report.refused) == (False, "", True)
    for refused in (ledger.begin, ledger.preflight):
        with pytest.raises(RefusedError) as caught:
            refused(sent(target="102"), LIMITS)
        assert (caught.value.code, caught.value.executed) == ("writes_stopped", NO)
        assert id_ in caught.value.message
    assert code(lambda: ledger.reconcile(id_, "failed", EVIDENCE)) == "invalid_arguments"
    ledger.begin(other := intent("103", connection="of others"), LIMITS)
    assert state(ledger, other.id) == "running"


def test_a_contradiction_is_recorded_while_the_write_runs_again(ledger: Ledger, lose: Lose):
    """Of one target only one write may be open: the index of PostgreSQL would refuse a second."""
    id_ = lose(sent())
    ledger.reconcile(id_, "failed", EVIDENCE)
    ledger.begin(again := sent(attempt="att_2"), LIMITS)
    assert answer(ledger, id_, YES) == "conflict"
    assert answer(ledger, again.id, YES, "att_2") == "outcome"
    assert ledger.state_outcome(id_, SAW_IT) == "succeeded"
    assert [state(ledger, one) for one in (id_, again.id)] == ["succeeded", "succeeded"]


def test_an_answer_that_agrees_with_the_settlement_changes_nothing(ledger: Ledger, lose: Lose):
    id_ = lose(sent())
    ledger.reconcile(id_, "succeeded", EVIDENCE)
    count = ledger.entry_count()
    assert answer(ledger, id_, YES) == "nothing"
    assert (ledger.entry_count(), ledger.list_conflicts()) == (count, [])


@pytest.mark.parametrize("stated", [SAW_IT, SAW_NONE])
def test_a_statement_ends_a_conflict(ledger: Ledger, lose: Lose, stated):
    id_ = lose(sent())
    ledger.reconcile(id_, "failed", EVIDENCE)
    answer(ledger, id_, YES)
    assert ledger.state_outcome(id_, stated) == stated.state
    assert (state(ledger, id_), ledger.list_conflicts()) == (stated.state, [])
    expected = ["intent", "outcome", "reconcile", "conflict", "statement", "reconcile"]
    assert kinds(ledger, id_) == expected
    found = ledger.get(id_)
    assert found is not None
    assert found["evidence"]["persons"] == ["ada"]
    again = code(lambda: ledger.begin(sent(), LIMITS))
    assert again == ("already_done" if stated is SAW_IT else "runs")


def test_two_persons_have_to_agree_where_two_are_required(ledger: Ledger, lose: Lose):
    id_ = lose(sent())
    ledger.reconcile(id_, "failed", EVIDENCE)
    answer(ledger, id_, YES)
    assert ledger.state_outcome(id_, SAW_IT, persons=2) is None
    assert ledger.state_outcome(id_, SAW_IT, persons=2) is None
    assert ledger.state_outcome(id_, Statement("bob", "failed", "none"), persons=2) is None
    assert ledger.list_conflicts() == [(id_, "c")]
    assert ledger.state_outcome(id_, Statement("bob", "succeeded", "so"), persons=2) == "succeeded"
    assert (state(ledger, id_), ledger.list_conflicts()) == ("succeeded", [])


def test_statements_before_a_conflict_do_not_decide_it(ledger: Ledger, lose: Lose):
    id_ = lose(sent(UNFENCED))
    ledger.append_note("look", {"intent": id_})
    ledger.append_note("look", {"intent": id_})
    assert ledger.state_outcome(id_, SAW_NONE, persons=2) is None
    assert ledger.state_outcome(id_, Statement("bob", "failed", "so"), persons=2) == "failed"
    assert answer(ledger, id_, YES) == "conflict"
    assert ledger.state_outcome(id_, SAW_IT, persons=2) is None


def test_a_write_that_can_be_read_is_not_stated(ledger: Ledger, lose: Lose):
    id_ = lose(sent())
    for stated in (SAW_IT, SAW_NONE):
        assert code(lambda stated=stated: ledger.state_outcome(id_, stated)) == "invalid_arguments"
    assert code(lambda: ledger.state_outcome("int_0", SAW_IT)) == "invalid_arguments"


def test_looks_at_many_other_writes_do_not_hide_those_at_one(ledger: Ledger):
    ledger.append_note("look", {"intent": "int_one"})
    for _ in range(201):
        ledger.append_note("look", {"intent": "int_other"})
    assert len(ledger.late_look_times("int_one")) == 1


def test_under_a_fixed_token_failed_needs_looks_and_a_statement(ledger: Ledger, lose: Lose):
    id_ = lose(sent(UNFENCED))
    for _ in range(2):
        assert code(lambda: ledger.state_outcome(id_, SAW_NONE)) == "not_allowed"
        ledger.append_note("look", {"intent": id_, "why": "nothing"})
    assert ledger.state_outcome(id_, SAW_NONE) == "failed"
    assert state(ledger, id_) == "failed"


def test_a_token_that_membrane_accepts_after_its_end_is_no_fence(ledger: Ledger, lose: Lose):
    id_ = lose(sent())
    ledger.append_note("look", {"intent": id_})
    ledger.append_note("look", {"intent": id_, "token_ended": False})
    assert ledger.state_outcome(id_, SAW_NONE) == "failed"


def test_nothing_is_stated_while_its_owner_lives(ledger: Ledger):
    ledger.begin(wanted := sent(UNFENCED), LIMITS)
    assert code(lambda: ledger.state_outcome(wanted.id, SAW_IT)) == "in_progress"


SETTLED_AS_FAILED = Standing("failed", "a", 2, 3)


@pytest.mark.parametrize(
    ("standing", "attempt", "executed", "arrival"),
    [
        (Standing(None), "", YES, "refused"),
        (Standing("running", "a"), "a", UNKNOWN, "outcome"),
        (Standing("running", "a"), "b", YES, "refused"),
        (Standing("unknown", "a"), "a", NO, "late_outcome"),
        (Standing("succeeded", "a"), "a", NO, "refused"),
        (SETTLED_AS_FAILED, "a", NO, "nothing"),
        (SETTLED_AS_FAILED, "a", UNKNOWN, "nothing"),
        (SETTLED_AS_FAILED, "a", YES, "conflict"),
        (Standing("failed", "a", 2, 3, conflict=True), "a", YES, "nothing"),
    ],
)
def test_the_effect_of_an_answer(standing, attempt, executed, arrival):
    assert classify_answer(standing, attempt, executed) == arrival


def test_the_newest_statement_of_each_person_counts():
    ada, bob = Statement("ada", "failed"), Statement("bob", "succeeded")
    assert agreed_state([], 1) is None
    assert agreed_state([ada], 1) == "failed"
    assert agreed_state([ada, bob], 2) is None
    assert agreed_state([ada, bob, Statement("bob", "failed")], 2) == "failed"


def test_a_look_counts_after_send_skew_and_settle_time():
    times = WriteTimings(send_seconds=30, settle_seconds=900, skew_seconds=10)
    assert look_delay({"at": 100.0}, times) == 900
    assert look_delay({"at": 100.0, "send_until": 130.0}, times) == 940
