"""Values that Kartra would refuse, and calls that name no lead: refused before anyone is asked.

Each row is sent as a raw request, in a chain of commands, and by an action.
"""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from consent_actors import Person
from harness import Answer, Sandbox, call, connect

from kartra_mcp.core.models import Command
from kartra_mcp.kartra.addresses import lacks_lead
from kartra_mcp.kartra.command_values import find_past_date
from kartra_mcp.kartra.dates import to_kartra_time
from kartra_mcp.sandbox.kartra import api
from kartra_mcp.sandbox.store.database import Account

pytestmark = pytest.mark.anyio

WRITE, READ = "kartra_proxy_write", "kartra_proxy_read"
ADA = {"id": 48110}
EDIT, STATUS, BOOK = "edit_subscription", "modify_subscription_status", "calendar_subscribe"
FIELD, GIVE, TAKE = "create_custom_field", "give_points_to_lead", "remove_points_from_lead"
STEP = "subscribe_lead_to_sequence_at_step"
CLASS = {"calendar_name": "Live critique", "class_name": "Tuesday evening"}
SOON = to_kartra_time(datetime.now(UTC)) + timedelta(days=40)
LATE = to_kartra_time(datetime.now(UTC)) - timedelta(minutes=2)


def edit(**fields: Any) -> tuple[str, dict[str, Any]]:
    return EDIT, {"subscription_id": 201, **fields}


def recur(first: Any = None, second: Any = None) -> tuple[str, dict[str, Any]]:
    given = {"recurring_period_1": first, "recurring_period_2": second}
    return edit(subscription_recurrence={n: v for n, v in given.items() if v is not None})


def book(date: str, hour: str) -> tuple[str, dict[str, Any]]:
    return BOOK, {**CLASS, "starting_date": date, "starting_hour": hour}


def field(name: str, kind: str, *options: Any) -> tuple[str, dict[str, Any]]:
    given = {"custom_field_identifier": name, "custom_field_type": kind}
    return FIELD, {**given, **({"custom_field_options": list(options)} if options else {})}


def options(*names: str) -> list[dict[str, str]]:
    return [{"option_name": name} for name in names]


