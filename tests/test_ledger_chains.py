"""Chains before the ledger's rules: each command is judged by itself, and their sums together."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.core.models import Risk
from kartra_mcp.ledger.records import CapsLeft, Intent, IntentPart, PriorIntent, format_utc
from kartra_mcp.ledger.rules import (
    DAY,
    cap_refusal,
    caps_left,
    make_identity_keys,
    normalize_intent,
    split_intent,
)
from kartra_mcp.policy.limits import GroupCaps, Limits
from tests.rule_cases import NOW, code, past, refund


def part(amount=None, operation="refund_transaction", **more: Any) -> IntentPart:
    said: dict[str, Any] = {
        "operation": operation,
        "risk": Risk.IRREVERSIBLE,
        "target_kind": "transaction",
        "target": "101",
        "known_amount": None if amount is None else Decimal(amount),
    }
    return IntentPart(**{**said, **more})


def cancellation(**more: Any) -> IntentPart:
    return part(None, "cancel_transaction", **more)


def chain(*parts: IntentPart, **more: Any) -> Intent:
    return refund(operation="whole", target=None, parts=parts, **more)


def test_the_commands_of_a_chain_are_normalized_too():
    wanted = normalize_intent(
        chain(part("97.00", target="0101", equality="e"), part("9.7E1", target=" 102 "))
    )
    assert [(x.target, str(x.known_amount)) for x in wanted.parts] == [("101", "97"), ("102", "97")]
    assert wanted.parts[0].equality == "e"


def test_each_command_of_a_chain_becomes_a_call_with_the_consent_of_the_whole():
    second = part(
        5,
        "give_points_to_lead",
        risk=Risk.WRITE,
        target_kind="lead",
        target="48129",
        equality="digest",
        moves_money=True,
        additive=True,
    )
    whole = chain(part(97), second, repeat=True, fresh=True, consent="approval", approval=7)
    one, two = split_intent(whole)
    assert one == refund(
        target="101",
        known_amount=Decimal(97),
        repeat=True,
        fresh=True,
        consent="approval",
        approval=7,
    )
    assert two == refund(
        operation="give_points_to_lead",
        risk=Risk.WRITE,
        target_kind="lead",
        target="48129",
        known_amount=Decimal(5),
        equality="digest",
        moves_money=True,
        additive=True,
        repeat=True,
        fresh=True,
        consent="approval",
        approval=7,
    )


def test_a_command_takes_nothing_from_the_whole_that_it_lacks_itself():
    whole = chain(part(target_kind="", target=None), equality="w", moves_money=True, additive=True)
    (one,) = split_intent(whole)
    assert (one.target_kind, one.target, one.equality) == ("", None, "")
    assert (one.known_amount, one.moves_money, one.additive) == (None, False, False)


def test_a_single_write_is_its_only_command():
    assert split_intent(refund(5)) == [refund(5)]


def test_a_decline_blocks_each_command_of_a_chain_once():
    keys = make_identity_keys(chain(part(5), cancellation(), part(9), part(5, target="102")))
    assert keys == [
        "c refund_transaction transaction 101",
        "c cancel_transaction transaction 101",
        "c refund_transaction transaction 102",
    ]


def test_a_command_without_a_target_is_declined_by_its_arguments():
    assert make_identity_keys(refund(target=None, target_kind="", arguments_digest="d1")) == [
        "c refund_transaction  arguments d1"
    ]


def spent(*amounts: Any, age: float = 2 * 3600) -> list[PriorIntent]:
    return [past("succeeded", amount, age=age) for amount in amounts]


PAYOUT: dict[str, Any] = {"operation": "wire", "moves_money": True}
"""A part whose name does not tell that it moves money."""
CHAINS: list[tuple[dict[str, Any], list[PriorIntent], list[IntentPart], Any]] = [
    # limits, today, the chain, (cap, left, hours until it frees) or None
    ({"cap_refund": 50}, [], [part(50), part(50)], None),
    ({"cap_refund": 50}, [], [part(50), part("50.01")], ("REFUND", "50", None)),
    ({"cap_refund": 50}, [], [part("50.01"), part(50)], ("REFUND", "50", None)),
    ({"cap_refund": 50}, [], [part(5), part(None, **PAYOUT)], ("REFUND", "50", None)),
    ({"cap_refund": 50}, [], [part(5), part(51, "wire")], ("REFUND", "50", None)),
    ({"cap_refund": 50}, [], [part(5), part(None, "wire")], None),
    ({"cap_day_amount": 100}, [], [part(60), part(40)], None),
    ({"cap_day_amount": 100}, [], [part(60), part("40.01")], ("DAY_AMOUNT", "100", None)),
    ({"cap_day_amount": 100}, [], [part(60), part(None)], ("DAY_AMOUNT", "100", None)),
    ({"cap_day_amount": 100}, [], [part(None), part(60)], ("DAY_AMOUNT", "100", None)),
    ({"cap_day_amount": 100}, spent(20), [part(50), part(30)], None),
    ({"cap_day_amount": 100}, spent(20), [part(50), part(31)], ("DAY_AMOUNT", "80", 22)),
    ({"cap_day_amount": 100}, spent(20), [part(50), part(50)], ("DAY_AMOUNT", "80", 22)),
    ({"cap_day_amount": 100}, spent(20), [part(50), part(51)], ("DAY_AMOUNT", "80", None)),
    # what moves nothing adds nothing to the sum
    ({"cap_day_amount": 100}, spent(20), [cancellation(), part(80)], None),
    ({"cap_day_amount": 0}, [], [cancellation(), cancellation()], None),
    ({"cap_day_amount": 0}, spent(20), [cancellation()], None),
    # but counts, and only what cannot be undone counts
    ({"cap_day_count": 3}, spent(1), [part(5), cancellation()], None),
    ({"cap_day_count": 2}, spent(1), [part(5), cancellation()], ("DAY_COUNT", "1", 22)),
    ({"cap_day_count": 1}, spent(1), [part(5), cancellation()], ("DAY_COUNT", "0", None)),
    ({"cap_day_count": 1}, [], [part(5), part(9, "edit_lead", risk=Risk.WRITE)], None),
    ({"cap_day_count": 1}, spent(1, 1), [part(9, "edit_lead", risk=Risk.WRITE)], None),
    ({"cap_day_amount": 5}, [], [part(5), part(9, "edit_lead", risk=Risk.WRITE)], None),
    # the first cap that is exceeded is named
    ({"cap_refund": 1, "cap_day_amount": 1}, [], [part(2)], ("REFUND", "1", None)),
    ({"cap_day_amount": 1, "cap_day_count": 0}, [], [part(2)], ("DAY_AMOUNT", "1", None)),
]


def limits(said: dict[str, Any]) -> Limits:
    read: dict[str, Any] = {"cap_day_count": None}
    read |= {name: v if name == "cap_day_count" else Decimal(v) for name, v in said.items()}
    return Limits(**read)


@pytest.mark.parametrize(("caps", "today", "parts", "expected"), CHAINS)
def test_a_chain_fits_the_caps_with_all_its_commands(caps, today, parts, expected):
    refusal = cap_refusal(chain(*parts), limits(caps), today, NOW)
    if expected is None:
        assert refusal is None
        return
    assert code(refusal) == "cap_reached"
    assert refusal is not None
    name, left, hours = expected
    frees = None if hours is None else format_utc(NOW + hours * 3600)
    detail = refusal.detail
    assert detail["cap"] == f"KARTRA_MCP_CAP_{name}"
    assert (detail["left"], detail["frees_at"]) == (left, frees)


def test_a_chain_whose_sum_never_fits_is_told_no_time():
    """Bug: two refunds of 60 under a cap of 100 were told to wait a day, which does not help."""
    refusal = cap_refusal(chain(part(60), part(60)), limits({"cap_day_amount": 100}), [], NOW)
    assert refusal is not None
    assert refusal.detail["frees_at"] is None
    assert "waiting does not help" in refusal.message


@pytest.mark.parametrize(("amount", "is_unread"), [(None, True), (60, False)])
def test_a_chain_with_an_unread_amount_is_told_so(amount: int | None, *, is_unread: bool):
    wanted = chain(part(60), part(amount))
    refusal = cap_refusal(wanted, limits({"cap_day_amount": 100}), [], NOW)
    assert refusal is not None
    assert refusal.message.startswith("The amount could not be read") is is_unread


@given(
    st.lists(st.tuples(st.integers(0, 23), st.integers(1, 40)), max_size=4),
    st.lists(st.integers(1, 60), min_size=1, max_size=3),
)
def test_a_chain_runs_from_the_time_on_that_its_refusal_names(rows, amounts):
    caps = limits({"cap_day_amount": 100})
    today = [past("succeeded", amount, age=h * 3600) for h, amount in sorted(rows, reverse=True)]
    wanted = chain(*map(part, amounts))
    refusal = cap_refusal(wanted, caps, today, NOW)
    spent, more = sum(amount for _, amount in rows), sum(amounts)
    assert (refusal is None) == (spent + more <= 100)
    if refusal is None:
        return
    ends = sorted({row.at + DAY for row in today})
    fits = [at for at in ends if cap_refusal(wanted, caps, today, at) is None]
    assert refusal.detail["frees_at"] == (format_utc(fits[0]) if fits else None)


OVER: dict[str, tuple[GroupCaps, str]] = {
    "refund": (GroupCaps(cap_refund=Decimal(5)), "[caps.person] refund"),
    "day_amount": (GroupCaps(cap_day_amount=Decimal(5)), "[caps.person] day_amount"),
    "day_count": (GroupCaps(cap_day_count=0), "[caps.person] day_count"),
}


@pytest.mark.parametrize("cap", OVER)
def test_a_cap_of_a_person_is_named_by_its_place_in_the_policy_file(cap: str):
    caps, name = OVER[cap]
    refusal = cap_refusal(refund(Decimal(6)), caps, [], NOW, "[caps.person]")
    assert refusal is not None
    assert refusal.detail["cap"] == name


LEFT: list[tuple[dict[str, Any], list[PriorIntent], CapsLeft]] = [
    ({}, spent(1), CapsLeft()),
    ({"cap_refund": 5}, spent(3), CapsLeft(refund=Decimal(5))),
    ({"cap_day_amount": 100}, [], CapsLeft(day_amount=Decimal(100))),
    ({"cap_day_amount": 100}, spent(60, "0.5"), CapsLeft(day_amount=Decimal("39.5"))),
    ({"cap_day_amount": 100}, spent(60, 40), CapsLeft(day_amount=Decimal(0))),
    ({"cap_day_amount": 100}, spent(60, 41), CapsLeft(day_amount=Decimal(0))),
    ({"cap_day_amount": 100}, spent(60, None), CapsLeft(day_amount=Decimal(0))),
    ({"cap_day_amount": 0}, [], CapsLeft(day_amount=Decimal(0))),
    (
        {"cap_day_amount": 100},
        [past("succeeded", operation="cancel_transaction")],
        CapsLeft(day_amount=Decimal(100)),
    ),
    (
        {"cap_day_amount": 100},
        [past("succeeded", 7, operation="edit_subscription")],
        CapsLeft(day_amount=Decimal(93)),
    ),
    ({"cap_day_count": 3}, spent(1), CapsLeft(day_count=2)),
    ({"cap_day_count": 3}, spent(1, 1, 1), CapsLeft(day_count=0)),
    ({"cap_day_count": 3}, spent(1, 1, 1, 1), CapsLeft(day_count=0)),
    ({"cap_day_count": 0}, [], CapsLeft(day_count=0)),
    (
        {"cap_day_count": 3},
        [past("succeeded", operation="cancel_transaction")],
        CapsLeft(day_count=2),
    ),
]


@pytest.mark.parametrize(("caps", "today", "expected"), LEFT)
def test_what_is_left_of_the_caps(caps, today, expected):
    assert caps_left(limits(caps), today) == expected


@pytest.mark.parametrize(("caps", "today", "expected"), LEFT)
def test_what_is_left_of_the_caps_of_a_person(caps, today, expected):
    account = limits(caps)
    person = GroupCaps(account.cap_refund, account.cap_day_amount, account.cap_day_count)
    assert caps_left(person, today) == expected
