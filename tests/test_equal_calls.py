"""Equal calls: after which an equal write is refused, and which success left nothing to do."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.ledger.records import Intent, PriorIntent, State, format_utc
from kartra_mcp.ledger.rules import completing_call, equal_call_refusal, prior_summary
from tests.rule_cases import NOW, code, past, refund

POINTS = "give_points_to_lead"


def write(*, additive: bool = True, operation: str = POINTS, **more: Any) -> Intent:
    said: dict[str, Any] = {"risk": Risk.WRITE, "target_kind": "lead", "target": "48129"}
    return refund(additive=additive, operation=operation, **{**said, **more})


def earlier(
    state: State, ended: float | None = 1, id_: str = "int_old", operation: str = POINTS
) -> PriorIntent:
    """An equal write that began an hour ago, and ended so many seconds ago."""
    ended_at = None if ended is None else NOW - ended
    return PriorIntent(id_, NOW - 3600, operation, state, ended_at=ended_at)


def refused(
    wanted: Intent, *rows: PriorIntent, planned_at: float | None = None
) -> RefusedError | None:
    return equal_call_refusal(wanted, rows, NOW, planned_at)


BOTH: dict[str, Any] = {"repeat": True, "fresh": True}
UNSETTLED: list[tuple[Intent, State, str | None]] = [
    (write(), "running", "in_progress"),
    (write(additive=False), "running", "in_progress"),
    (write(**BOTH), "running", "in_progress"),
    (write(), "unknown", "outcome_unknown"),
    (write(additive=False), "unknown", "outcome_unknown"),
    (write(repeat=True), "unknown", "outcome_unknown"),
    (write(fresh=True), "unknown", "outcome_unknown"),
    (write(**BOTH), "unknown", None),
    # a refund or cancellation is settled by reading, never by a repeat
    (write(operation="refund_transaction", **BOTH), "unknown", "outcome_unknown"),
    (write(operation="cancel_transaction", **BOTH), "unknown", "outcome_unknown"),
]


@pytest.mark.parametrize(("wanted", "state", "expected"), UNSETTLED)
def test_an_equal_write_waits_for_an_unsettled_one(wanted, state, expected):
    ended = None if state == "running" else 900
    refusal = refused(wanted, earlier(state, ended))
    assert code(refusal) == expected
    if refusal is not None:
        assert refusal.detail == {"intent": "int_old"}


def test_a_running_call_is_named_before_an_unknown_one():
    refusal = refused(write(), earlier("unknown", id_="one"), earlier("running", None, "two"))
    assert refusal is not None
    assert (refusal.code, refusal.detail) == ("in_progress", {"intent": "two"})


@pytest.mark.parametrize(
    ("operation", "may_repeat"),
    [(POINTS, True), ("refund_transaction", False), ("cancel_transaction", False)],
)
def test_only_an_unknown_call_that_moves_no_money_may_be_repeated(operation, may_repeat):
    refusal = refused(write(operation=operation), earlier("unknown", operation=operation))
    assert refusal is not None
    assert "kartra_reconcile" in refusal.remedy
    assert ("repeat: true" in refusal.remedy) is may_repeat


DONE: list[tuple[Intent, PriorIntent, str | None]] = [
    (write(), earlier("succeeded", 59.9), "already_done"),
    (write(), earlier("succeeded", 60), None),
    (write(additive=False), earlier("succeeded", 1), None),
    (write(), earlier("failed", 1), None),
    (write(), earlier("refused", 1), None),
    (write(repeat=True), earlier("succeeded", 1), "already_done"),
    (write(fresh=True), earlier("succeeded", 1), "already_done"),
    (write(**BOTH), earlier("succeeded", 1), None),
    # an outcome without a time of its end counts from its beginning
    (write(), earlier("succeeded", None), None),
    (write(), replace(earlier("succeeded", None), at=NOW - 59), "already_done"),
    (write(), replace(earlier("succeeded", None), at=NOW - 60), None),
    (write(), replace(earlier("succeeded", 61), at=NOW - 59), None),
]


@pytest.mark.parametrize(("wanted", "row", "expected"), DONE)
def test_an_equal_additive_write_waits_a_minute(wanted, row, expected):
    assert code(refused(wanted, row)) == expected


@pytest.mark.parametrize(
    ("planned", "ended", "expected"),
    [
        # the preview of a run shows no write that ended after its plan
        (600, 599, "already_done"),
        (600, 600, None),
        (600, 601, None),
        # nor may a run begin within a minute
        (10, 11, "already_done"),
        (10, 59, "already_done"),
        (10, 60, None),
    ],
)
def test_an_item_of_a_bulk_run_counts_from_the_plan(planned, ended, expected):
    refusal = refused(write(), earlier("succeeded", ended), planned_at=NOW - planned)
    assert code(refusal) == expected
    if refusal is not None:
        assert "since the bulk run was planned" in refusal.message


def test_a_single_call_is_told_of_no_bulk_run():
    refusal = refused(write(), earlier("succeeded", 1))
    assert refusal is not None
    assert "bulk" not in refusal.message
    assert "60 seconds" in refusal.message


def test_the_first_of_the_recent_calls_is_named():
    rows = [
        earlier("succeeded", 900, "old"),
        earlier("failed", 50, "failed"),
        earlier("succeeded", 40, "first"),
        earlier("succeeded", 30, "second"),
    ]
    refusal = refused(write(), *rows)
    assert refusal is not None
    assert refusal.as_dict()["first"] == {
        "intent": "first",
        "at": format_utc(NOW - 3600),
        "amount": None,
    }


@pytest.mark.parametrize("repeat", [True, False])
def test_the_remedy_names_what_a_repeat_lacks(*, repeat: bool):
    refusal = refused(write(repeat=repeat), earlier("succeeded", 1))
    assert refusal is not None
    assert "repeat: true" in refusal.remedy
    assert ("needs a fresh preview" in refusal.remedy) is repeat


REFUND, CANCEL, REVOKE = "refund_transaction", "cancel_transaction", "revoke_membership_access"
COMPLETED: list[tuple[str, list[PriorIntent], bool]] = [
    (REFUND, [], False),
    (REFUND, [past("succeeded")], True),
    (REFUND, [past("succeeded", 97, 97)], True),
    (REFUND, [past("succeeded", "96.99", 97)], False),
    (REFUND, [past("succeeded", 97)], False),
    (REFUND, [past("unknown")], False),
    (REFUND, [past("failed")], False),
    (REFUND, [past("succeeded", operation=CANCEL)], False),
    (CANCEL, [past("succeeded", operation=CANCEL)], True),
    (CANCEL, [past("succeeded", 5, 97, operation=CANCEL)], True),
    (CANCEL, [past("failed", operation=CANCEL)], False),
    (CANCEL, [past("succeeded")], False),
    (REVOKE, [past("succeeded", operation=REVOKE)], True),
    (REVOKE, [past("running", operation=REVOKE)], False),
    ("assign_tag", [past("succeeded", operation="assign_tag")], False),
]


@pytest.mark.parametrize(("operation", "rows", "expected"), COMPLETED)
def test_a_success_that_left_nothing_to_do(operation, rows, expected):
    assert (completing_call(operation, rows) is not None) is expected


def test_the_latest_success_that_left_nothing_is_named():
    def named(id_: str, *args: Any) -> PriorIntent:
        return replace(past(*args), id=id_)

    rows = [
        named("first", "succeeded", 97, 97),
        named("second", "succeeded", 20, 20),
        named("partial", "succeeded", 5, 97),
        named("lost", "unknown", 97, 97),
    ]
    found = completing_call(REFUND, rows)
    assert found is not None
    assert found.id == "second"


@pytest.mark.parametrize(
    ("amount", "remainder", "shown"),
    [("97.5", "120", "97.50"), (None, "120", "120.00"), (None, None, None), ("97", None, "97.00")],
)
def test_an_earlier_call_is_told_with_what_it_moved(amount, remainder, shown):
    row = PriorIntent(
        "int_old",
        NOW - 5,
        REFUND,
        "succeeded",
        *[None if said is None else Decimal(said) for said in (amount, remainder)],
        ended_at=NOW,
    )
    assert prior_summary(row) == {"intent": "int_old", "at": format_utc(NOW - 5), "amount": shown}
