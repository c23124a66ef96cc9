"""Kartra's rules as tables: request, and the type of the error."""

from typing import Any

import pytest

from kartra_mcp.sandbox.kartra import api, fault_injection
from kartra_mcp.sandbox.kartra.errors import MESSAGES, TooManyRequestsError
from kartra_mcp.sandbox.store.database import Account

ADA = {"id": 48110}
CALENDAR = {"calendar_name": "Live critique", "class_name": "Tuesday evening"}

SATURDAY = {"calendar_name": "Live critique", "class_name": "Saturday morning"}


def act(cmd: str, lead: Any = None, **parameters: Any) -> dict[str, Any]:
    return {"lead": lead, "actions": [{"cmd": cmd, **parameters}]}


def ada(cmd: str, **parameters: Any) -> dict[str, Any]:
    return act(cmd, ADA, **parameters)


def edit(subscription: int = 201, **parameters: Any) -> dict[str, Any]:
    return act("edit_subscription", subscription_id=subscription, **parameters)


def status(subscription: int, wanted: str) -> dict[str, Any]:
    return act(
        "modify_subscription_status",
        subscription_id=subscription,
        subscription_status_modification=wanted,
    )


def field(name: str = "size", kind: str = "drop_down", **parameters: Any) -> dict[str, Any]:
    return act(
        "create_custom_field", custom_field_identifier=name, custom_field_type=kind, **parameters
    )


def custom(value: Any) -> dict[str, Any]:
    return act("edit_lead", {**ADA, "custom_fields": value})