REFUSED: dict[str, tuple[str, tuple[str, dict[str, Any]], str]] = {
    # Kartra's error type, the command, a part of the message
    "a price below one": ("277", edit(subscription_amount="0.99"), "from 1.00 to 9,999.99"),
    "a price above the highest": ("277", edit(subscription_amount=10_000), "from 1.00 to"),
    "a quantity of none": ("276", edit(subscription_product_quantity=0), "from 1 to 9,999"),
    "a quantity too high": ("276", edit(subscription_product_quantity=10_000), "from 1 to 9,999"),
    "a half": ("278", edit(subscription_product_quantity="1.5"), "from 1 to 9,999"),
    "a quantity in words": ("278", edit(subscription_product_quantity="two"), "whole number"),
    "a tax below zero": ("290", edit(subscription_tax_percent=-1), "from 0 to 100"),
    "a tax above all": ("290", edit(subscription_tax_percent="100.5"), "from 0 to 100"),
    "a tax in words": ("278", edit(subscription_tax_percent="low"), "from 0 to 100"),
    "no installments": ("282", edit(subscription_installments_left=0), "until cancelled"),
    "endless in other words": ("282", edit(subscription_installments_left="forever"), "until"),
    "an unknown rhythm": ("280", recur("fortnightly"), "every 2 weeks"),
    "a rhythm in words": ("280", edit(subscription_recurrence="monthly"), "is not an object"),
    "a pair in the wrong order": ("280", recur("yearly", "monthly"), "recurring_period_1"),
    "a first that has no second": ("280", recur("quarterly", "yearly"), "may follow"),
    "a second that is none": ("280", recur("monthly", "weekly"), "yearly, every 2 years"),
    "a second alone": ("280", recur(None, "yearly"), "recurring_period_1"),
    "a product without its price": ("283", edit(subscription_product_id=7), "required together"),
    "a price point alone": ("283", edit(subscription_price_point=1), "subscription_product_id"),
    "a product that is no id": (
        "283",
        edit(subscription_product_id="Studio", subscription_price_point=1),
        "whole number",
    ),
    "an American date": ("260", edit(subscription_next_payment_date="12/31/2030"), "YYYY-MM-DD"),
    "a day that is none": ("260", edit(subscription_next_payment_date="2031-02-30 10:00"), "date"),
    "tomorrow": ("260", edit(subscription_next_payment_date="tomorrow"), "2030-01-31 09:00"),
    "a past date": ("261", edit(subscription_next_payment_date="2020-01-01 10:00"), "in the past"),
    "a moment ago": ("261", edit(subscription_next_payment_date=f"{LATE:%Y-%m-%d %H:%M}"), "(EST)"),
    "nothing to change": ("285", edit(), "subscription_amount or subscription_next_payment_date"),
    "only empty fields": ("285", edit(subscription_next_payment_date=" "), "no field to change"),
    "a status that is none": (
        "274",
        (STATUS, {"subscription_id": 201, "subscription_status_modification": "stop"}),
        "status",
    ),
    "a date of another form": ("260", book("2030-01-31", "09:00"), "31 Jan 2030"),
    "a month that is none": ("260", book("31 Jen 2030", "09:00"), "31 Jan 2030"),
    "an hour of another form": ("260", book("31 Jan 2030", "9 am"), "09:00"),
    "a date without its hour": ("260", book("31 Jan 2030", ""), "needed together"),
    "a past class": ("261", book("31 Jan 2020", "09:00"), "in the past"),
    "points in words": ("227", (GIVE, {"points": "many"}), "whole number"),
    "points below zero": ("227", (GIVE, {"points": -5}), "at least 0"),
    "half a point taken": ("228", (TAKE, {"points": "1.5"}), "whole number"),
    "points taken below zero": ("228", (TAKE, {"points": -5}), "at least 0"),
    "a field with a blank": ("263", field("shoe size", "input_field"), "letters, digits"),
    "a field of no type": ("269", field("size", "number"), "drop_down"),
    "a choice of nothing": ("270", field("size", "drop_down"), "two or more options"),
    "a choice of one": ("273", field("size", "checkbox", *options("S")), "two or more"),
    "a choice without a name": ("272", field("size", "checkbox", *options("S", "")), "option"),
    "a step that is none": ("229", (STEP, {"sequence_name": "Welcome", "step": "1-2"}), "step"),
}
TAKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "the lowest price": edit(subscription_amount="1.00"),
    "the highest price": edit(subscription_amount=9999.99),
    "a quantity as text": edit(subscription_product_quantity="9999"),
    "no tax": edit(subscription_tax_percent=0),
    "one installment": edit(subscription_installments_left="1"),
    "until cancelled": edit(subscription_installments_left="Until cancelled"),
    "a rhythm": recur("quarterly"),
    "a pair": recur("every 2 months", "every 2 years"),
    "a date": edit(subscription_next_payment_date=f"{SOON:%Y-%m-%d %H:%M}"),
    "a date with seconds": edit(subscription_next_payment_date=f"{SOON:%Y-%m-%d %H:%M:%S}"),
    "a class": book(f"{SOON:%d %b %Y}", "09:00"),
    "an open class": (BOOK, CLASS),
    "points": (GIVE, {"points": "10", "expiration": 30}),
    "a field": field("shoe_size-2", "input_field"),
    "a choice": field("size", "radio_button", *options("S", "M")),
}


def raw(tool: str, *commands: dict[str, Any], **more: Any) -> tuple[str, dict[str, Any]]:
    body = {**({"actions": list(commands)} if commands else {}), **more}
    return tool, {"method": "POST", "path": "/api", "json": body}


def with_actions(place: Sandbox) -> Sandbox:
    """Serve an action for every command of the rows, which takes all of their fields."""
    rows = [row for _, row, _ in REFUSED.values()] + list(TAKEN.values())
    commands = {command for command, _ in rows}
    fields = {name: {} for _, given in rows for name in given} | {"lead_id": {}}
    served = [
        {
            "id": f"id{number}",
            "key": command.replace("_", "-"),
            "name": command,
            "inputSchema": {"type": "object", "properties": fields},
            "x-sandbox": {"cmd": command},
        }
        for number, command in enumerate(sorted(commands))
    ]
    file = place.folder / "actions.json"
    place.folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(served))
    return place.arrange("actions", "use", str(file))


