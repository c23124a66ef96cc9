"""Facts read before money moves: every state of a sale, sparse answers, missing fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from consent_actors import CANCEL, REFUND, sandbox
from harness import call, connect

from kartra_mcp.catalogue.decided_calls import decide_call
from kartra_mcp.consent.collect import read_facts
from kartra_mcp.consent.fact_reader import MAX_READS
from kartra_mcp.consent.facts import Facts
from kartra_mcp.core.errors import KartraMCPError, RefusedError, UpstreamError
from kartra_mcp.core.models import Action, Call, Command, Risk, ValidatedCall
from kartra_mcp.policy.gates import Policy

pytestmark = pytest.mark.anyio


class Account:
    """Answers by command, or by command and id; an error is raised."""

    def __init__(self, **answers: Any):
        self.answers = answers
        self.asked: list[Command] = []

    async def __call__(self, command: Command) -> Any:
        self.asked.append(command)
        given = {**command.arguments, **command.lead}
        named = [f"{command.name}_{value}" for value in given.values()]
        found = next((self.answers[n] for n in (*named, command.name) if n in self.answers), {})
        if isinstance(found, KartraMCPError):
            raise found
        return found


def wants(command: str, **given: Any) -> Call:
    action = Action("id", command.replace("_", "-"), command)
    commands = (Command(command, given),)
    made = ValidatedCall(
        f"kartra_{command}", command, action, Risk.IRREVERSIBLE, frozenset(), commands, given
    )
    return decide_call(made, Policy())


def sale(identity: int = 101, amount: Any = 97, **more: Any) -> dict[str, Any]:
    told = {
        "transaction_id": str(identity),
        "lead_email": "ada@example.com",
        "lead_first_name": "Ada",
        "lead_last_name": "Moreno",
        "product_name": "Watercolour",
        "transaction_type": "sale",
        "transaction_full_amount": amount,
        "transaction_date": "2026-11-18",
        "transaction_parent_id": "0",
    }
    return {"transaction_details": {**told, **more}}


def thin(identity: int, kind: str) -> dict[str, Any]:
    return {"transaction_id": str(identity), "transaction_type": kind}


def back(identity: int, amount: Any, kind: str = "partial_refund", parent: Any = "101"):
    return sale(identity, amount, transaction_type=kind, transaction_parent_id=parent)


def account(*rows: tuple[int, str, Any], **more: Any) -> Account:
    """Return a sale of 97.00 with these other rows: id, type, amount."""
    listed = [thin(101, "sale"), *(thin(number, kind) for number, kind, _ in rows)]
    answers: dict[str, Any] = {
        "get_transaction_details_101": sale(),
        "retrieve_transactions_from_lead": {"transaction_list": listed},
    }
    for number, kind, amount in rows:
        answers[f"get_transaction_details_{number}"] = back(number, amount, kind)
    return Account(**{**answers, **more})


async def refund(read: Account, **given: Any) -> Facts:
    return await read_facts(wants("refund_transaction", transaction_id=101, **given), read)


STATES: dict[str, tuple[Account, dict[str, Any], tuple[str, str, str | None, bool]]] = {
    # refunded so far, remaining, what this is, whether it was done before
    "nothing refunded": (account(), {}, ("0.00", "97.00", "FULL", False)),
    "a part": (account(), {"refund_amount": 10}, ("0.00", "97.00", "PARTIAL", False)),
    "all of it, said": (account(), {"refund_amount": "97"}, ("0.00", "97.00", "FULL", False)),
    "partly refunded": (
        account((201, "partial_refund", 30)),
        {},
        ("30.00", "67.00", "FULL", False),
    ),
    "twice": (
        account((201, "partial_refund", 30), (202, "Partial Refund", "-7.00")),
        {"refund_amount": 60},
        ("37.00", "60.00", "FULL", False),
    ),
    "in full": (account((201, "refund", 97)), {}, ("97.00", "0.00", "FULL", True)),
    "refunds of other sales": (
        account(
            (201, "refund", 97), get_transaction_details_201=back(201, 97, "refund", parent=55)
        ),
        {},
        ("0.00", "97.00", "FULL", False),
    ),
    "taken back by the bank": (
        account((201, "chargeback", 97)),
        {},
        ("0.00", "0.00", "FULL", False),
    ),
    "rows that say all": (
        account(
            retrieve_transactions_from_lead={
                "transaction_list": [back(201, 30)["transaction_details"]]
            }
        ),
        {},
        ("30.00", "67.00", "FULL", False),
    ),
}


@pytest.mark.parametrize("name", STATES)
async def test_the_states_of_a_sale(name):
    read, given, (refunded, remaining, what, done) = STATES[name]
    facts = await refund(read, **given)
    told = facts.shown
    assert facts.missing == ()
    assert (told["refunded_so_far"], told["remaining"]) == (refunded, remaining)
    assert (told["full_or_partial"], facts.already_done) == (what, done)
    assert told["buyer"] == "Ada Moreno <ada@example.com>"
    assert "does not name" in told["currency"]


async def test_a_chargeback_does_not_prove_a_refund():
    facts = await refund(account((201, "chargeback", 30), (202, "partial_refund", 7)))
    assert [row.split()[0] for row in facts.evidence] == ["202"]
    assert facts.shown["taken_back_by_the_bank"] == "30.00"
    assert facts.remaining == Decimal("60.00")


WRAPPED: list[Callable[[Any], Any]] = [
    lambda body: body,
    lambda body: {"status": "Success", **body},
    lambda body: {"output": {"data": body}},
    lambda body: {"actions": [{"cmd": {"status": "Success", **body}}]},
    lambda body: next(iter(body.values())),
    lambda body: [next(iter(body.values()))],
]


@pytest.mark.parametrize("wrap", WRAPPED, ids=range(len(WRAPPED)))
async def test_answers_in_other_wrappings(wrap):
    plain = account((201, "partial_refund", 30))
    read = Account(**{name: wrap(answer) for name, answer in plain.answers.items()})
    facts = await refund(read)
    assert (facts.missing, facts.remaining) == ((), Decimal("67.00"))


async def test_answers_with_other_names():
    details = {"transactionId": 101, "fullAmount": "97.00", "email": "ada@example.com"}
    read = account(get_transaction_details_101={"transactionDetails": details})
    facts = await refund(read)
    assert (facts.remaining, facts.lead) == (Decimal("97.00"), "ada@example.com")


TIMED_OUT = UpstreamError("timed_out", "Membrane did not answer in time.", "")
MISSING: dict[str, tuple[Account, str]] = {
    "the sale": (
        account(get_transaction_details_101=TIMED_OUT),
        "the transaction: Membrane did not answer in time",
    ),
    "a sale in an answer that says nothing": (
        account(get_transaction_details_101={"status": "Success"}),
        "transaction 101: the response could not be parsed",
    ),
    "a sale with another id": (
        account(get_transaction_details_101=sale(999)),
        "transaction 101: the response could not be parsed",
    ),
    "payments in an answer that says nothing": (
        account(retrieve_transactions_from_lead={"status": "Success"}),
        "earlier refunds: the response could not be parsed",
    ),
    "payments that go on elsewhere": (
        account(
            retrieve_transactions_from_lead={"transaction_list": [thin(101, "sale")], "cursor": "2"}
        ),
        "earlier refunds: there are more than one answer holds",
    ),
    "the sale of a refund": (
        account((201, "refund", 97), get_transaction_details_201=back(201, 97, "refund", None)),
        "earlier refunds: which sale 201 belongs to",
    ),
    "its amount": (
        account(get_transaction_details_101=sale(amount=None)),
        "amount: the transaction does not say it",
    ),
    "an amount that is none": (
        account(get_transaction_details_101=sale(amount="N/A")),
        "amount: the transaction does not say it",
    ),
    "its buyer": (
        account(get_transaction_details_101=sale(lead_email="")),
        "earlier refunds: the transaction does not name the buyer",
    ),
    "the lead's payments": (
        account(retrieve_transactions_from_lead=TIMED_OUT),
        "earlier refunds: Membrane did not answer in time",
    ),
    "one refund": (
        account((201, "refund", 30), get_transaction_details_201=TIMED_OUT),
        "the transaction: Membrane did not answer in time",
    ),
    "the sum of a refund": (
        account((201, "refund", None)),
        "earlier refunds: the sum of 201",
    ),
    "more than ten reads": (
        account(*((number, "partial_refund", 1) for number in range(201, 230))),
        f"the transaction: it needs more than {MAX_READS} reads",
    ),
}


@pytest.mark.parametrize("name", MISSING)
async def test_missing_facts_are_reported(name):
    read, reason = MISSING[name]
    facts = await refund(read)
    assert facts.missing[0] == reason
    assert (facts.remaining, facts.amount_moved, facts.full, facts.already_done) == (
        None,
        None,
        None,
        False,
    )
    assert facts.shown["this_refund"] == "all that remains"
    assert "remaining" not in facts.shown
    assert len(read.asked) <= MAX_READS
    part = await refund(read, refund_amount=10)
    assert part.amount_moved == Decimal("10.00")
    assert "full_or_partial" not in part.shown


async def test_nothing_at_all_in_the_answers():
    facts = await refund(Account())
    assert facts.remaining is None
    assert facts.amount_moved is None
    assert not facts.already_done


async def test_a_connection_that_is_not_ready_is_no_missing_fact():
    gone = RefusedError("connection_not_ready", "It left READY.", "")
    with pytest.raises(RefusedError, match="left READY"):
        await refund(account(get_transaction_details_101=gone))


async def test_the_digest_says_what_was_seen():
    first = await refund(account())
    assert first.digest == (await refund(account())).digest
    others = [
        account((201, "partial_refund", 30)),
        account((201, "chargeback", 30)),
        account(get_transaction_details_101=sale(amount=98)),
        account(get_transaction_details_101=sale(lead_email="eve@example.com")),
        account(retrieve_transactions_from_lead=TIMED_OUT),
    ]
    digests = {first.digest, *[(await refund(read)).digest for read in others]}
    assert len(digests) == 1 + len(others)


SUBSCRIBED = {
    "subscription_details": {
        "subscription_id": "201",
        "subscription_lead_id": "48110",
        "subscription_status": "Active",
        "subscription_next_payment_date": "2026-12-20",
        "subscription_next_scheduled_payment_amount": 49.0,
        "subscription_installments_left": "Until cancelled",
        "subscription_recurring_period": "monthly",
    }
}
LINKED = sale(102, transaction_internal_subscription_id="201")


async def test_a_cancellation_by_subscription():
    read = Account(get_subscription_details=SUBSCRIBED)
    facts = await read_facts(wants("cancel_transaction", subscription_id="0201"), read)
    assert str(facts.target) == "subscription 201"
    assert facts.shown["next_payment"] == "2026-12-20"
    assert facts.shown["installments_left"] == "Until cancelled"
    assert "access" in facts.shown
    assert facts.missing == ("the customer: the response could not be parsed",)
    assert not facts.already_done


async def test_a_cancellation_by_transaction():
    read = Account(get_subscription_details=SUBSCRIBED, get_transaction_details=LINKED)
    facts = await read_facts(wants("cancel_transaction", transaction_id=102), read)
    assert str(facts.target) == "subscription 201"
    assert facts.shown["transaction_id"] == "102"
    assert facts.shown["status"] == "Active"


@pytest.mark.parametrize("linked", ["N/A", "0", 0, None, ""], ids=repr)
async def test_a_transaction_without_a_subscription(linked):
    read = Account(
        get_transaction_details=sale(102, transaction_internal_subscription_id=linked),
    )
    facts = await read_facts(wants("cancel_transaction", transaction_id=102), read)
    assert str(facts.target) == "transaction 102"
    assert facts.missing == ("the subscription: the transaction names none",)


@pytest.mark.parametrize("status", ["Cancelled", "canceled", "Terminated"])
async def test_a_subscription_that_has_ended(status):
    ended = {**SUBSCRIBED["subscription_details"], "subscription_status": status}
    read = Account(get_subscription_details={"subscription_details": ended})
    assert (await read_facts(wants("cancel_transaction", subscription_id=201), read)).already_done
    change = await read_facts(wants("edit_subscription", subscription_id=201), read)
    assert not change.already_done


async def test_a_change_shows_what_is_changed():
    read = Account(get_subscription_details=SUBSCRIBED)
    wanted = wants("edit_subscription", subscription_id=201, subscription_amount=5)
    facts = await read_facts(wanted, read)
    assert facts.shown["next_payment_amount"] == "49.00"
    assert facts.shown["changes"] == ["price -> 5.00"]


@pytest.mark.parametrize(
    ("paid", "expected"),
    [
        ({}, {"price": "49.00", "quantity": "1", "product": "Studio Circle"}),
        ({"transaction_full_amount": 98.0, "transaction_base_amount": 98.0}, {}),
        ({"transaction_quantity": "2"}, {"quantity": "2"}),
        ({"transaction_base_amount": 39.0}, {"quantity": "1"}),
        ({"product_id": "301"}, {"price": "49.00", "quantity": "1", "product": None}),
    ],
    ids=["as last paid", "changed since", "two pieces", "with tax", "another product"],
)
async def test_price_and_quantity_are_shown_only_if_known(paid, expected):
    """Bug: the next amount of three pieces was shown as the price, with the old quantity."""
    amounts = {"transaction_full_amount": 49.0, "transaction_base_amount": 49.0}
    names = {"product_name": "Studio Circle", "product_id": "302", "transaction_quantity": "1"}
    last = {**amounts, **names, **paid}
    payment = sale(102, transaction_internal_subscription_id="201", **last)
    now = {**SUBSCRIBED["subscription_details"], "subscription_product_id": "302"}
    details = {"subscription_details": now}
    read = Account(get_subscription_details=details, get_transaction_details=payment)
    facts = await read_facts(wants("cancel_transaction", transaction_id=102), read)
    assert facts.shown["next_payment_amount"] == "49.00"
    shown = {name: facts.shown.get(name) for name in ("price", "quantity", "product")}
    known = {"product": "Studio Circle", "price": None, "quantity": None, **expected}
    assert shown == known


LEAD = {
    "lead_details": {
        "id": "48110",
        "email": "ada@example.com",
        "first_name": "Ada",
        "memberships": [
            {"name": "Studio Circle", "level_name": "Gold", "active": "1"},
            {"name": "Watercolour", "level_name": "Full", "active": "0"},
        ],
    }
}


@pytest.mark.parametrize(
    ("membership", "shown", "done"),
    [
        ("studio circle", ["Studio Circle, level Gold, active"], False),
        ("Watercolour", ["Watercolour, level Full, not active"], True),
        ("Teacher Portal", [], False),
    ],
)
async def test_a_revocation(membership, shown, done):
    given = {"email": "Ada@example.com", "membership_name": membership}
    facts = await read_facts(wants("revoke_membership_access", **given), Account(get_lead=LEAD))
    assert facts.shown.get("memberships", []) == shown
    assert (facts.impossible is not None) == (not shown)
    assert facts.already_done == done
    assert "go on" in facts.shown["charges"]
    assert facts.shown["lead"] == "Ada <ada@example.com>"


async def test_what_has_no_facts_shows_its_arguments_and_the_lead():
    call = wants("unassign_tag", lead_id=48110, tag_name="VIP")
    facts = await read_facts(call, Account(get_lead=LEAD))
    assert facts.shown == {
        "acts_on": "lead 48110",
        "lead": "Ada <ada@example.com>",
        "does": ["unassign_tag"],
        "arguments": ["lead_id: 48110", "tag_name: VIP"],
    }


# Through the door.


async def shown(place, tool, **arguments) -> dict[str, Any]:
    async with connect(place, "legacy") as client:
        answer = await call(client, tool, **arguments)
    return {**answer.error, **answer.error.get("confirmation", {})}


SALES = {
    101: ("confirmation_required", "0.00", "97.00"),
    105: ("confirmation_required", "50.00", "200.00"),
    103: ("already_done", "19.00", "0.00"),
    121: ("not_possible", "0.00", "0.00"),
}


@pytest.mark.parametrize("number", SALES)
async def test_the_sandbox_sales(tmp_path, number):
    code, refunded, remaining = SALES[number]
    place = sandbox(tmp_path)
    told = await shown(place, REFUND, transaction_id=number)
    facts = told.get("facts") or told["detail"]["facts"]
    assert told["code"] == code
    assert (facts["refunded_so_far"], facts["remaining"]) == (refunded, remaining)
    assert len(place.runs()) <= MAX_READS


@pytest.mark.parametrize("given", [{"subscription_id": 201}, {"transaction_id": 102}], ids=str)
async def test_the_sandbox_cancellation(tmp_path, given):
    told = await shown(sandbox(tmp_path), CANCEL, **given)
    assert told["code"] == "confirmation_required"
    assert told["summary"].startswith("SANDBOX CANCEL subscription 201 ")
    assert told["facts"]["price"] == "49.00"


async def test_what_could_not_be_read_begins_the_summary(tmp_path):
    place = sandbox(tmp_path)
    for command in ("get_transaction_details", "search_transaction"):
        place.arrange("fault", "set", command, "access_denied", "--times=9")
    told = await shown(place, REFUND, transaction_id=101)
    assert told["code"] == "confirmation_required"
    assert told["summary"].startswith("SANDBOX NOT READ: the transaction: ")
    assert told["facts"]["could_not_be_read"][0].startswith("the transaction: ")


async def test_a_list_with_other_names(tmp_path: Path):
    """Actions that go by other names and take other fields, or are not there: then raw."""
    actions = [
        {
            "id": "refund-1",
            "key": "refund-transaction",
            "name": "Refund",
            "inputSchema": {
                "type": "object",
                "properties": {"transaction": {"type": "object"}, "amount": {"type": "string"}},
            },
            "x-sandbox": {"cmd": "refund_transaction"},
        }
    ]
    file = tmp_path / "actions.json"
    file.write_text(json.dumps(actions))
    place = sandbox(tmp_path / "state").arrange("actions", "use", str(file))
    told = await shown(place, REFUND, transaction={"id": "101"}, amount="10")
    assert told["code"] == "confirmation_required", told
    assert told["summary"].startswith("SANDBOX REFUND PARTIAL 10.00 transaction 101 ")
    assert {words[0] for words in place.runs()} == {"request"}
