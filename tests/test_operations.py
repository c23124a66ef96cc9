"""The operation of a call: act, target and amount, in every spelling and shape."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kartra_mcp.core.models import (
    Action,
    Command,
    OperationKind,
    Target,
    ValidatedCall,
)
from kartra_mcp.kartra.operations import derive_operation
from kartra_mcp.kartra.values import normalize_id, parse_amount
from tests.operation_calls import CANCEL, REFUND, WORST, by_action, raw, raw_request


def digest(call: ValidatedCall) -> str:
    return derive_operation(call).digest


ACTS = {
    REFUND: (by_action(REFUND), OperationKind.REFUND, "refund_transaction"),
    "a refund by another name": (
        by_action("issueRefund"),
        OperationKind.OTHER,
        "issueRefund",
    ),
    CANCEL: (by_action(CANCEL), OperationKind.CANCELLATION, "cancel_transaction"),
    "a cancellation by another name": (
        by_action("cancel-order"),
        OperationKind.OTHER,
        "cancel-order",
    ),
    "a status that cancels": (
        by_action("modify-subscription-status", subscription_status_modification="cancel"),
        OperationKind.CANCELLATION,
        "cancel_transaction",
    ),
    "a status that pauses": (
        by_action("modify-subscription-status", subscription_status_modification="pause"),
        OperationKind.CHANGE,
        "modify_subscription_status",
    ),
    "a status that resumes": (
        by_action("modify-subscription-status", subscription_status_modification="unpause"),
        OperationKind.CHANGE,
        "modify_subscription_status",
    ),
    "a status by a shorter name": (
        by_action("modify-subscription-status", status_modification="pause"),
        OperationKind.CHANGE,
        "modify_subscription_status",
    ),
    "a status by the shortest name": (
        by_action("modify-subscription-status", status="pause"),
        OperationKind.CHANGE,
        "modify_subscription_status",
    ),
    "two statuses": (
        by_action("modify-subscription-status", status="pause", status_modification="cancel"),
        OperationKind.CANCELLATION,
        "cancel_transaction",
    ),
    "no status": (
        by_action("modify-subscription-status"),
        OperationKind.CANCELLATION,
        "cancel_transaction",
    ),
    "a revocation": (
        by_action("revoke-membership-access"),
        OperationKind.REVOCATION,
        "revoke_membership_access",
    ),
    "a change": (by_action("edit-subscription"), OperationKind.CHANGE, "edit_subscription"),
    "a tag": (by_action("unassign-tag"), OperationKind.OTHER, "unassign_tag"),
    "unknown": (by_action("charge-card"), OperationKind.OTHER, "charge-card"),
    "unknown, by its name alone": (
        ValidatedCall("kartra_x", "X", Action("id", "", "Issue a refund"), WORST, frozenset()),
        OperationKind.OTHER,
        "id",
    ),
    "unknown, with neither key nor known name": (
        ValidatedCall("kartra_x", "X", Action("id", "", "Do it"), WORST, frozenset()),
        OperationKind.OTHER,
        "id",
    ),
    "the same, raw": (raw(Command("unassign_tag")), OperationKind.OTHER, "unassign_tag"),
    "raw, without a command": (raw(), OperationKind.OTHER, "raw request"),
    "raw, of a command that is not known": (
        raw(Command("charge_card")),
        OperationKind.OTHER,
        "charge_card",
    ),
    "the worst of many": (
        raw(Command("assign_tag"), Command("edit_subscription")),
        OperationKind.CHANGE,
        "assign_tag+edit_subscription",
    ),
}


@pytest.mark.parametrize("name", ACTS)
def test_acts(name):
    made, act, operation = ACTS[name]
    found = derive_operation(made)
    assert (found.kind, found.name) == (act, operation)


SALE = Target("transaction", "101")
SUBSCRIPTION = Target("subscription", "201")
EDIT = "edit_subscription"
TARGETS: dict[str, tuple[ValidatedCall, Target | None]] = {
    "its name": (by_action(REFUND, transaction_id=101), SALE),
    "in capitals": (by_action(REFUND, transactionId="101"), SALE),
    "without _id": (by_action(REFUND, transaction=101), SALE),
    "an alias": (by_action(REFUND, sale_id="0101"), SALE),
    "a bare id": (by_action(REFUND, id=101), SALE),
    "an object": (by_action(REFUND, transaction={"id": 101}), SALE),
    "an object among others": (by_action(REFUND, lead={"id": 7}, transaction={"id": 101}), SALE),
    "a list of objects": (by_action(REFUND, lead={"id": 7}, transaction=[{"id": 101}]), SALE),
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
    "by both, where that is no contradiction": (
        by_action("unassign-tag", subscription_id=201, transaction_id=101),
        SALE,
    ),
    "a lead": (
        by_action("revoke-membership-access", email="Ada@Example.com "),
        Target("lead", "ada@example.com"),
    ),
    "raw": (raw(Command(EDIT, {"subscription_id": 201})), SUBSCRIPTION),
    "raw, of a lead": (
        raw(Command("unassign_tag", {"tag_name": "VIP"}, {"id": 48110})),
        Target("lead", "48110"),
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
    assert derive_operation(made).target == target


AMOUNTS: dict[str, tuple[ValidatedCall, Decimal | None, bool]] = {
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
    "cents": (by_action(REFUND, transaction_id=1, amount_cents=550), Decimal("5.50"), True),
    "cents that are the same amount": (
        by_action(REFUND, transaction_id=1, amount_cents=550, amount="5.5"),
        Decimal("5.50"),
        True,
    ),
    "cents that are not read": (by_action(REFUND, transaction_id=1, amount_cents="x"), None, True),
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
    found = derive_operation(made)
    assert (found.amount, found.is_unambiguous) == (amount, plain)


@pytest.mark.parametrize("spelled", [101, "101", 101.0, " 0101 ", "000101"], ids=repr)
def test_one_id_in_many_spellings(spelled):
    assert normalize_id(spelled) == "101"
    one, other = (by_action(REFUND, transaction_id=x) for x in (spelled, 101))
    assert digest(one) == digest(other)


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
    assert normalize_id(spelled) == read


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
    assert parse_amount(said) == (None if read is None else Decimal(read))


@pytest.mark.parametrize("spelled", [97, "97", "97.00", 97.0], ids=repr)
def test_one_amount_in_many_spellings(spelled):
    one = by_action(REFUND, transaction_id=1, refund_amount=spelled)
    other = by_action(REFUND, transaction_id=1, refund_amount=97)
    assert digest(one) == digest(other)
    less = by_action(REFUND, transaction_id=1, refund_amount=96)
    assert digest(less) != digest(other)


SAME_CALLS: dict[str, tuple[ValidatedCall, ValidatedCall]] = {
    "the order of the names": (
        by_action(REFUND, transaction_id=1, reason="x"),
        by_action(REFUND, reason="x", transaction_id=1),
    ),
    "an id in a list": (
        by_action("assign-tag", tags=[{"transaction_id": "07"}]),
        by_action("assign-tag", tags=[{"transaction_id": 7}]),
    ),
    "ids in a list": (
        by_action("assign-tag", transaction_id=["07", 8]),
        by_action("assign-tag", transaction_id=[7, "8"]),
    ),
    "an amount in an object": (
        by_action(REFUND, refund={"amount": "97"}),
        by_action(REFUND, refund={"amount": 97.0}),
    ),
}


@pytest.mark.parametrize("name", SAME_CALLS)
def test_the_digest_ignores(name):
    one, other = SAME_CALLS[name]
    assert digest(one) == digest(other)


OTHER_CALLS: dict[str, tuple[ValidatedCall, ValidatedCall]] = {
    "the action": (by_action(REFUND, id=1), by_action(CANCEL, id=1)),
    "an id": (by_action(REFUND, transaction_id=1), by_action(REFUND, transaction_id=2)),
    "an id and none": (by_action(REFUND, transaction_id=None), by_action(REFUND)),
    "null and its name": (
        by_action(REFUND, transaction_id=None),
        by_action(REFUND, transaction_id="None"),
    ),
    "an id in a list": (
        by_action("assign-tag", tags=[{"transaction_id": 7}]),
        by_action("assign-tag", tags=[{"transaction_id": 8}]),
    ),
    "an entry of a list": (
        by_action("assign-tag", tags=["a", "b"]),
        by_action("assign-tag", tags=["a", "c"]),
    ),
    "the spelling of a text": (
        by_action("assign-tag", tag="07"),
        by_action("assign-tag", tag="7"),
    ),
    "the type of a value that is no id": (
        by_action("assign-tag", count=7),
        by_action("assign-tag", count="7"),
    ),
    "a method": (raw_request(), raw_request(method="PUT")),
    "a path": (raw_request(), raw_request(path="/api/x")),
    "a body": (raw_request(), raw_request(body="[]")),
    "a value of the query": (raw_request(), raw_request(query=(("a", "2"),))),
    "a name of the query": (raw_request(), raw_request(query=(("b", "1"),))),
    "the command": (raw(Command("assign_tag")), raw(Command("unassign_tag"))),
    "the number of commands": (
        raw(Command("assign_tag")),
        raw(Command("assign_tag"), Command("assign_tag")),
    ),
    "the lead of a command": (
        raw(Command("assign_tag", {}, {"id": 1})),
        raw(Command("assign_tag", {}, {"id": 2})),
    ),
    "where a field of a command is": (
        raw(Command("assign_tag", {"id": 1}, {})),
        raw(Command("assign_tag", {}, {"id": 1})),
    ),
    "an argument of a command": (
        raw(Command("assign_tag", {"tag_name": "a"})),
        raw(Command("assign_tag", {"tag_name": "b"})),
    ),
}


@pytest.mark.parametrize("name", OTHER_CALLS)
def test_the_digest_depends_on(name):
    one, other = OTHER_CALLS[name]
    assert digest(one) != digest(other)


STORED = {
    "an action": by_action(REFUND, transaction_id="0101", refund_amount="97"),
    "a chain": raw(Command("assign_tag", {"tag_name": "a"}, {"id": 7}), Command(EDIT, {"id": 201})),
    "a raw request": raw_request(path="/notes/{n}", path_params={"n": "5"}),
    "a number that JSON lacks": by_action("assign-tag", lead_id=7, points=Decimal("1.50")),
}
DIGESTS = {
    "an action": "68c356d34d619da9c480a1d1f47505652b05580588e780d36de696f3665ce72c",
    "a chain": "a79b83a5e537a03da9ebaddd88cec0b9d34c9a14565f4d57d939c796d74a02ab",
    "a raw request": "3d3057c27c54b8ca5fd6ce1303f59b1933865d76722d49131f96f16a7a9d868a",
    "a number that JSON lacks": "cba0b4997e3eafd66dfb61538e09af4d4c13adcc8bb2007f752b17d4cb95c84f",
}


@pytest.mark.parametrize("name", STORED)
def test_a_digest_stays_that_of_the_ledgers_that_contain_it(name):
    """A digest that changes with a version would let an equal call run a second time."""
    assert digest(STORED[name]) == DIGESTS[name]


def test_a_parameter_in_a_path_is_its_value():
    one = raw_request(path="/notes/{n}", path_params={"n": "5"})
    assert digest(one) == digest(raw_request(path="/notes/5"))
    assert digest(one) != digest(raw_request(path="/notes/6"))