def list_ways(command: str, fields: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    lead = {} if command in {EDIT, STATUS, FIELD} else {"lead_id": ADA["id"]}
    one, tag = {"cmd": command, **fields}, {"cmd": "assign_tag", "tag_name": "VIP"}
    return {
        "raw": raw(WRITE, one, lead=ADA),
        "chain": raw(WRITE, tag, one, lead=ADA),
        "action": (f"kartra_{command}", {**fields, **lead}),
    }


def assert_invalid(answer: Answer, fragment: str) -> None:
    assert (answer.code, answer.executed) == ("invalid_arguments", "no"), answer.text
    assert fragment in answer.error["message"]


@pytest.mark.parametrize("case", REFUSED)
async def test_a_value_that_kartra_would_refuse_asks_nobody(tmp_path: Path, case: str):
    _, (command, fields), fragment = REFUSED[case]
    place, person = with_actions(Sandbox(tmp_path)), Person()
    before = place.dump()
    async with connect(place, "2026-07-28", elicitation_callback=person) as client:
        for way, (tool, arguments) in list_ways(command, fields).items():
            answer = await call(client, tool, **arguments)
            if command == STATUS and way != "action":  # a raw status is pause or unpause
                assert (answer.code, answer.executed) == ("forbidden_request", "no")
            else:
                assert_invalid(answer, fragment)
    assert person.asked == []
    assert (place.runs(), place.dump()) == ([], before)


@pytest.mark.parametrize("case", REFUSED)
def test_the_sandbox_refuses_the_same_values(tmp_path: Path, case: str):
    kind, (command, fields), _ = REFUSED[case]
    place = Sandbox(tmp_path).arrange("reset")
    with closing(Account(str(place.file))) as account, account.transaction():
        answer = api.answer(account, {"lead": ADA, "actions": [{"cmd": command, **fields}]})
    assert str(answer["actions"][0][command]["type"]) == kind


@pytest.mark.parametrize("case", TAKEN)
async def test_a_value_that_kartra_takes_is_not_refused(tmp_path: Path, case: str):
    command, fields = TAKEN[case]
    async with connect(with_actions(Sandbox(tmp_path)), "2026-07-28") as client:
        for tool, arguments in list_ways(command, fields).values():
            answer = await call(client, tool, **arguments)
            allowed = {"confirmation_required", "already_done"}
            assert not answer.failed or answer.code in allowed, answer.text


# ── Calls that name no lead ──

TAG, LIST = {"tag_name": "VIP"}, {"list_name": "Newsletter"}
ON_A_LEAD: dict[str, dict[str, Any]] = {
    "get_lead": {},
    "search_lead": {},
    "retrieve_transactions_from_lead": {},
    "retrieve_subscriptions_from_lead": {},
    "create_lead": {"first_name": "Bo"},
    "edit_lead": {"first_name": "Bo"},
    "assign_tag": TAG,
    "unassign_tag": TAG,
    "subscribe_lead_to_list": LIST,
    "unsubscribe_lead_from_list": LIST,
    STEP: {"sequence_name": "Welcome", "step": "1"},
    "unsubscribe_lead_from_sequence": {"sequence_name": "Welcome"},
    GIVE: {"points": 5},
    TAKE: {"points": 5},
    BOOK: CLASS,
    "calendar_cancel": CLASS,
    "grant_membership_access": {"membership_name": "Studio Circle"},
    "revoke_membership_access": {"membership_name": "Studio Circle"},
}
READS = {"get_lead", *(name for name in ON_A_LEAD if name.startswith(("search", "retrieve")))}
PUBLISHED = {
    "get_lead": "kartra_get_lead",
    "create_lead": "kartra_create_lead",
    "edit_lead": "kartra_edit_lead",
    "assign_tag": "kartra_assign_tag",
    "unassign_tag": "kartra_unassign_tag",
    "retrieve_transactions_from_lead": "kartra_retrieve_transactions_from_lead",
    "subscribe_lead_to_list": "kartra_subscribe_lead_to_list",
    "unsubscribe_lead_from_list": "kartra_unsubscribe_lead_from_list",
    STEP: "kartra_subscribe_lead_to_sequence",
    "unsubscribe_lead_from_sequence": "kartra_unsubscribe_lead_from_sequence",
    "grant_membership_access": "kartra_grant_membership_access",
    "revoke_membership_access": "kartra_revoke_membership_access",
}
NOBODY: dict[str, dict[str, Any]] = {
    "no field": {},
    "an empty address": {"email": " "},
    "an empty id": {"id": ""},
}


def list_calls_without_lead(command: str) -> list[tuple[str, dict[str, Any]]]:
    fields, tool = ON_A_LEAD[command], READ if command in READS else WRITE
    calls: list[tuple[str, dict[str, Any]]] = []
    for nobody in NOBODY.values():
        if command == "get_lead":
            calls.append(raw(tool, get_lead={"phone": "1", **nobody}))
            continue
        as_fields = command in {"create_lead", "edit_lead"}
        lead = {**(fields if as_fields else {}), **nobody}
        one = {"cmd": command, **({} if as_fields else fields)}
        calls.append(raw(tool, one, **({"lead": lead} if lead else {})))
        if tool == WRITE and not as_fields:
            first = {"cmd": "create_custom_field", **field("size", "input_field")[1]}
            calls.append(raw(tool, first, one))
    if command in PUBLISHED:
        calls += [(PUBLISHED[command], fields), (PUBLISHED[command], {**fields, "email": " "})]
    return calls


@pytest.mark.parametrize("command", ON_A_LEAD)
async def test_a_call_that_names_no_lead_is_refused(sandbox: Sandbox, command: str):
    person = Person()
    async with connect(sandbox, "2026-07-28", elicitation_callback=person) as client:
        await client.list_tools()
        before = sandbox.dump()
        for tool, arguments in list_calls_without_lead(command):
            answer = await call(client, tool, **arguments)
            assert (answer.code, answer.executed) == ("invalid_arguments", "no"), arguments
    assert person.asked == []
    assert (sandbox.runs(), sandbox.dump()) == ([], before)


NAMED: dict[str, dict[str, Any]] = {
    "an id": {"lead_id": 48110},
    "an address": {"email": "ada@example.com"},
    "a nested id": {"contact": {"id": 48110}},
    "a nested address": {"details": [{"email_address": "ada@example.com"}]},
    "a list": {"leadIds": [48110]},
    "an own name": {"recipient": "ada@example.com"},
    "an owner's name": {"subscriber_reference": "48110"},
}


@pytest.mark.parametrize("case", NAMED)
def test_an_action_may_name_the_lead_by_its_own_fields(case: str):
    assert not lacks_lead(Command("assign_tag", {**TAG, **NAMED[case]}), exact=False)


OTHERS = [{}, {"tag": {"id": 5}}, {"tag_id": 5}, {"new_email": "ada@example.com"}, {"email": ""}]


@pytest.mark.parametrize("given", OTHERS)
def test_another_object_is_not_the_lead(given: dict[str, Any]):
    assert lacks_lead(Command("assign_tag", {**TAG, **given}), exact=False)


# ── Calls that name no object ──

REVOKE, CIRCLE = "kartra_revoke_membership_access", {"membership_name": "Studio Circle"}
BY_ADA = {"lead_id": ADA["id"]}
NO_OBJECT: dict[str, tuple[tuple[str, dict[str, Any]], str]] = {
    # the call, a part of the message
    "a pause of no subscription": (
        raw(WRITE, {"cmd": STATUS, "subscription_status_modification": "pause"}),
        "subscription_id is missing",
    ),
    "a pause in a chain": (
        raw(
            WRITE,
            {"cmd": "assign_tag", "tag_name": "VIP"},
            {"cmd": STATUS, "subscription_status_modification": "pause"},
            lead=ADA,
        ),
        "subscription_id is missing",
    ),
    "a raw revocation of everything": (
        raw(WRITE, {"cmd": "revoke_membership_access"}, lead=ADA),
        "membership_name is missing",
    ),
    "a revocation of everything": ((REVOKE, {**BY_ADA, "membership_name": " "}), "membership_name"),
    "every level by an empty one": (
        (REVOKE, {**BY_ADA, **CIRCLE, "level_name": ""}),
        "level_name is empty, which would mean every level",
    ),
    "every level by a raw null": (
        raw(WRITE, {"cmd": "revoke_membership_access", **CIRCLE, "level_name": None}, lead=ADA),
        "level_name is empty",
    ),
    "an empty tag": (("kartra_unassign_tag", {**BY_ADA, "tag_name": ""}), "tag_name is missing"),
    "a blank list": (
        ("kartra_unsubscribe_lead_from_list", {**BY_ADA, "list_name": "  "}),
        "list_name is missing",
    ),
}


@pytest.mark.parametrize("case", NO_OBJECT)
async def test_a_call_that_names_no_object_asks_nobody(tmp_path: Path, case: str):
    """Bug: `PAUSE what is not named` was shown, and an empty level revoked every level."""
    (tool, arguments), fragment = NO_OBJECT[case]
    place, person = Sandbox(tmp_path, {"GATE_DESTRUCTIVE": "preview"}).arrange("reset"), Person()
    before = place.dump()
    async with connect(place, "2026-07-28", elicitation_callback=person) as client:
        assert_invalid(await call(client, tool, **arguments), fragment)
    assert person.asked == []
    assert (place.runs(), place.dump()) == ([], before)


# ── Kartra's clock ──


@pytest.mark.parametrize(("utc", "past"), [("2031-01-01T04:59", False), ("2031-01-01T05:00", True)])
def test_a_date_is_past_by_the_clock_of_kartra(utc: str, past: bool):  # noqa: FBT001
    now = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    given = {"subscription_id": 201, "subscription_next_payment_date": "2031-01-01 00:00"}
    assert (find_past_date(Command(EDIT, given), now) is not None) is past
