"""Effects of each command on the account, and the envelope of its answer."""

from typing import Any

import pytest

from kartra_mcp.sandbox.kartra import api
from kartra_mcp.sandbox.store.database import Account

ADA = {"email": "ada@example.com"}


def names(entries: list[dict[str, Any]], key: str) -> set[str]:
    return {entry[key] for entry in entries}


@pytest.mark.parametrize(
    ("cmd", "key"),
    [
        ("retrieve_account_tags", "account_tags"),
        ("retrieve_account_lists", "account_lists"),
        ("retrieve_account_sequences", "account_sequences"),
        ("retrieve_account_pages", "account_pages"),
        ("retrieve_custom_fields", "custom_fields"),
    ],
)
def test_the_accounts_data_is_at_the_top_of_the_envelope(ask: Any, cmd: str, key: str):
    answer = ask(cmd)
    assert answer["status"] == "Success"
    assert len(answer[key]) > 3


def test_there_are_29_commands():
    assert len(api.COMMANDS) + len(api.OF_THE_ACCOUNT) == 29


def test_a_lead_is_printed_with_ids_as_text_and_every_custom_field(look: Any):
    lead = look(**ADA)
    assert lead["id"] == "48110"
    assert lead["score"] == 125
    assert len(lead["custom_fields"]) == 6
    assert {"membership_id", "name", "level_id", "level_name", "active"} == set(
        lead["memberships"][0]
    )
    assert lead["memberships"][0]["active"] == "1"
    assert lead["lead_deleted_date"] == "0000-00-00 00:00:00"


def test_an_id_wins_over_an_address(look: Any):
    assert look(id="48101", email="ada@example.com")["first_name"] == "Bela"


def test_the_account_contains_hostile_text(look: Any):
    assert "refund" in look(id=48113)["notes"]
    assert "\u202e" in look(id=48121)["first_name"]


def test_tags_come_and_go(ask: Any, look: Any):
    assert ask("assign_tag", ADA, tag_name="Spring retreat")["type"] == "103"
    assert "Spring retreat" in names(look(**ADA)["tags"], "tag_name")
    assert ask("unassign_tag", ADA, tag_name="Spring retreat")["type"] == "104"
    assert ask("unassign_tag", ADA, tag_name="Spring retreat")["status"] == "Success"
    assert "Spring retreat" not in names(look(**ADA)["tags"], "tag_name")


def test_a_list_that_was_left_stays_with_active_0(ask: Any, look: Any):
    assert ask("unsubscribe_lead_from_list", ADA, list_name="Weekly Letter")["type"] == "101"
    assert {one["list_name"]: one["active"] for one in look(**ADA)["lists"]}["Weekly Letter"] == 0
    assert ask("subscribe_lead_to_list", ADA, list_name="Waiting List")["type"] == "101"
    assert {one["list_name"]: one["active"] for one in look(**ADA)["lists"]}["Waiting List"] == 1


def test_sequences_are_joined_at_a_step_and_left(ask: Any, look: Any):
    joined = ask("subscribe_lead_to_sequence_at_step", ADA, sequence_name="Win-back", step="2")
    assert joined["type"] == "107"
    ask("unsubscribe_lead_from_sequence", ADA, sequence_name="Win-back")
    found = {one["sequence_name"]: one for one in look(**ADA)["sequences"]}["Win-back"]
    assert (found["step"], found["status"]) == ("2", "unsubscribed")


def test_points_add_up(ask: Any, look: Any):
    ask("give_points_to_lead", ADA, points="10", expiration=30)
    ask("remove_points_from_lead", ADA, points=5)
    assert look(**ADA)["score"] == 130


def test_a_class_is_booked_and_cancelled_once(ask: Any):
    at = {"calendar_name": "Consultation", "class_name": "Intro call"}
    booked = ask("calendar_subscribe", ADA, **at, starting_date="01 Mar 2090", starting_hour="9:30")
    assert booked["type"] == "112"
    assert ask("calendar_cancel", ADA, **at)["type"] == "113"
    assert ask("calendar_cancel", ADA, **at)["type"] == "259"


def test_a_custom_field_is_made_and_filled(ask: Any, look: Any):
    options = [{"option_name": "S"}, {"option_name": "M"}]
    made = ask(
        "create_custom_field",
        custom_field_identifier="size",
        custom_field_type="drop_down",
        custom_field_options=options,
    )
    assert made["type"] == "114"
    field = ask("retrieve_custom_fields")["custom_fields"][-1]
    option = field["field_value"][1]["option_id"]
    values = [{"field_identifier": "size", "field_value": option}]
    ask("edit_lead", {**ADA, "custom_fields": values})
    assert look(**ADA)["custom_fields"][-1]["field_value"][0]["option_value"] == "M"


def test_an_edit_changes_only_what_was_sent_and_an_empty_text_clears(ask: Any, look: Any):
    lead = {**ADA, "company": "", "new_email": "ada.moreno@example.com"}
    unknown = [{"field_identifier": "no_such_field", "field_value": "x"}]
    assert ask("edit_lead", {**lead, "custom_fields": unknown})["status"] == "Success"
    found = look(id=48110)
    assert (found["company"], found["email"], found["first_name"]) == (
        "",
        "ada.moreno@example.com",
        "Ada",
    )


