"""What a call acts on: its act, target and amount, in every spelling and shape."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kartra_mcp.core.models import Action, Call, Command, RawRequest, Risk
from kartra_mcp.kartra.operations import (
    Act,
    Target,
    act_of,
    amount_of,
    arguments_digest,
    is_plain,
    money,
    normal_id,
    operation_of,
    target_of,
)

REFUND, CANCEL = "refund-transaction", "cancel-subscription"


def by_action(key: str, **given: Any) -> Call:
    from kartra_mcp.kartra.commands import action_command

    command = action_command(key)
    commands = (Command(command, given),) if command else ()
    operation = Action("id", key, key)
    return Call("kartra_x", key, operation, Risk.IRREVERSIBLE, frozenset(), commands, given)


def raw(*commands: Command) -> Call:
    request = RawRequest("POST", "/api", body="{}", commands=commands)
    return Call("kartra_proxy_write", "Raw", request, Risk.IRREVERSIBLE, frozenset(), commands)


ACTS = {
    REFUND: (by_action(REFUND), Act.REFUND, "refund_transaction"),
    "a refund by another name": (by_action("issueRefund"), Act.REFUND, "refund_transaction"),
    CANCEL: (by_action(CANCEL), Act.CANCELLATION, "cancel_transaction"),
    "a cancellation by another name": (
        by_action("cancel-order"),
        Act.CANCELLATION,
        "cancel_transaction",
    ),
    "a status that cancels": (
        by_action("modify-subscription-status", subscription_status_modification="cancel"),
        Act.CANCELLATION,
        "cancel_transaction",
    ),
    "a status that pauses": (
        by_action("modify-subscription-status", subscription_status_modification="pause"),
        Act.CHANGE,
        "modify_subscription_status",
    ),
    "no status": (by_action("modify-subscription-status"), Act.CANCELLATION, "cancel_transaction"),
    "a revocation": (
        by_action("revoke-membership-access"),
        Act.REVOCATION,
        "revoke_membership_access",
    ),
    "a change": (by_action("edit-subscription"), Act.CHANGE, "edit_subscription"),
    "a tag": (by_action("unassign-tag"), Act.OTHER, "unassign_tag"),
    "unknown": (by_action("charge-card"), Act.OTHER, "charge-card"),
    "the same, raw": (raw(Command("unassign_tag")), Act.OTHER, "unassign_tag"),
    "the worst of many": (
        raw(Command("assign_tag"), Command("edit_subscription")),
        Act.CHANGE,
        "assign_tag+edit_subscription",
    ),
}


@pytest.mark.parametrize("name", ACTS)
def test_acts(name):
    made, act, operation = ACTS[name]
    assert (act_of(made), operation_of(made)) == (act, operation)


SALE = Target("transaction", "101")
SUBSCRIPTION = Target("subscription", "201")
EDIT = "edit_subscription"
TARGETS: dict[str, tuple[Call, Target | None]] = {
    "its name": (by_action(REFUND, transaction_id=101), SALE),
    "in capitals": (by_action(REFUND, transactionId="101"), SALE),
    "without _id": (by_action(REFUND, transaction=101), SALE),
    "an alias": (by_action(REFUND, sale_id="0101"), SALE),
    "a bare id": (by_action(REFUND, id=101), SALE),
    "an object": (by_action(REFUND, transaction={"id": 101}), SALE),
    "nested": (by_action(REFUND, data={"sale": {"transaction_id": "101"}}), SALE),
    "in a list": (by_action(REFUND, items=[{"transaction_id": 101}]), SALE),
    "the same twice": (by_action(REFUND, transaction_id=101, data={"transaction_id": "101"}), SALE),
    "the more believed of two names": (by_action(REFUND, transaction_id=101, order_id=7), SALE),
    "two of one name": (by_action(REFUND, a={"transaction_id": 1}, b={"transaction_id": 2}), None),
    "two bare ids": (by_action(REFUND, a={"id": 1}, b={"x": [{"id": 2}]}), None),
    "nothing": (by_action(REFUND, amount=5), None),
    "empty": (by_action(REFUND, transaction_id=" "), None),
    "true": (by_action(REFUND, transaction_id=True), None),
    "null": (by_action(REFUND, transaction_id=None), None),
    "a subscription": (by_action(CANCEL, subscription_id=201), SUBSCRIPTION),
    "its inner id": (
        by_action(CANCEL, transaction_internal_subscription_id="201"),
        SUBSCRIPTION,
    ),
    "by a transaction": (by_action(CANCEL, transaction_id=101), SALE),
    "by both, which may disagree": (
        by_action(CANCEL, subscription_id=201, transaction_id=101),
        None,
    ),
    "a lead": (
        by_action("revoke-membership-access", email="Ada@Example.com "),
        Target("lead", "ada@example.com"),
    ),
    "raw": (raw(Command(EDIT, {"subscription_id": 201})), SUBSCRIPTION),
    "raw, of a lead": (
        raw(Command("unassign_tag", {"tag_name": "VIP"}, {"id": 48110})),
        Target("transaction", "48110"),
    ),
    "raw, two on the same": (
        raw(Command(EDIT, {"subscription_id": 201}), Command(EDIT, {"subscription_id": "201"})),
        SUBSCRIPTION,
    ),
    "raw, two on two": (
        raw(Command(EDIT, {"subscription_id": 202}), Command(EDIT, {"subscription_id": 201})),
        None,
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets(name):
    made, target = TARGETS[name]
    assert target_of(made) == target


AMOUNTS: dict[str, tuple[Call, Decimal | None, bool]] = {
    "none": (by_action(REFUND, transaction_id=1), None, True),
    "a number": (by_action(REFUND, transaction_id=1, refund_amount=97), Decimal("97.00"), True),
    "text": (by_action(REFUND, transaction_id=1, amount=" 97 "), Decimal("97.00"), True),
    "wrapped": (
        by_action(REFUND, transaction_id=1, amount={"value": "97.5", "currency": "USD"}),
        Decimal("97.50"),
        True,
    ),
    "the same twice": (
        by_action(REFUND, transaction_id=1, amount=97, refund_amount="97.00"),
        Decimal("97.00"),
        True,
    ),
    "two": (by_action(REFUND, transaction_id=1, amount=97, refund_amount=7), None, False),
    "two, one unreadable": (
        by_action(REFUND, transaction_id=1, amount="all", refund_amount=7),
        None,
        False,
    ),
    "two in two commands": (
        raw(
            Command(EDIT, {"subscription_id": 201, "subscription_amount": 5}),
            Command(EDIT, {"subscription_id": 201, "subscription_amount": 6}),
        ),
        None,
        False,
    ),
}


@pytest.mark.parametrize("name", AMOUNTS)
def test_amounts(name):
    made, amount, plain = AMOUNTS[name]
    assert (amount_of(made), is_plain(made)) == (amount, plain)


@pytest.mark.parametrize("spelled", [101, "101", 101.0, " 0101 ", "000101"], ids=repr)
def test_one_id_in_many_spellings(spelled):
    assert normal_id(spelled) == "101"
    one, other = (by_action(REFUND, transaction_id=x) for x in (spelled, 101))
    assert arguments_digest(one) == arguments_digest(other)


@pytest.mark.parametrize(
    ("spelled", "read"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("A-1", "A-1"),
        ("1e2", "1e2"),
        (101.5, "101.5"),
        ("٣", "٣"),
    ],
)
def test_ids_that_are_no_numbers(spelled, read):
    assert normal_id(spelled) == read


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (97, "97.00"),
        ("97", "97.00"),
        ("97.0", "97.00"),
        (97.00, "97.00"),
        (" 97.00 ", "97.00"),
        (0.1, "0.10"),
        (True, None),
        ("", None),
        ("all", None),
        ("NaN", None),
        ("Infinity", None),
        (None, None),
        ([97], None),
    ],
    ids=repr,
)
def test_money(said, read):
    assert money(said) == (None if read is None else Decimal(read))


@pytest.mark.parametrize("spelled", [97, "97", "97.00", 97.0], ids=repr)
def test_one_amount_in_many_spellings(spelled):
    one = by_action(REFUND, transaction_id=1, refund_amount=spelled)
    other = by_action(REFUND, transaction_id=1, refund_amount=97)
    assert arguments_digest(one) == arguments_digest(other)
    less = by_action(REFUND, transaction_id=1, refund_amount=96)
    assert arguments_digest(less) != arguments_digest(other)
