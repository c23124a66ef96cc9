"""The line that is agreed to: it names what changes, and no two calls share one."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from command_line import run
from consent_actors import CANCEL, REFUND, Person, ledger_folder, sandbox, twice
from harness import StandIn, action, call, connect, healthy
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.catalogue.decided_calls import decide_call
from kartra_mcp.consent.collect import read_facts
from kartra_mcp.consent.summary import SUMMARY, make_summary
from kartra_mcp.core.models import Action, Call, Command, Risk, ValidatedCall
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.policy.gates import Policy
from kartra_mcp.web.views.approvals import make_card

pytestmark = pytest.mark.anyio

EDIT, WRITE, REVOKE = "kartra_edit_lead", "kartra_proxy_write", "kartra_revoke_membership_access"
PREVIEW = {"GATE_DESTRUCTIVE": "preview"}


def raw(cmd: str, **given: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/api", "json": {"actions": [{"cmd": cmd, **given}]}}


def edit(**given: Any) -> tuple[str, dict[str, Any]]:
    return WRITE, raw("edit_subscription", subscription_id=201, **given)


def status(number: int, wanted: str) -> tuple[str, dict[str, Any]]:
    given = {"subscription_id": number, "subscription_status_modification": wanted}
    return WRITE, raw("modify_subscription_status", **given)


SHOWN: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, ...]]] = {
    "another price": (
        edit(subscription_amount=12),
        ("CHANGE subscription 201 price 49.00 -> 12.00",),
    ),
    "another quantity": (edit(subscription_product_quantity=3), ("quantity 1 -> 3",)),
    "another rhythm": (
        edit(subscription_recurrence={"recurring_period_1": "yearly"}),
        ('recurring "monthly" -> "yearly"',),
    ),
    "another date": (
        edit(subscription_next_payment_date="2031-03-01 10:00:00"),
        ("-> 2031-03-01 10:00:00", "next payment 20"),
    ),
    "fewer installments": (edit(subscription_installments_left=2), ("-> 2",)),
    "another tax": (edit(subscription_tax_percent=20), ("tax percent -> 20",)),
    "another product": (
        edit(subscription_product_id=301, subscription_price_point=2),
        ("product 302 -> 301", "price point 1 -> 2"),
    ),
    "a pause": (status(201, "pause"), ("PAUSE subscription 201", '"Active" -> "Paused"')),
    "a resumption": (status(202, "unpause"), ("RESUME subscription 202", '"Paused" -> "Active"')),
    "a cancellation": (
        (CANCEL, {"subscription_id": 201}),
        ("CANCEL subscription 201", '"Studio Circle"', "Ada Moreno", "price 49.00"),
    ),
    "a new address": (
        (EDIT, {"lead_id": 48110, "new_email": "ada.moreno.of.the.studio@example.org"}),
        ("-> ada.moreno.of.the.studio@example.org", "lead 48110"),
    ),
    "a revocation": (
        (REVOKE, {"lead_id": 48110, "membership_name": "Studio Circle"}),
        ('membership name "Studio Circle"', "Ada Moreno"),
    ),
    "a tag": (
        ("kartra_unassign_tag", {"lead_id": 48110, "tag_name": "VIP"}),
        ("lead 48110", "Ada Moreno", 'tag name "VIP"'),
    ),
    "a list": (
        ("kartra_unsubscribe_lead_from_list", {"lead_id": 48110, "list_name": "Weekly Letter"}),
        ("lead 48110", "Ada Moreno", 'list name "Weekly Letter"'),
    ),
}


async def preview(client: Any, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = await call(client, tool, **arguments)
    assert answer.code == "confirmation_required", answer.text
    return answer.error["confirmation"]


async def test_every_summary_names_account_person_object_and_change(tmp_path):
    """Each edit of a subscription had one and the same line, with the present date."""
    lines: list[str] = []
    async with connect(sandbox(tmp_path, **PREVIEW), "legacy") as client:
        for (tool, arguments), words in SHOWN.values():
            line = (await preview(client, tool, arguments))["summary"]
            assert line.startswith("SANDBOX ")
            assert len(line) <= SUMMARY
            assert [word for word in words if word not in line] == [], line
            if tool == WRITE:
                assert any(name in line for name in ('"Ada', '"Clara', '"')), line
            lines.append(line)
    assert len(set(lines)) == len(lines)


BOOKING = {
    "lead_id": 48129,
    "calendar_name": "Consultation",
    "class_name": "Intro call",
    "starting_date": "01 Dec 2035",
    "starting_hour": "10:00",
}
ALL_GATED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "calendar_subscribe": (
        BOOKING,
        ('"calendar_subscribe" on lead 48129', 'date "01 Dec 2035"', "hour 10:00", "Intro"),
    ),
    "calendar_cancel": (
        {"lead_id": 48110, "calendar_name": "Live critique", "class_name": "Tuesday evening"},
        ('"calendar_cancel" on lead 48110', "Live critique", "Tuesday evening"),
    ),
    "create_custom_field": (
        {"custom_field_identifier": "shoe_size", "custom_field_type": "input_field"},
        ('RUN "create_custom_field" custom field identifier "shoe_size"', '"input_field"'),
    ),
}


@pytest.mark.parametrize("command", ALL_GATED)
async def test_the_operation_and_its_date_are_never_cut(tmp_path, command):
    """Bug: `RUN "calen..." … date "01 De..."`; a new field was "NOT READ … what is not named"."""
    given, words = ALL_GATED[command]
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[tools."kartra_{command}"]\ngate = "preview"\n')
    async with connect(sandbox(tmp_path / "state", POLICY=str(policy)), "legacy") as client:
        line = (await preview(client, f"kartra_{command}", given))["summary"]
    assert [word for word in words if word not in line] == [], line
    assert len(line) <= SUMMARY


async def test_no_preview_shows_a_zero_date(tmp_path):
    async with connect(sandbox(tmp_path, **PREVIEW), "legacy") as client:
        shown = await preview(client, CANCEL, {"subscription_id": 202})
    assert "0000-00-00" not in str(shown)
    assert "N/A" not in str(shown)


async def test_a_summary_names_the_connection(tmp_path):
    place = StandIn(tmp_path, {"GATE_DESTRUCTIVE": "preview"})
    plan = healthy(action("unassign-tag"))
    plan["connection list"]["out"]["items"][0]["name"] = "Main shop"
    place.plan(**plan)
    async with connect(place, "legacy") as client:
        shown = await preview(client, "kartra_unassign_tag", {"email": "a@b.co", "tag_name": "VIP"})
    assert shown["summary"].startswith('"Main shop" ')


async def test_the_form_the_page_the_terminal_and_the_model_show_the_same_facts(tmp_path):
    """The form showed a Python dict, and each place its own selection."""
    calls = [SHOWN["another price"][0], SHOWN["a revocation"][0], SHOWN["a new address"][0]]
    calls.append((REFUND, {"transaction_id": 105, "refund_amount": 20}))
    person = Person(action="decline")
    async with connect(sandbox(tmp_path / "a", **PREVIEW), "legacy") as client:
        models = [await preview(client, tool, given) for tool, given in calls]
    place = sandbox(tmp_path / "b", **PREVIEW)
    async with connect(place, "legacy", elicitation_callback=person) as client:
        for tool, given in calls:
            assert (await call(client, tool, **given)).code == "declined"
    human = {"GATE_DESTRUCTIVE": "human", "GATE_IRREVERSIBLE": "human", "APPROVAL": "outside"}
    place = sandbox(tmp_path / "c", **human)
    async with connect(place, "legacy") as client:
        for tool, given in calls:
            assert (await call(client, tool, **given)).code == "approval_required"
    listed = run(["approve", "--json"], env=place.environment).stdout
    with closing(open_ledger(ledger_folder(place))) as ledger:
        cards = [make_card(one, 0.0) for one in ledger.approvals.list_pending()]
    assert len(models) == len(person.asked) == len(cards)
    for model, form, card in zip(models, person.asked, cards, strict=True):
        places = {
            "form": form.message,
            "page": " ".join(str(fact) for fact in card.facts) + card.effect + card.undo,
            "terminal": listed,
        }
        lines = (form.message.splitlines()[0], model["summary"], card.summary)
        assert len({re.sub(r"\d\d:\d\d:\d\d", "", line) for line in lines}) == 1
        for name, value in model["facts"].items():
            assert isinstance(value, str | list), name
            texts = value if isinstance(value, list) else [value]
            lost = [
                w for w, shown in places.items() for t in texts if t.lower() not in shown.lower()
            ]
            assert name in {"date", "next_payment"} or lost == [], (name, value, lost)
        assert "{" not in form.message


@pytest.mark.parametrize(
    ("tool", "given", "field"),
    [
        (REFUND, {"transaction_id": 101}, "amount"),
        (CANCEL, {"subscription_id": 201}, "id"),
        ("kartra_unassign_tag", {"email": "ada@example.com", "tag_name": "VIP"}, "address"),
    ],
)
async def test_the_typed_field_is_named_by_what_is_typed(tmp_path, tool, given, field):
    person = Person(action="decline")
    human = {"GATE_DESTRUCTIVE": "human", "GATE_IRREVERSIBLE": "human"}
    async with connect(sandbox(tmp_path, **human), "legacy", elicitation_callback=person) as client:
        await call(client, tool, **given)
    assert set(person.asked[0].requested_schema["properties"]) == {"confirm", field}


async def test_a_client_that_still_answers_with_amount_is_understood(tmp_path):
    person = Person(amount="201")
    human = {"GATE_IRREVERSIBLE": "human"}
    async with connect(sandbox(tmp_path, **human), "legacy", elicitation_callback=person) as client:
        done = await call(client, CANCEL, subscription_id=201)
    assert not done.failed, done.text


def tagging(lead: Any, tag: str, tool: str = "kartra_unassign_tag") -> Call:
    given = {"lead_id": lead, "tag_name": tag}
    made = ValidatedCall(
        tool,
        "Unassign Tag",
        Action("id", "unassign-tag", "Unassign Tag"),
        Risk.DESTRUCTIVE,
        frozenset(),
        (Command("unassign_tag", given),),
        given,
    )
    return decide_call(made, Policy())


async def line_of(wanted: Call) -> str:
    async def read(_: Command) -> Any:
        return {"lead_details": {"id": "1", "email": "a@b.co"}}

    return make_summary(wanted, await read_facts(wanted, read), account="Shop", sandbox=False)


TRICKY = ["VIP", "vip", "VIP ", "VI P", 'V"P', "V'P", "a" * 40, "a" * 41, "名", "前", "é", "e", "1"]


async def test_different_calls_have_different_summaries():
    calls = [tagging(lead, tag) for lead in (1, 48110) for tag in TRICKY]
    calls.append(tagging(1, "VIP", "kartra_unassign_tag_a1b2c3"))
    lines = [await line_of(one) for one in calls]
    assert len(set(lines)) == len(lines)
    assert not re.search(r"#[0-9a-f]{6}$", lines[0]), "an exact line needs no digest"


@given(st.text(max_size=200), st.text(max_size=200))
async def test_no_two_tags_share_a_summary(one, other):
    first, second = await line_of(tagging(1, one)), await line_of(tagging(1, other))
    assert (first == second) == (one == other)
    assert len(first) <= SUMMARY
    assert first.isascii()


async def test_amounts_and_ids_are_never_cut(tmp_path: Path):
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        await twice(client, REFUND, transaction_id=105, refund_amount=1)
        place.rows("UPDATE leads SET first_name = ?", "Maximiliana " * 9)
        place.rows("UPDATE products SET name = ?", "A very long product name " * 9)
        given = {"transaction_id": 105, "refund_amount": 123.45, "repeat": True}
        shown = await preview(client, REFUND, given)
    assert shown["summary"].startswith("SANDBOX REFUND AGAIN PARTIAL 123.45 transaction 105 ")
    assert re.search(r'dated "\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"', shown["summary"])