STATE: list[tuple[str, dict[str, Any]]] = [
    ("206", act("assign_tag", tag_name="VIP")),
    ("206", act("assign_tag", {"email": ""}, tag_name="VIP")),
    ("206", {"get_lead": {"phone": "1"}}),
    ("223", act("assign_tag", "ada@example.com", tag_name="VIP")),
    ("224", {}),
    ("224", {"actions": "retrieve_account_tags"}),
    ("224", {"actions": []}),
    ("224", {"lead": ADA, "actions": [{"cmd": "assign_tag"}, {"cmd": "edit_lead"}]}),
    ("236", {"get_lead": "ada@example.com"}),
    ("254", {"lead": ADA, "actions": [{"tag_name": "VIP"}]}),
    ("254", {"lead": ADA, "actions": ["assign_tag"]}),
    ("262", ada("delete_lead")),
    ("262", act("Refund_Transaction", transaction_id=101)),
    ("207", ada("subscribe_lead_to_list")),
    ("231", ada("subscribe_lead_to_list", list_name="No such list")),
    ("208", ada("unsubscribe_lead_from_list", list_name="")),
    ("209", ada("unsubscribe_lead_from_list", list_name="No such list")),
    ("211", ada("assign_tag", tag_name=" ")),
    ("212", ada("assign_tag", tag_name="No such tag")),
    ("213", ada("unassign_tag")),
    ("214", ada("unassign_tag", tag_name="No such tag")),
    ("215", ada("give_points_to_lead")),
    ("227", ada("give_points_to_lead", points="many")),
    ("217", ada("remove_points_from_lead", points="")),
    ("228", ada("remove_points_from_lead", points="1.5")),
    ("226", ada("subscribe_lead_to_sequence_at_step", step="1")),
    ("219", ada("subscribe_lead_to_sequence_at_step", sequence_name="None", step="1")),
    ("225", ada("subscribe_lead_to_sequence_at_step", sequence_name="Welcome")),
    ("229", ada("subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1-2")),
    ("230", ada("subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="99")),
    ("226", ada("unsubscribe_lead_from_sequence")),
    ("220", ada("unsubscribe_lead_from_sequence", sequence_name="None")),
    ("234", {"get_lead": {"email": "nobody@example.com"}}),
    ("243", act("search_lead", {"email": "nobody@example.com"})),
    ("243", act("edit_lead", {"id": "1"})),
    ("243", act("assign_tag", {"id": "abc"}, tag_name="VIP")),
    ("244", act("create_lead", {"email": "ADA@example.com"})),
    ("244", act("edit_lead", {**ADA, "new_email": "bela@example.com"})),
    ("245", {"get_lead": {"id": 48127}}),
    ("245", act("search_lead", {"email": "gone@example.org"})),
    ("245", act("create_lead", {"email": "gone@example.org"})),
    ("247", act("search_transaction", transaction_id=1)),
    ("247", act("get_transaction_details")),
    ("247", act("refund_transaction", transaction_id="101; drop")),
    ("248", act("search_subscription", subscription_id=1)),
    ("248", act("get_subscription_details", subscription_id="")),
    ("248", act("cancel_transaction")),
    ("248", act("cancel_transaction", transaction_internal_subscription_id=1)),
    ("248", edit(1, subscription_amount=10)),
    ("248", status(1, "pause")),
    ("249", act("cancel_transaction", transaction_id=101)),
    ("250", act("refund_transaction", transaction_id=104)),
    ("251", act("refund_transaction", transaction_id=103)),
    ("251", act("refund_transaction", transaction_id=103, refund_amount=1)),
    ("252", act("cancel_transaction", transaction_internal_subscription_id=203)),
    ("252", status(203, "cancel")),
    ("253", act("refund_transaction", transaction_id=106)),
    ("253", act("refund_transaction", transaction_id=108)),
    ("253", act("refund_transaction", transaction_id=109)),
    ("253", act("refund_transaction", transaction_id=143)),
    ("253", act("cancel_transaction", transaction_id=106)),
    ("253", act("cancel_transaction", transaction_id=109)),
    ("268", act("refund_transaction", transaction_id=101, refund_amount=97.01)),
    ("268", act("refund_transaction", transaction_id=101, refund_amount=0)),
    ("268", act("refund_transaction", transaction_id=101, refund_amount="-5")),
    ("268", act("refund_transaction", transaction_id=101, refund_amount="nan")),
    ("268", act("refund_transaction", transaction_id=101, refund_amount="all")),
    ("268", act("refund_transaction", transaction_id=101, refund_amount=False)),
    ("268", act("refund_transaction", transaction_id=101, refund_amount="1.005")),
    ("268", act("refund_transaction", transaction_id=105, refund_amount=200.01)),
    ("268", edit(subscription_amount="cheap")),
    ("255", ada("calendar_subscribe", class_name="Tuesday evening")),
    ("256", ada("calendar_cancel", calendar_name="Live critique")),
    ("257", ada("calendar_subscribe", calendar_name="None", class_name="None")),
    ("258", ada("calendar_cancel", calendar_name="Live critique", class_name="None")),
    ("259", act("calendar_cancel", {"id": 48101}, **CALENDAR)),
    ("259", act("calendar_cancel", {"id": 48109}, **SATURDAY)),
    ("260", ada("calendar_subscribe", **CALENDAR, starting_date="2030-01-01", starting_hour="9")),
    ("260", ada("calendar_subscribe", **CALENDAR, starting_date="01 Jan 2030")),
    ("261", ada("calendar_subscribe", **CALENDAR, starting_date="1 Jan 2020", starting_hour="9:0")),
    ("260", edit(subscription_next_payment_date="tomorrow")),
    ("261", edit(subscription_next_payment_date="2020-01-01 10:00")),
    ("263", field("shoe size")),
    ("264", field("Birthday")),
    ("265", field("")),
    ("269", field(kind="slider")),
    ("270", field()),
    ("272", field(custom_field_options=[{"option_name": "S"}, {"option_name": ""}])),
    ("273", field(custom_field_options=[{"option_name": "S"}])),
    ("271", custom("studio_name=x")),
    ("271", custom([{"field_value": "x"}])),
    ("271", custom([{"field_identifier": "favourite_medium", "field_value": "Oil"}])),
    ("271", custom([{"field_identifier": "favourite_medium", "field_value": [701]}])),
    ("271", custom([{"field_identifier": "interests", "field_value": 721}])),
    ("271", custom([{"field_identifier": "studio_name", "field_value": ["x"]}])),
    ("274", status(201, "destroy")),
    ("274", status(201, "unpause")),
    ("275", status(204, "pause")),
    ("275", status(204, "cancel")),
    ("275", edit(203, subscription_amount=10)),
    ("276", edit(subscription_product_quantity=10_000)),
    ("277", edit(subscription_amount="0.99")),
    ("278", edit(subscription_product_quantity="two")),
    ("278", edit(subscription_tax_percent="low")),
    ("280", edit(subscription_recurrence={"recurring_period_1": "daily"})),
    ("280", edit(subscription_recurrence="monthly")),
    ("281", edit(208, subscription_recurrence={"recurring_period_1": "monthly"})),
    ("282", edit(subscription_installments_left=0)),
    ("283", edit(subscription_product_id=302)),
    ("283", edit(subscription_product_id=302, subscription_price_point=9)),
    ("284", edit(205, subscription_amount=10)),
    ("284", status(205, "pause")),
    ("285", edit()),
    ("290", edit(subscription_tax_percent=101)),
]  # fmt: skip

OUTSIDE = ["201", "202", "203", "204", "233", "238", "239", "240", "242", "266", "267"]


def refusals(answer: dict[str, Any]) -> list[str]:
    """Return every type in an answer, at the top and under each command."""
    parts = [answer, *(part for action in answer.get("actions", []) for part in action.values())]
    return [str(part["type"]) for part in parts if part["status"] == "Error"]


@pytest.mark.parametrize(("kind", "body"), STATE)
def test_the_account_itself_gives_rise_to_the_refusal_and_stays_as_it_was(
    account: Account, kind: str, body: dict[str, Any]
):
    before = account.digest()
    with account.transaction():
        answer = api.answer(account, body)
    assert refusals(answer) == [kind]
    assert account.digest() == before


def test_every_known_type_can_be_produced():
    assert {kind for kind, _ in STATE} | set(OUTSIDE) == set(MESSAGES)


@pytest.mark.parametrize("kind", sorted(MESSAGES))
def test_a_switch_produces_any_type_once_and_nothing_is_done(account: Account, kind: str):
    body = act("refund_transaction", transaction_id=101)
    before = account.digest()
    with account.transaction():
        fault_injection.set_fault(account, "refund_transaction", kind, 1)
        assert refusals(api.answer(account, body)) == [kind]
        assert account.digest() == before
        assert refusals(api.answer(account, body)) == []


def test_a_failed_refund_may_have_moved_the_money_all_the_same(account: Account, ask: Any):
    fault_injection.set_fault(account, "refund_transaction", "266", 1, effect=True)
    assert ask("refund_transaction", transaction_id=101)["type"] == "266"
    assert ask("refund_transaction", transaction_id=101)["type"] == "251"


def test_a_switch_counts_down_and_the_star_means_every_command(account: Account, ask: Any):
    fault_injection.set_fault(account, "*", "262", 2)
    assert ask("retrieve_account_tags")["type"] == "262"
    assert ask("search_transaction", transaction_id=101)["type"] == "262"
    assert ask("search_transaction", transaction_id=101)["status"] == "Success"


def test_the_rate_limit_has_no_envelope(account: Account):
    fault_injection.set_fault(account, "get_lead", "429", 1)
    with pytest.raises(TooManyRequestsError):
        api.answer(account, {"get_lead": ADA})


def test_one_refusal_carries_its_type_as_a_number(ask: Any):
    found = ask(
        "modify_subscription_status", subscription_id=201, subscription_status_modification=""
    )
    assert found["type"] == 274
