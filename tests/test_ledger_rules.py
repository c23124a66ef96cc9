"""Identity, repeats and caps: tables of what was done and what may run after it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.values import fold_id, normalize_amount
from kartra_mcp.ledger.records import Intent, PriorIntent, format_utc
from kartra_mcp.ledger.rules import (
    DAY,
    cap_refusal,
    duplicate_refusal,
    email_cap_refusal,
    make_identity_key,
    no_target_refusal,
    normalize_intent,
)
from kartra_mcp.policy.limits import Limits
from tests.rule_cases import NOW, code, past, refund


def repeated(wanted: Intent, done: list[PriorIntent]) -> RefusedError | None:
    return duplicate_refusal(normalize_intent(wanted), done, NOW, 30)


def capped(
    wanted: Intent, limits: Limits, today: list[PriorIntent], now: float = NOW
) -> RefusedError | None:
    return cap_refusal(normalize_intent(wanted), limits, today, now)


REFUNDS = [
    # what was done, what is wanted, the code
    ([], refund(97), None),
    ([past("running", 97)], refund(97), "in_progress"),
    ([past("running", 97)], refund(50), "in_progress"),
    ([past("running", 97)], refund(), "in_progress"),
    ([past("unknown", 97)], refund(97), "outcome_unknown"),
    ([past("unknown", 97)], refund(12), "outcome_unknown"),
    ([past("unknown", 97)], refund(97, repeat=True, fresh=True), "outcome_unknown"),
    ([past("unknown", 97), past("running", 1)], refund(5), "in_progress"),
    ([past("failed", 97)], refund(97), None),
    ([past("refused", 97)], refund(97), None),
    # full refunds never repeat
    ([past("succeeded")], refund(), "already_done"),
    ([past("succeeded")], refund(5), "already_done"),
    ([past("succeeded")], refund(5, repeat=True, fresh=True), "already_done"),
    ([past("succeeded", None, 97)], refund(97, repeat=True, fresh=True), "already_done"),
    ([past("succeeded", 97, 97)], refund(1), "already_done"),
    ([past("succeeded", 98, 97)], refund(1), "already_done"),
    ([past("succeeded", 97, 97, age=400 * DAY)], refund(97), "already_done"),
    # partial ones: equal within the window
    ([past("succeeded", 97)], refund(97), "already_done"),
    ([past("succeeded", 97)], refund(Decimal("97.00")), "already_done"),
    ([past("succeeded", 97)], refund(97, repeat=True), "already_done"),
    ([past("succeeded", 97)], refund(97, fresh=True), "already_done"),
    ([past("succeeded", 97)], refund(97, repeat=True, fresh=True), None),
    ([past("succeeded", 97)], refund(96), None),
    ([past("succeeded", 20, 97)], refund(20, 77), "already_done"),
    ([past("succeeded", 20, 97)], refund(None, 77), None),
    ([past("succeeded", 20, 40)], refund(None, 20), "already_done"),
    ([past("succeeded", 97, age=29 * DAY)], refund(97), "already_done"),
    ([past("succeeded", 97, age=30 * DAY)], refund(97), "already_done"),
    ([past("succeeded", 97, age=30 * DAY + 1)], refund(97), None),
    ([past("succeeded", 97, age=31 * DAY)], refund(97), None),
    # no amount and nothing read equals every amount
    ([past("succeeded", 20)], refund(), "already_done"),
    ([past("succeeded", 20)], refund(repeat=True, fresh=True), None),
    ([past("succeeded", 20, age=31 * DAY)], refund(), None),
    # another operation on the same transaction
    ([past("running", operation="edit_subscription")], refund(5), None),
]


@pytest.mark.parametrize(("done", "wanted", "expected"), REFUNDS)
def test_a_refund_runs_only_if_it_is_no_repeat(done, wanted, expected):
    assert code(repeated(wanted, done)) == expected


def test_an_already_done_error_names_the_first_call():
    old = past("succeeded", "97.50")
    refusal = repeated(refund("97.5"), [old, replace(old, id="int_later")])
    assert refusal is not None
    assert refusal.as_dict()["first"] == {
        "intent": "int_old",
        "at": "2027-01-15T07:59:00Z",
        "amount": "97.50",
    }


def test_the_first_full_refund_is_reported_with_the_sum_that_was_left():
    refusal = repeated(refund(), [past("succeeded", None, 97)])
    assert refusal is not None
    assert refusal.as_dict()["first"]["amount"] == "97.00"


@pytest.mark.parametrize("state", ["running", "unknown"])
def test_an_unsettled_call_is_named(state):
    refusal = repeated(refund(97), [past(state, 97)])
    assert refusal is not None
    assert refusal.detail == {"intent": "int_old"}


def test_a_normalized_intent_keeps_its_sums():
    wanted = normalize_intent(refund("97.00", "120.0", known_amount="9.7E1", target="0101"))
    sums = [str(x) for x in (wanted.amount, wanted.remainder, wanted.known_amount)]
    assert (wanted.target, sums) == ("101", ["97", "120", "97"])


def test_a_repeat_without_a_fresh_consent_names_the_missing_consent():
    refusal = repeated(refund(97, repeat=True), [past("succeeded", 97)])
    assert refusal is not None
    assert "fresh preview" in refusal.remedy


@pytest.mark.parametrize(
    ("operation", "risk", "state", "expected"),
    [
        ("cancel_transaction", Risk.IRREVERSIBLE, "running", "in_progress"),
        ("cancel_transaction", Risk.IRREVERSIBLE, "unknown", "outcome_unknown"),
        ("cancel_transaction", Risk.IRREVERSIBLE, "succeeded", "already_done"),
        ("cancel_transaction", Risk.IRREVERSIBLE, "failed", None),
        ("edit_subscription", Risk.IRREVERSIBLE, "running", "in_progress"),
        ("edit_subscription", Risk.IRREVERSIBLE, "unknown", None),
        ("edit_subscription", Risk.IRREVERSIBLE, "succeeded", None),
        ("unassign_tag", Risk.DESTRUCTIVE, "running", None),
        ("assign_tag", Risk.WRITE, "unknown", None),
    ],
)
def test_other_operations(operation, risk, state, expected):
    wanted = refund(operation=operation, risk=risk, repeat=True, fresh=True)
    assert code(repeated(wanted, [past(state, operation=operation)])) == expected


@given(
    st.sampled_from(["running", "unknown"]),
    st.decimals(1, 1000, places=2) | st.none(),
    st.decimals(1, 1000, places=2) | st.none(),
    st.booleans(),
    st.booleans(),
)
def test_nothing_passes_an_unsettled_refund(state, amount, remainder, repeat, fresh):
    wanted = refund(amount, remainder, repeat=repeat, fresh=fresh)
    assert repeated(wanted, [past(state, 5)]) is not None


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (101, "101"),
        ("101", "101"),
        (" 0101 ", "101"),
        ("101.0", "101"),
        (101.0, "101"),
        pytest.param("１０１", "101", id="wide digits"),
        ("0", "0"),
        ("Ada@Example.com", "ada@example.com"),
        ("Gold  Level", "gold level"),
        ("101a", "101a"),
        ("", None),
        (None, None),
        (True, None),
    ],
    ids=repr,
)
def test_targets_in_one_spelling(said, meant):
    assert fold_id(said) == meant


@pytest.mark.parametrize(
    "said", [97, 97.0, "97", "97.00", " 97.0 ", "9.7E1", Decimal("97.000")], ids=repr
)
def test_amounts_in_one_spelling(said):
    assert str(normalize_amount(said)) == "97"


@pytest.mark.parametrize(("said", "meant"), [(0.1, "0.1"), (100, "100"), ("1E2", "100")])
def test_an_amount_is_exact_and_written_out(said, meant):
    assert str(normalize_amount(said)) == meant


@pytest.mark.parametrize("said", [None, True, "", "much", "NaN", float("inf"), [97]])
def test_what_is_no_amount(said):
    assert normalize_amount(said) is None


def test_a_decline_is_of_the_operation_and_target_whatever_the_amount():
    assert make_identity_key(refund(5)) == make_identity_key(refund(97, target="0101"))
    assert make_identity_key(refund(5)) != make_identity_key(refund(5, target="102"))
    assert make_identity_key(refund(5)) != make_identity_key(refund(5, connection="d"))


def test_what_cannot_be_undone_needs_a_target():
    assert code(no_target_refusal(normalize_intent(refund(5, target=" ")))) == "invalid_arguments"
    assert no_target_refusal(refund(5, target=None, risk=Risk.DESTRUCTIVE)) is None


@pytest.mark.parametrize(
    ("operation", "target", "expected"),
    [
        ("refund_transaction", None, "invalid_arguments"),
        ("get_lead+refund_transaction", None, "invalid_arguments"),
        ("unknown-action+refund_transaction", None, "invalid_arguments"),
        ("refund_transaction", "101", None),
        ("create-payment", None, None),
        ("create-payment", "5", None),
    ],
)
def test_only_a_known_command_needs_a_target(
    operation: str, target: str | None, expected: str | None
):
    refusal = no_target_refusal(refund(5, target=target, operation=operation))
    assert (refusal.code if refusal else None) == expected


def day(*rows) -> list[PriorIntent]:
    """Rows as (hours ago, known amount), oldest first."""
    return [past("succeeded", amount, age=hours * 3600) for hours, amount in rows]


CAPS = [
    # limits, today, wanted, (cap, left, hours until it frees) or None
    ({}, [], refund(10**6), None),
    ({"cap_refund": 100}, [], refund(100), None),
    ({"cap_refund": 100}, [], refund("100.01"), ("REFUND", "100", None)),
    ({"cap_refund": 100}, [], refund(), ("REFUND", "100", None)),
    ({"cap_day_amount": 100}, day((2, 60)), refund(40), None),
    ({"cap_day_amount": 100}, day((2, 60)), refund(41), ("DAY_AMOUNT", "40", 22)),
    ({"cap_day_amount": 100}, day((9, 30), (2, 60)), refund(41), ("DAY_AMOUNT", "10", 22)),
    ({"cap_day_amount": 100}, day((9, 60), (2, 30)), refund(41), ("DAY_AMOUNT", "10", 15)),
    ({"cap_day_amount": 100}, day((9, 60), (2, 40)), refund(60), ("DAY_AMOUNT", "0", 15)),
    ({"cap_day_amount": 100}, day((9, 20), (5, 20), (2, 20)), refund(60), ("DAY_AMOUNT", "40", 15)),
    ({"cap_day_amount": 100}, day((2, 60)), refund(101), ("DAY_AMOUNT", "40", None)),
    ({"cap_day_amount": 100}, [], refund(), ("DAY_AMOUNT", "100", None)),
    ({"cap_day_amount": 100}, day((3, None)), refund(1), ("DAY_AMOUNT", "0", 21)),
    ({"cap_day_amount": 100}, day((25, 100)), refund(100), None),
    ({"cap_day_amount": 0}, [], refund(1), ("DAY_AMOUNT", "0", None)),
    ({"cap_day_amount": 100}, day((24, 100)), refund(100), None),
    ({"cap_day_count": 1}, day((24, 1)), refund(1), None),
    ({"cap_day_count": 2}, day((5, 1)), refund(1), None),
    ({"cap_day_count": 2}, day((5, 1), (4, 1)), refund(1), ("DAY_COUNT", "0", 19)),
    ({"cap_day_count": 2}, day((6, 1), (5, 1), (4, 1)), refund(1), ("DAY_COUNT", "0", 19)),
    ({"cap_day_count": 0}, [], refund(1), ("DAY_COUNT", "0", None)),
    ({"cap_day_count": None}, day(*[(1, 1)] * 50), refund(1), None),
    # a cancellation moves nothing, but counts
    ({"cap_refund": 1, "cap_day_amount": 1}, [], refund(operation="cancel_transaction"), None),
    (
        {"cap_day_count": 1},
        day((1, 1)),
        refund(operation="cancel_transaction"),
        ("DAY_COUNT", "0", 23),
    ),
    ({"cap_refund": 1}, [], refund(5, operation="payout_now"), ("REFUND", "1", None)),
    # any operation whose amount was read moves money
    ({"cap_refund": 1}, [], refund(5, operation="edit_subscription"), ("REFUND", "1", None)),
    (
        {"cap_day_amount": 100},
        [past("succeeded", 60, operation="edit_subscription", age=2 * 3600)],
        refund(41),
        ("DAY_AMOUNT", "40", 22),
    ),
    # what can be undone is under no cap
    ({"cap_day_count": 0, "cap_refund": 0}, [], refund(5, risk=Risk.DESTRUCTIVE), None),
]


@pytest.mark.parametrize(("limits", "today", "wanted", "expected"), CAPS)
def test_caps(limits, today, wanted, expected):
    said: dict[str, Any] = {"cap_day_count": None}
    said |= {name: v if name == "cap_day_count" else Decimal(v) for name, v in limits.items()}
    refusal = capped(wanted, Limits(**said), today)
    if expected is None:
        assert refusal is None
        return
    assert refusal is not None
    assert refusal.code == "cap_reached"
    name, left, hours = expected
    assert refusal.detail["cap"] == f"KARTRA_MCP_CAP_{name}"
    assert refusal.detail["left"] == left
    frees = None if hours is None else format_utc(NOW + hours * 3600)
    assert refusal.detail["frees_at"] == frees


@pytest.mark.parametrize("cap", ["cap_refund", "cap_day_amount"])
def test_an_amount_over_a_cap_is_reported_as_unread_only_if_it_was_not_read(cap):
    said: dict[str, Any] = {"cap_day_count": None, cap: Decimal(5)}
    limits = Limits(**said)
    unread, over = capped(refund(), limits, []), capped(refund(6), limits, [])
    assert unread is not None
    assert over is not None
    name = f"KARTRA_MCP_{cap.upper()}"
    assert unread.message.startswith("The amount could not be read, which counts as over the cap. ")
    assert over.message == (f"{name} is 5; 5 is left, and waiting does not help. Nothing was done.")
    assert over.detail == {"cap": name, "limit": "5", "left": "5", "frees_at": None}


def test_a_cap_reports_when_it_has_room_again():
    limits = Limits(cap_day_count=1)
    refusal = capped(refund(1), limits, day((1, 1)))
    assert refusal is not None
    assert f"more from {format_utc(NOW + 23 * 3600)}" in refusal.message


@given(st.lists(st.tuples(st.integers(0, 23), st.integers(1, 60) | st.none())), st.integers(1, 100))
def test_a_cap_frees_exactly_when_it_says(rows, amount):
    today = sorted(day(*rows), key=attrgetter("at"))
    limits = Limits(cap_day_amount=Decimal(100), cap_day_count=None)
    refusal = capped(refund(amount), limits, today)
    ats = sorted({row.at for row in today})
    if refusal is None:
        assert sum(row.known_amount or 101 for row in today) + amount <= 100
        return
    fits = [at for at in ats if capped(refund(amount), limits, today, at + DAY) is None]
    assert refusal.detail["frees_at"] == format_utc(fits[0] + DAY)
    assert capped(refund(amount), limits, today, fits[0] + DAY - 1) is not None


@pytest.mark.parametrize(
    ("consent", "sent", "mail", "left"),
    [
        ("none", 99, 1, None),
        ("none", 100, 1, 0),
        ("none", 101, 1, 0),
        ("none", 98, 2, None),
        ("none", 98, 3, 2),
        ("two_step", 100, 1, 0),
        ("elicitation", 100, 1, None),
        ("approval", 500, 1, None),
        ("none", 500, 0, None),
    ],
)
def test_mail_above_the_hourly_number_needs_a_human(consent, sent, mail, left):
    """Bug: a chain of three above a rest of two was told that nothing is left."""
    wanted = refund(operation="assign_tag", risk=Risk.WRITE, consent=consent, mail=mail)
    refusal = email_cap_refusal(wanted, Limits(), sent)
    assert code(refusal) == (None if left is None else "cap_reached")
    if refusal is not None:
        name = "KARTRA_MCP_MAIL_PER_HOUR"
        assert refusal.detail == {"cap": name, "limit": 100, "left": left}
