"""The judge of the fault matrix finds each violation, and nothing in a sound history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from matrix.checker import NOT_JUDGED, PROPERTIES, check, judge
from matrix.history import GENESIS, Caps, ClientAnswer, Execution, Head, History, Line


def chain(*entries: tuple[str, dict[str, Any]], start: float = 100.0) -> list[Line]:
    lines: list[Line] = []
    prev = GENESIS
    for n, (kind, body) in enumerate(entries, 1):
        lines.append(Line(n, start + n, kind, json.dumps(body), prev, f"{start:.0f}-{n}"))
        prev = lines[-1].hash
    return lines


REFUND = "refund_transaction"


def intent(id_: str, target: str = "101", **more: Any) -> tuple[str, dict[str, Any]]:
    body = {"intent": id_, "operation": REFUND, "target_kind": "transaction"}
    money = {"target": target, "known_amount": "40.00", "attempt": f"try-{id_}", "actor": "asker"}
    return "intent", {**body, **money, **more}


def outcome(id_: str, state: str, kind: str = "outcome") -> tuple[str, dict[str, Any]]:
    return kind, {"intent": id_, "state": state}


def done(id_: str, at: float = 200.0, target: str = "101", **more: Any) -> Execution:
    base = Execution(id_, f"try-{id_}", "refund_transaction", target, Decimal(40), at)
    return replace(base, **more)


def told(intent_: str, executed: str, **more: Any) -> ClientAnswer:
    return ClientAnswer("A", "refund", "101", 150, 160, executed, intent=intent_, **more)


SOUND = chain(
    intent("a", confirmation="c1"),
    outcome("a", "unknown"),
    outcome("a", "failed", "reconcile"),
    intent("b", confirmation="c2"),
    outcome("b", "succeeded"),
    intent("c", confirmation="c3"),
    outcome("c", "succeeded"),
)
SOUND_DONE = (done("b"), done("c", 210.0))


def test_sound_history_has_no_violation() -> None:
    """An honest failure, then a success, then a further partial refund."""
    history = History(
        SOUND,
        SOUND_DONE,
        answers=[told("a", "unknown"), told("b", "yes")],
        heads=[Head("A", 5, SOUND[4].hash)],
        caps=Caps(Decimal(80), 2),
    )
    assert check(history) == []


TWICE = chain(intent("a"), outcome("a", "succeeded"))
REFUSED = chain(intent("a"), outcome("a", "failed", "reconcile"), intent("b"))
OPEN = chain(intent("a"), intent("b"), outcome("a", "failed"), outcome("b", "failed"))
APPROVED = chain(
    ("consent", {"event": "approval_approved", "number": 7, "person": "asker"}),
    intent("a", approval=7, requester={"key": "asker"}),
    outcome("a", "failed"),
)
UNAPPROVED = APPROVED[1:]
STOPPED = chain(
    ("switch", {"event": "stopped"}),
    ("switch", {"event": "resume_asked"}),
    intent("a"),
    outcome("a", "failed"),
    ("switch", {"event": "resumed"}),
    intent("b", "102"),
    outcome("b", "failed"),
)
LOST = chain(intent("a"), outcome("a", "succeeded"))
OTHER = chain(intent("b", "102"), outcome("b", "succeeded"), start=500.0)

VIOLATIONS: list[tuple[int, str, History]] = [
    (1, "was executed 2 times", History(TWICE, [done("a"), done("a", 201.0)])),
    (1, "was executed again", History(REFUSED, [done("a"), done("b", 201.0)])),
    (1, "was executed again", History([], [done("a"), done("b", 201.0)])),
    (2, "has 0 intents", History([], [done("a")])),
    (2, "has 0 intents", History(OTHER, [done("a")], lost=LOST)),
    (2, "after its execution", History(TWICE, [done("a", 50.0)])),
    (2, "the request b has 0 intents", History(TWICE, [], requests=["a", "b"])),
    (2, "another attempt", History(TWICE, [done("a", attempt="other")])),
    (3, "are open", History(OPEN, [])),
    (4, "above the cap of 40", History(OPEN, [], caps=Caps(Decimal(40)))),
    (4, "above the cap of 1", History(OPEN, [], caps=Caps(day_count=1))),
    (
        5,
        "served a and b",
        History(chain(intent("a", confirmation="c"), intent("b", confirmation="c")), []),
    ),
    (5, "approved by its requester", History(APPROVED, [])),
    (5, "nobody gave", History(UNAPPROVED, [])),
    (6, "recorded as failed", History(REFUSED, [done("a")])),
    (6, "was not executed", History(TWICE, [])),
    (6, "was not done, and it was", History(TWICE, [done("a")], [told("a", "no")])),
    (6, "was done, and it was not", History(REFUSED, [], [told("a", "yes")])),
    (7, "does not follow", History([TWICE[0], replace(TWICE[1], prev="x")], [done("a")])),
    (7, "does not follow", History(SOUND[1:], [])),
    (7, "on no chain", History(TWICE, [done("a")], heads=[Head("A", 2, "x")])),
    (7, "sent on entry 1", History(TWICE, [done("a", line=1, hash="x")])),
    (
        7,
        "saw the lost entry 2",
        History(
            OTHER,
            [done("b", 600.0, "102", line=3, hash=OTHER[1].hash)],
            [told("b", "yes")],
            [Head("A", 2, LOST[1].hash)],
            LOST,
        ),
    ),
    (
        8,
        "nothing had failed",
        History([], [], [told("", "no", code="ledger_unavailable")], is_calm=True),
    ),
    (8, "still running", History(chain(intent("a")), [])),
    (8, "still unknown", History(chain(intent("a"), outcome("a", "unknown")), [])),
    (8, "still running", History(chain(intent("a")), [], only_people=frozenset({REFUND}))),
    (9, "a began after the stop of entry 1", History(STOPPED, [])),
    (8, "ledger_unavailable", History([], [], works=[told("", "no", code="ledger_unavailable")])),
]


@pytest.mark.parametrize(("number", "text", "history"), VIOLATIONS)
def test_each_violation_is_found(number: int, text: str, history: History) -> None:
    found = [one for one in check(history) if one.number == number]
    assert any(text in one.text for one in found), check(history)


def test_every_property_has_a_violation_here() -> None:
    assert {number for number, _, _ in VIOLATIONS} == set(range(1, len(PROPERTIES) + 1))


def test_effect_later_than_assumed_is_not_judged() -> None:
    """The protocol promises nothing then; on a busy machine a story can come to that."""
    late = done("a", 208.0, received_at=200.0)
    history = History(REFUSED, [late], effect_seconds=2.0)
    assert [one.number for one in judge(history)] == [NOT_JUDGED]
    assert [one.number for one in judge(replace(history, effect_seconds=9.0))] == [6, 8]


@pytest.mark.parametrize("entries", [SOUND, TWICE])
def test_story_that_is_not_over_may_have_open_intents(entries: Sequence[Line]) -> None:
    found = check(History(entries[:1], [], is_over=False))
    assert found == []


def test_only_people_settle_some_operations() -> None:
    entries = chain(intent("a"), outcome("a", "unknown"))
    assert check(History(entries, [], only_people=frozenset({REFUND}))) == []


def test_only_people_tell_two_tag_writes_on_one_lead_apart() -> None:
    """A run of whole replicas (seed 60022) lost the answer of the second."""
    tagged = intent("a", "48129", operation="assign_tag")
    lost = intent("b", "48129", operation="unassign_tag")
    ends = [outcome("a", "failed"), outcome("b", "unknown")]
    assert check(History(chain(tagged, lost, *ends), [])) == []
    of_another = intent("a", "48110", operation="assign_tag")
    found = check(History(chain(of_another, lost, *ends), []))
    assert [one.text for one in found] == ["b is still unknown"]
