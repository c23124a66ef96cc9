"""Calls that their own facts rule out: refused before anyone is asked, in each way of asking."""

from __future__ import annotations

from typing import Any

import pytest
from consent_actors import CANCEL, REFUND, Person, lines, sandbox, twice
from harness import SHORT, Sandbox, call, connect

pytestmark = pytest.mark.anyio

REVOKE, WRITE = "kartra_revoke_membership_access", "kartra_proxy_write"


def raw(cmd: str, **given: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/api", "json": {"actions": [{"cmd": cmd, **given}]}}


def status(number: int, wanted: str) -> dict[str, Any]:
    given = {"subscription_id": number, "subscription_status_modification": wanted}
    return raw("modify_subscription_status", **given)


def price(number: int) -> dict[str, Any]:
    return raw("edit_subscription", subscription_id=number, subscription_amount=12)


RULED_OUT: dict[str, tuple[str, dict[str, Any], str, str]] = {
    # the tool, its arguments, the code, a part of the message
    "more than a sale": (
        REFUND,
        {"transaction_id": 112, "refund_amount": 500},
        "not_possible",
        "500.00 is more than the 49.00 that remain of transaction 112",
    ),
    "more than what remains": (
        REFUND,
        {"transaction_id": 105, "refund_amount": 200.01},
        "not_possible",
        "200.01 is more than the 200.00 that remain",
    ),
    "a refund": (REFUND, {"transaction_id": 143}, "not_possible", "143 is a refund, not a sale"),
    "a partial refund": (REFUND, {"transaction_id": 144}, "not_possible", "is a partial refund"),
    "a failed payment": (REFUND, {"transaction_id": 108}, "not_possible", "is a failed payment"),
    "a cancellation": (REFUND, {"transaction_id": 109}, "not_possible", "is a cancellation"),
    "a chargeback": (REFUND, {"transaction_id": 110}, "not_possible", "is a chargeback"),
    "a test": (REFUND, {"transaction_id": 106}, "not_possible", "is a test"),
    "a sale that the bank took back": (
        REFUND,
        {"transaction_id": 121},
        "not_possible",
        "The bank took back 250.00",
    ),
    "a sale that is refunded": (REFUND, {"transaction_id": 103}, "already_done", "done before"),
    "no transaction": (REFUND, {"transaction_id": 99999}, "not_possible", "99999 does not exist"),
    "no subscription": (CANCEL, {"subscription_id": 999}, "not_possible", "999 does not exist"),
    "a sale without one": (CANCEL, {"transaction_id": 101}, "not_possible", "no subscription"),
    "a cancelled one": (CANCEL, {"subscription_id": 203}, "already_done", "done before"),
    "a terminated one": (CANCEL, {"subscription_id": 204}, "already_done", "done before"),
    "a cancelled one by its row": (CANCEL, {"transaction_id": 109}, "already_done", "done before"),
    "no transaction to cancel": (CANCEL, {"transaction_id": 9999}, "not_possible", "not exist"),
    "a pause of a cancelled one": (WRITE, status(203, "pause"), "not_possible", "is cancelled"),
    "a pause of a terminated one": (WRITE, status(204, "pause"), "not_possible", "is terminated"),
    "a pause by PayPal": (WRITE, status(205, "pause"), "not_possible", "PayPal"),
    "a pause of a paused one": (WRITE, status(202, "pause"), "already_done", "done before"),
    "an unpause of an active one": (WRITE, status(201, "unpause"), "already_done", "done before"),
    "a price of a cancelled one": (WRITE, price(203), "not_possible", "is cancelled"),
    "a price by PayPal": (WRITE, price(205), "not_possible", "PayPal"),
    "a price of none": (WRITE, price(999), "not_possible", "does not exist"),
    "a membership that is not held": (
        REVOKE,
        {"lead_id": 48129, "membership_name": "Studio Circle"},
        "not_possible",
        "does not hold",
    ),
    "a level that is not held": (
        REVOKE,
        {"lead_id": 48110, "membership_name": "Studio Circle", "level_name": "Copper"},
        "not_possible",
        "does not hold",
    ),
    "a membership of no lead": (
        REVOKE,
        {"lead_id": 99999, "membership_name": "Studio Circle"},
        "not_possible",
        "Lead 99999 does not exist",
    ),
    "a membership of a deleted lead": (
        REVOKE,
        {"email": "gone@example.org", "membership_name": "Studio Circle"},
        "not_possible",
        "was deleted",
    ),
    "a tag of no lead": (
        "kartra_unassign_tag",
        {"lead_id": 99999, "tag_name": "VIP"},
        "not_possible",
        "Lead 99999 does not exist",
    ),
}


async def refused(place: Sandbox, person: Person | None, name: str) -> None:
    tool, given, code, words = RULED_OUT[name]
    before = place.dump()
    asking: dict[str, Any] = {} if person is None else {"elicitation_callback": person}
    async with connect(place, "legacy", timings=SHORT, **asking) as client:
        answer = await call(client, tool, **given)
    assert (answer.code, answer.executed) == (code, "no"), answer.text
    assert words in answer.error["message"]
    assert "confirmation" not in answer.error
    assert place.dump() == before
    assert lines(place, "intent") == lines(place, "approval") == []


PREVIEW = {"GATE_DESTRUCTIVE": "preview"}
HUMAN = {"GATE_DESTRUCTIVE": "human", "GATE_IRREVERSIBLE": "human"}


@pytest.mark.parametrize("name", RULED_OUT)
async def test_no_preview_of_what_cannot_run(tmp_path, name):
    await refused(sandbox(tmp_path, **PREVIEW), None, name)


@pytest.mark.parametrize("name", RULED_OUT)
async def test_no_form_for_what_cannot_run(tmp_path, name):
    person = Person()
    await refused(sandbox(tmp_path, **PREVIEW), person, name)
    assert person.asked == []


@pytest.mark.parametrize("name", RULED_OUT)
async def test_no_approval_card_for_what_cannot_run(tmp_path, name):
    await refused(sandbox(tmp_path, **HUMAN, APPROVAL="outside"), None, name)


@pytest.mark.parametrize(("amount", "meant"), [(9700, "97.00"), (500, "5.00"), (97.01, "")])
async def test_an_amount_in_cents_gets_a_hint(tmp_path, amount, meant):
    async with connect(sandbox(tmp_path), "legacy") as client:
        answer = await call(client, REFUND, transaction_id=101, refund_amount=amount)
    assert answer.code == "not_possible"
    assert ("not in cents" in answer.error["remedy"]) == bool(meant)
    assert meant in answer.error["remedy"]


async def test_the_flag_of_a_pause_is_asked_for_a_pause_alone(tmp_path):
    """It was "cancels, pauses or resumes a subscription", with the undo of all three."""
    given = {"subscription_id": 201, "subscription_status_modification": "pause"}
    async with connect(sandbox(tmp_path), "legacy") as client:
        answer = await call(client, "kartra_modify_subscription_status", **given)
    assert answer.code == "confirmation_required"
    assert "stops the charges" in answer.error["message"]
    assert "Undo: resume it (unpause)." in answer.error["message"]
    assert "cancel" not in answer.error["message"]


async def test_a_pause_is_never_answered_with_a_cancellation(tmp_path):
    async with connect(sandbox(tmp_path, **PREVIEW), "legacy") as client:
        for number in (202, 203, 204, 205, 999):
            answer = await call(client, WRITE, **status(number, "pause"))
            assert "cancel it" not in answer.text.lower()
            assert CANCEL not in answer.text


@pytest.mark.parametrize(("number", "wanted"), [(202, "pause"), (201, "unpause")])
async def test_a_second_pause_without_a_preview_is_no_fault_of_the_argument(
    tmp_path, number, wanted
):
    """It was "The status is not cancel, pause or unpause. Correct the value"."""
    given = {"subscription_id": number, "subscription_status_modification": wanted}
    async with connect(sandbox(tmp_path), "legacy") as client:
        answer = await call(client, "kartra_modify_subscription_status", **given, confirm=True)
    assert answer.code == "kartra_error"
    assert "may be paused or active already" in answer.error["message"]
    assert "kartra_get_subscription_details" in answer.error["remedy"]


async def test_already_done_names_the_call_that_completed_the_refund(tmp_path):
    """It named the first part: 20.00 of 97.00."""
    async with connect(sandbox(tmp_path), "legacy") as client:
        part = await twice(client, REFUND, transaction_id=101, refund_amount=20)
        rest = await twice(client, REFUND, transaction_id=101, refund_amount=77)
        again = await call(client, REFUND, transaction_id=101)
        a_part_again = await call(client, REFUND, transaction_id=101, refund_amount=20)
    assert not part.failed
    for answer in (again, a_part_again):
        assert answer.code == "already_done"
        assert answer.error["first"]["amount"] == "77.00"
    assert rest.structured is not None
    assert again.error["first"]["intent"] == rest.structured["receipt"]["intent"]


async def test_a_refund_that_was_completed_elsewhere_names_no_call(tmp_path):
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        await twice(client, REFUND, transaction_id=101, refund_amount=20)
        place.rows("UPDATE transactions SET cents = 9700 WHERE parent_id = 101")
        again = await call(client, REFUND, transaction_id=101)
    assert again.code == "already_done"
    assert "first" not in again.error


async def test_already_done_names_the_cancellation(tmp_path):
    async with connect(sandbox(tmp_path), "legacy") as client:
        done = await twice(client, CANCEL, subscription_id=201)
        again = await call(client, CANCEL, transaction_id=102)
    assert done.structured is not None
    assert again.error["first"]["intent"] == done.structured["receipt"]["intent"]


async def test_earlier_refunds_are_found_after_the_buyer_changed_the_address(tmp_path):
    """Bug: nothing was found under the sale's old address, so that the rest was not known."""
    place = sandbox(tmp_path, GATE_DESTRUCTIVE="allow")
    async with connect(place, "legacy") as client:
        renamed = {"lead_id": 48110, "new_email": "other@example.net"}
        assert not (await call(client, "kartra_edit_lead", **renamed)).failed
        assert not (await twice(client, REFUND, transaction_id=101, refund_amount=20)).failed
        too_much = await call(client, REFUND, transaction_id=101, refund_amount=97)
        assert "more than the 77.00 that remain" in too_much.error["message"]
        assert not (await twice(client, REFUND, transaction_id=101)).failed
    sums = place.rows("SELECT cents FROM transactions WHERE parent_id = 101 ORDER BY id")
    assert sums == [(2000,), (7700,)]


async def test_a_limit_that_is_not_the_rest_is_not_called_the_rest(tmp_path):
    """Bug: with unread refunds the whole sale was said to remain."""
    place = sandbox(tmp_path)
    place.arrange("fault", "set", "retrieve_transactions_from_lead", "internal", "--times=9")
    async with connect(place, "legacy") as client:
        refused = await call(client, REFUND, transaction_id=105, refund_amount=300)
    assert "more than the 250.00 that can remain" in refused.error["message"]


@pytest.mark.parametrize("name", ["a refund", "a failed payment", "a test", "no transaction"])
async def test_a_gate_that_reads_nothing_leaves_the_refusal_to_kartra(tmp_path, name: str):
    """Under gate flag no fact is read: nothing is claimed before, and the ledger has the error."""
    place = sandbox(tmp_path, GATE_IRREVERSIBLE="flag")
    tool, given, _, _ = RULED_OUT[name]
    before = place.dump()
    async with connect(place, "legacy") as client:
        answer = await call(client, tool, **given, confirm=True)
        (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert (answer.code, answer.executed) == ("kartra_error", "no"), answer.text
    assert place.dump() == before
    assert (line["state"], line["executed"], line["consent"]) == ("failed", "no", "flag")
    assert "undo" not in line