def test_a_chain_makes_a_lead_and_goes_on_after_a_refusal(account: Account, look: Any):
    body = {
        "lead": {"email": "fresh@example.com", "first_name": "Fresh"},
        "actions": {
            "0": {"cmd": "create_lead"},
            "3": {"cmd": "assign_tag", "tag_name": "No such tag"},
            "7": {"cmd": "assign_tag", "tag_name": "VIP"},
            "8": {"cmd": "retrieve_account_tags"},
        },
    }
    answer = api.answer(account, body)
    assert answer["status"] == "Success"
    assert [next(iter(one.values()))["status"] for one in answer["actions"]] == [
        "Success",
        "Error",
        "Success",
    ]
    assert answer["account_tags"]
    assert names(look(email="fresh@example.com")["tags"], "tag_name") == {"VIP"}


def test_a_refused_creation_leaves_no_lead_behind(account: Account, ask: Any):
    before = account.digest()
    assert ask("create_lead", {"email": "x@example.com", "custom_fields": "x"})["type"] == "271"
    assert account.digest() == before


def test_a_refund_without_an_amount_gives_everything_back(ask: Any):
    refund = ask("refund_transaction", transaction_id="101", refund_amount="")
    details = ask("get_transaction_details", transaction_id=refund["transaction_refunded"])
    found = details["transaction_details"]
    assert found["transaction_type"] == "refund"
    assert found["transaction_full_amount"] == 97.0
    assert found["transaction_parent_id"] == "101"
    assert ask("refund_transaction", transaction_id=101)["type"] == "251"


def test_partial_refunds_add_up_to_the_whole(ask: Any):
    assert ask("refund_transaction", transaction_id=105, refund_amount="150.00")["status"]
    assert ask("refund_transaction", transaction_id=105, refund_amount=50.01)["type"] == "268"
    assert "type" not in ask("refund_transaction", transaction_id=105, refund_amount=50)
    assert ask("refund_transaction", transaction_id=105, refund_amount=1)["type"] == "251"
    rows = ask("retrieve_transactions_from_lead", {"id": 48115})["transaction_list"]
    kinds = [row["transaction_type"] for row in rows]
    assert kinds.count("partial_refund") == 2
    assert kinds.count("refund") == 1


def test_the_list_of_transactions_is_thin(ask: Any):
    row = ask("retrieve_transactions_from_lead", ADA)["transaction_list"][0]
    assert set(row) == {"transaction_id", "lead_id", "lead_email", "transaction_type"}


def test_a_cancellation_ends_charges_and_the_products_own_access(ask: Any, look: Any):
    done = ask("cancel_transaction", transaction_id=102)
    assert done["transaction_internal_subscription_id"] == "201"
    details = ask("get_subscription_details", subscription_id=201)["subscription_details"]
    assert details["subscription_status"] == "Cancelled"
    assert details["subscription_next_scheduled_payment_amount"] == "N/A"
    assert details["subscription_end_date"] != "0000-00-00 00:00:00"
    access = {one["level_id"]: one["active"] for one in look(**ADA)["memberships"]}
    assert access == {"802": "0", "811": "1"}
    again = ask("cancel_transaction", transaction_internal_subscription_id=201)
    assert again["type"] == "252"


def test_a_paypal_subscription_can_only_be_cancelled(ask: Any):
    done = ask(
        "modify_subscription_status",
        subscription_id=205,
        subscription_status_modification="cancel",
    )
    assert done["type"] == "115"


def test_a_pause_is_undone_by_its_opposite(ask: Any):
    for wanted, found in (("unpause", "Active"), ("pause", "Paused")):
        ask(
            "modify_subscription_status",
            subscription_id=202,
            subscription_status_modification=wanted,
        )
        details = ask("get_subscription_details", subscription_id=202)["subscription_details"]
        assert details["subscription_status"] == found


def test_an_edit_of_a_subscription_changes_the_next_payment(ask: Any):
    done = ask(
        "edit_subscription",
        subscription_id=206,
        subscription_amount="40.00",
        subscription_product_quantity=2,
        subscription_tax_percent=10,
        subscription_installments_left="until cancelled",
        subscription_next_payment_date="2090-01-01 08:00",
        subscription_recurrence={"recurring_period_1": "weekly", "recurring_period_2": "yearly"},
    )
    assert done["type"] == "115"
    found = ask("get_subscription_details", subscription_id=206)["subscription_details"]
    assert found["subscription_next_scheduled_payment_amount"] == 88.0
    assert found["subscription_installments_left"] == "Until cancelled"
    assert found["subscription_next_payment_date"] == "2090-01-01 08:00:00"


def test_every_state_of_a_subscription_and_every_type_of_transaction_is_there(account: Account):
    states = set(account.column("SELECT DISTINCT status FROM subscriptions"))
    assert states == {"Active", "Paused", "Cancelled", "Terminated"}
    types = set(account.column("SELECT DISTINCT type FROM transactions"))
    assert types == {
        "sale", "rebill", "refund", "partial_refund", "failed", "cancellation", "chargeback",
    }  # fmt: skip
    assert account.number("SELECT count(*) FROM transactions") >= 44
    assert account.number("SELECT count(*) FROM leads") >= 28
    strangers = account.column("SELECT email FROM leads WHERE email NOT LIKE '%@example.___'")
    assert strangers == []
