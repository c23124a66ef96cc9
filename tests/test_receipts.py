"""Receipts, ledger lines and page stories name the object, and an undo holds only for a change.

Bug: they said "assign the tag again" without its name, and failed lines carried an undo.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bulk_account import bulk
from consent_actors import confirmed, ledger_folder, sandbox
from harness import Answer, Sandbox, call, connect, healthy

from kartra_mcp.kartra.effects import condition_undo, describe_object
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.web.views.history import make_row, make_write_detail

pytestmark = pytest.mark.anyio

ADA = 48110


@pytest.fixture
def place(tmp_path: Path) -> Sandbox:
    return sandbox(tmp_path / "state", CAP_DAY_COUNT="50")


@pytest.fixture
async def client(place: Sandbox) -> AsyncGenerator[Any]:
    async with connect(place, "legacy") as session:
        yield session


async def test_money_has_two_decimals_in_the_ledger(place: Sandbox, client: Any):
    await write(client, "kartra_refund_transaction", transaction_id=101)
    (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert line["known_amount"] == "97.00"
    with closing(open_ledger(ledger_folder(place))) as ledger:
        (entry,) = ledger.export()
    assert (entry["known_amount"], entry["remainder"]) == ("97.00", "97.00")


async def write(client: Any, tool: str, **arguments: Any) -> Answer:
    """Call a tool; where consent is required, give it."""
    answer = await call(client, tool, **arguments)
    if answer.failed and answer.code == "confirmation_required":
        shown = answer.error.get("confirmation")
        arguments |= confirmed(answer) if shown else {"confirm": True}
        answer = await call(client, tool, **arguments)
    return answer


async def command(client: Any, cmd: str, **fields: Any) -> Answer:
    body = {"lead": {"id": ADA}, "actions": [{"cmd": cmd, **fields}]}
    return await write(client, "kartra_proxy_write", method="POST", path="/api", json=body)


COMMANDS: list[tuple[str, dict[str, Any], str, str, bool | None]] = [
    ("assign_tag", {"tag_name": "Affiliate"}, 'tag "Affiliate"', "if ", None),
    ("unassign_tag", {"tag_name": "VIP"}, 'tag "VIP"', "if ", None),
    ("subscribe_lead_to_list", {"list_name": "Alumni"}, 'list "Alumni"', "if ", None),
    ("unsubscribe_lead_from_list", {"list_name": "Alumni"}, 'list "Alumni"', "if ", None),
    (
        "subscribe_lead_to_sequence_at_step",
        {"sequence_name": "Welcome", "step": "2"},
        'sequence "Welcome", step 2',
        "if ",
        None,
    ),
    (
        "unsubscribe_lead_from_sequence",
        {"sequence_name": "Welcome"},
        'sequence "Welcome"',
        "if ",
        None,
    ),
    ("give_points_to_lead", {"points": 7}, "7 points", "remove 7 points", True),
    ("remove_points_from_lead", {"points": "1"}, "1 point", "give 1 point", True),
    (
        "calendar_cancel",
        {"calendar_name": "Live critique", "class_name": "Tuesday evening"},
        'calendar "Live critique", class "Tuesday evening"',
        'book the lead into the class "Tuesday evening"',
        True,
    ),
    (
        "create_custom_field",
        {"custom_field_identifier": "shoe_size", "custom_field_type": "input_field"},
        'custom field "shoe_size"',
        "not by the API",
        True,
    ),
]
"""A command, its object in the ledger, the beginning of its undo, and `changed`."""


@pytest.mark.parametrize(("cmd", "fields", "named", "undo", "changed"), COMMANDS)
async def test_a_receipt_and_the_ledger_name_the_object(client, cmd, fields, named, undo, changed):
    answer = await command(client, cmd, **fields)
    assert not answer.failed, answer.text
    assert answer.structured
    receipt = answer.structured["receipt"]
    assert receipt["changed"] is changed
    assert receipt["undo"].startswith(undo)
    assert "lead 48110" in receipt["done"] or cmd == "create_custom_field"
    (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert (line["object"], line["undo"]) == (named, receipt["undo"])
    for name in fields.values():
        assert str(name) in line["object"] or name == "input_field"
        assert str(name) in receipt["done"] or name == "input_field"


ACTIONS: list[tuple[str, dict[str, Any], str, str, bool | None]] = [
    ("kartra_assign_tag", {"tag_name": "VIP"}, 'assigned the tag "VIP" to lead 48110', "if ", None),
    (
        "kartra_grant_membership_access",
        {"membership_name": "Studio Circle", "level_name": "Basic"},
        'gave lead 48110 access to the membership "Studio Circle", level "Basic"',
        "if ",
        None,
    ),
    (
        "kartra_revoke_membership_access",
        {"membership_name": "Studio Circle", "level_name": "Gold"},
        'ended the access of lead 48110 to the membership "Studio Circle", level "Gold"',
        "",
        None,
    ),
    (
        "kartra_edit_lead",
        {
            "company": "Sea & Sky",
            "custom_fields": [{"field_identifier": "goals", "field_value": "x"}],
        },
        "edited company, goals of lead 48110",
        "set the old values",
        True,
    ),
]


@pytest.mark.parametrize(("tool", "given", "done", "undo", "changed"), ACTIONS)
async def test_a_receipt_of_an_action_names_the_object(client, tool, given, done, undo, changed):
    answer = await write(client, tool, lead_id=ADA, **given)
    assert not answer.failed, answer.text
    assert answer.structured
    receipt = answer.structured["receipt"]
    assert receipt["done"] == done
    assert receipt["undo"].startswith(undo)
    assert receipt["changed"] is changed
    (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert line["undo"]
    assert "Sea & Sky" not in json.dumps(line)


async def test_a_chain_names_every_object_and_the_condition_of_each_undo(client):
    body = {
        "lead": {"id": ADA},
        "actions": [
            {"cmd": "assign_tag", "tag_name": "Affiliate"},
            {"cmd": "assign_tag", "tag_name": "Spring retreat"},
            {"cmd": "give_points_to_lead", "points": 3},
        ],
    }
    answer = await write(client, "kartra_proxy_write", method="POST", path="/api", json=body)
    assert answer.structured, answer.text
    receipt = answer.structured["receipt"]
    for name in ('"Affiliate"', '"Spring retreat"', "3 points"):
        assert name in receipt["done"]
        assert name in receipt["undo"]
    assert receipt["changed"] is None
    assert receipt["undo"].count("if ") == 2
    (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert line["object"] == 'tag "Affiliate", "Spring retreat", 3 points'


async def test_a_chain_of_pauses_names_each_subscription(client):
    """Bug: `paused it; paused it`, and `unpause the subscription` twice."""
    status = {"cmd": "modify_subscription_status", "subscription_status_modification": "pause"}
    paused = [{**status, "subscription_id": number} for number in (201, 206)]
    body = {"actions": paused}
    answer = await write(client, "kartra_proxy_write", method="POST", path="/api", json=body)
    assert answer.structured, answer.text
    receipt = answer.structured["receipt"]
    assert receipt["done"] == "paused subscription 201; paused subscription 206"
    assert receipt["undo"] == "unpause subscription 206; unpause subscription 201"


async def test_a_chain_names_a_command_that_is_not_known(fake_membrane):
    """Bug: the receipt of a chain named its known commands alone."""
    fake_membrane.settings["GATE_DESTRUCTIVE"] = "allow"
    body = {
        "lead": {"id": ADA},
        "actions": [{"cmd": "give_points_to_lead", "points": 3}, {"cmd": "frobnicate_lead"}],
    }
    given = {"method": "POST", "path": "/api", "json": body}
    async with connect(fake_membrane.plan(**healthy()), "legacy") as client:
        answer = await call(client, "kartra_proxy_write", **given)
    assert answer.structured, answer.text
    receipt = answer.structured["receipt"]
    assert receipt["done"] == "gave 3 points to lead 48110; ran frobnicate_lead"
    assert "frobnicate_lead changed anything: not known" in receipt["undo"]
    assert receipt["changed"] is None


async def test_a_cancellation_by_a_transaction_ends_its_subscription(client):
    """Bug: the receipt was `cancelled transaction 102 for good`."""
    answer = await write(client, "kartra_cancel_subscription", transaction_id=102)
    assert answer.structured, answer.text
    assert answer.structured["receipt"]["done"] == (
        "cancelled the subscription of transaction 102 for good"
    )


async def test_a_failed_line_carries_no_undo(place: Sandbox, client):
    assert (await command(client, "assign_tag", tag_name="No such tag")).failed
    (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert line["state"] == "failed"
    assert line["object"] == 'tag "No such tag"'
    assert "undo" not in line
    with closing(open_ledger(ledger_folder(place))) as ledger:
        detail = make_write_detail(ledger.get(line["intent"]) or {}, None)
        assert "How to undo" not in {fact.name for fact in detail.receipt}


async def test_a_line_of_unknown_outcome_undoes_under_a_condition(place: Sandbox, client):
    place.arrange("fault", "set", "give_points_to_lead", "garbage", "--times=1", "--effect")
    answer = await command(client, "give_points_to_lead", points=4)
    assert (answer.failed, answer.executed) == (True, "unknown")
    (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert line["undo"] == "if it was done: remove 4 points from the lead"


async def test_the_page_names_the_object_of_a_write(place: Sandbox, client):
    await write(client, "kartra_assign_tag", lead_id=ADA, tag_name="Affiliate")
    with closing(open_ledger(ledger_folder(place))) as ledger:
        (entry,) = ledger.list_recent(1)
        row = make_row(entry)
        assert (row.what, row.target) == ("Assign tag", '"Affiliate", lead 48110')
        shown = make_write_detail(ledger.get(row.intent) or {}, None)
    assert {'tag "Affiliate"'} <= {value for fact in shown.receipt for value in fact.values}


async def test_the_ledger_keeps_no_address_in_a_name(place: Sandbox, client):
    await command(client, "assign_tag", tag_name="of ada@example.com")
    assert "ada@example.com" not in json.dumps(place_lines(place))


def place_lines(place: Sandbox) -> list[dict[str, Any]]:
    with closing(open_ledger(ledger_folder(place))) as ledger:
        return ledger.export()


CONDITIONS = [
    ("", ""),
    ("remove 5 points", "if it was done: remove 5 points"),
    ("if the lead had it before: x", "if it was done and the lead had it before: x"),
]


@pytest.mark.parametrize(("undo", "expected"), CONDITIONS)
def test_conditions_of_an_undo_are_joined(undo, expected):
    assert condition_undo(undo, "it was done") == expected


def test_facts_without_an_object_describe_none():
    assert describe_object({"product": "Course", "amount": "97.00", "seen": []}) == ""


@pytest.mark.parametrize("gate", ["preview", "allow"])
async def test_the_answer_of_changed_terms_has_the_old_ones(tmp_path: Path, gate: str):
    """Bug: no answer had them, and the undo told the user to have read them before."""
    place = sandbox(tmp_path / gate, GATE_IRREVERSIBLE=gate)
    given = {
        "subscription_amount": 12,
        "subscription_installments_left": 3,
        "subscription_recurrence": {"recurring_period_1": "yearly"},
    }
    async with connect(place, "legacy") as client:
        answer = await write(client, "kartra_edit_subscription", subscription_id=201, **given)
        (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert answer.structured is not None, answer.text
    before = {
        "subscription_amount": "49.00",
        "subscription_recurrence": {"recurring_period_1": "monthly"},
        "subscription_installments_left": "Until cancelled",
    }
    assert answer.structured["before"] == before
    assert "as `before`" in answer.structured["receipt"]["undo"]
    assert "49.00" not in json.dumps(line)


async def test_an_item_of_a_bulk_run_does_not_refer_to_an_answer(place: Sandbox, client: Any):
    await bulk(client, "kartra_edit_lead", [{"email": "ada@example.com", "city": "Turin"}])
    (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert "a bulk run keeps none" in line["undo"]
    assert "before" not in line["undo"].removeprefix("if the old values were others")


async def test_the_receipt_of_a_booking_names_its_time(client: Any):
    """Bug: it named the class, but neither date nor hour."""
    given = {"calendar_name": "Live critique", "class_name": "Tuesday evening"}
    when = {"starting_date": "05 Mar 2030", "starting_hour": "14:30"}
    answer = await write(client, "kartra_calendar_subscribe", lead_id=ADA, **given, **when)
    assert answer.structured is not None, answer.text
    receipt = answer.structured["receipt"]
    assert receipt["done"].endswith("on 05 Mar 2030 at 14:30 (US Eastern)")
    (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert "14:30" not in json.dumps(line)
