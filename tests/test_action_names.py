"""Risk of actions that are not in the table, by labelled names; the next sibling is one row."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kartra_mcp.core.models import Action, Risk
from kartra_mcp.kartra import action_words
from kartra_mcp.kartra.commands import READ_TYPES, TYPE_RISKS
from kartra_mcp.policy import risk as policy_risk

READ, WRITE, DESTRUCTIVE, IRREVERSIBLE = Risk
EVERY_TYPE = ["", "run-javascript", "connector-operation", *sorted(READ_TYPES), *TYPE_RISKS]

# Names whose effect cannot be taken back, whatever type Membrane gives them.
IRREVERSIBLE_NAMES = """
    create-payment capture-payment pay-affiliate-commission refund-order issue-refund refundOrder
    create-refund partial-refund process-refund send-payout create-payout make-payment charge-card
    chargeCustomer recharge-card create-charge transfer-funds create-transfer purchase-domain
    buy-number void-invoice voidTransaction credit-account issue-credit create-credit top-up-balance
    topup-wallet accept-dispute pay-invoice payout-partner destroy-lead purge-list wipe-account
    erase-contact cancelBooking cancel-order cancel-membership cancel-plan create-autorefund
    get-and-refund-order find-and-charge-customer confirm-payment submit-payment retry-payment
    approve-refund initiate-transfer execute-payout schedule-payment void-coupon release-payment
    bulk-refund auto-refund reimburse-expense withdraw-funds disburse-loan send-payment
    delete-lead-permanently permanently-remove-user bill-customer debit-account redeem-credit
    add-funds send-money move-money release-funds create-deposit create-donation create-rebill
    hard-delete-lead anonymize-contact forget-lead
""".split()  # noqa: SIM905  a table that is read as words

# Names that remove, end or replace something, or whose verb is unknown.
DESTRUCTIVE_NAMES = """
    archive-lead terminate-membership merge-leads delete-lead leadDelete remove-tag revokeAccess
    replace-contact overwrite-record close-ticket unenroll-lead unarchive-lead uncancel-subscription
    unsubscribe-contact frobnicate send-broadcast find-or-create-lead get-or-create-contact
    search-and-replace get-and-send fetch-and-delete deactivate-user suspend-account disable-product
    get-and-remove-tag find-or-update-person update-subscription edit-price set-plan
    set-unsubscribed update-lead-remove-tags create-or-replace-list upsert-and-merge-contact
    notify-customer invite-user import-contacts cancel-job cancel-import cancel-workflow run-query
    add-and-delete-tag update-payment set-owner edit-permissions move-deal sync-contacts
    get-contact-then-archive products-get avoid-lead gets-products create-transaction add-fee
    create-sale set-void update-status-to-refunded
""".split()  # noqa: SIM905  a table that is read as words

# Names of reads. Their nouns may sound dangerous.
READ_NAMES = """
    get-refund list-refunds list-charges get-charge get-payout list-payouts search-transfers
    get-payment find-payment retrieve-credit list-unsubscribed-contacts list-units
    get-unit get-cancellation-reason list-cancelled-orders get-deleted-lead list-voided-invoices
    get-merge-status find-archived-deals get-subscription list-subscriptions search-leads
    get-campaign list-campaigns get-email list-messages lookup-coupon fetch-invoices read-balance
    count-orders view-order show-invoice get-purchase-history list-top-up-packages getAPIRefund
    list-disputes get-removed-users list-terms-and-conditions get-orders-and-invoices
    search-contacts-or-companies find-lead-by-email get-delete-request describe-lead
""".split()  # noqa: SIM905  a table that is read as words

# Names that create or edit a record of the account.
WRITE_NAMES = """
    create-product add-note insert-row update-contact edit-page upsert-contact set-custom-field
    create-tag addContact updateDeal create-company create-form add-comment
""".split()  # noqa: SIM905  a table that is read as words

SENDING_NAMES = """
    send-broadcast broadcast-message email-lead mail-report send-sms message-contact notify-customer
    invite-user create-campaign start-campaign send-refund-email resend-invitation
""".split()  # noqa: SIM905  a table that is read as words


def risk_of(key: str, kind: str, *, name: str = "", method: str = "", text: str = "") -> Risk:
    found = Action("a1", key, name, description=text, type=kind, method=method)
    assert policy_risk.max_risk(found) is policy_risk.call_risk(found, {"id": 1})
    return policy_risk.max_risk(found)


@pytest.mark.parametrize("key", IRREVERSIBLE_NAMES)
def test_an_irreversible_name_is_irreversible_whatever_its_type(key: str):
    assert {risk_of(key, kind) for kind in EVERY_TYPE} == {IRREVERSIBLE}
    assert {risk_of("", kind, name=key) for kind in EVERY_TYPE} == {IRREVERSIBLE}


@pytest.mark.parametrize("key", DESTRUCTIVE_NAMES)
def test_a_destructive_name_never_runs_unasked_whatever_its_type(key: str):
    assert min(risk_of(key, kind) for kind in EVERY_TYPE) >= DESTRUCTIVE
    assert min(risk_of(key, kind, method="GET") for kind in EVERY_TYPE) >= DESTRUCTIVE


@pytest.mark.parametrize("key", DESTRUCTIVE_NAMES)
def test_a_destructive_name_is_not_called_irreversible(key: str):
    assert risk_of(key, "") is DESTRUCTIVE


@pytest.mark.parametrize("key", READ_NAMES)
def test_a_reading_name_reads_with_a_reading_type_or_the_method_get(key: str):
    assert {risk_of(key, kind) for kind in READ_TYPES} == {READ}
    assert risk_of(key, "api-request-to-external-app", method="GET") is READ
    assert risk_of("", "list-data-records", name=key) is READ


@pytest.mark.parametrize("key", READ_NAMES)
def test_a_reading_name_without_type_and_method_is_destructive(key: str):
    assert risk_of(key, "") is DESTRUCTIVE
    assert risk_of(key, "run-javascript", method="POST") is DESTRUCTIVE


@pytest.mark.parametrize("key", WRITE_NAMES)
def test_an_editing_name_is_a_write_only_with_an_editing_type(key: str):
    assert risk_of(key, "create-data-record") is WRITE
    assert risk_of(key, "update-data-record") is WRITE
    assert risk_of(key, "") is DESTRUCTIVE
    assert risk_of(key, "list-data-records") is DESTRUCTIVE
    assert risk_of(key, "delete-data-record") is DESTRUCTIVE


CONTRADICTIONS: Mapping[str, tuple[str, str, str, Risk]] = {
    "a read's key, a deleting name": (
        "get-lead",
        "Delete Lead Permanently",
        "find-data-record-by-id",
        IRREVERSIBLE,
    ),
    "a read's key, a name that deletes": ("get-lead", "Delete lead", "", DESTRUCTIVE),
    "an unknown read, a name that pays": (
        "get-order",
        "Pay order",
        "list-data-records",
        IRREVERSIBLE,
    ),
    "an unknown read, a slash in its name": (
        "search-lead-2",
        "Find / Create Lead",
        "search-data-record",
        DESTRUCTIVE,
    ),
    "an unknown read, a name without a verb": ("get-order", "Order", "list-data-records", READ),
    "a known read, a name without a verb": ("get-lead", "Lead details", "", READ),
    "a read's key, the published name of a refund": (
        "get-lead",
        "Refund Transaction",
        "find-data-record-by-id",
        IRREVERSIBLE,
    ),
    "a read's key, the published name of another write": ("get-lead", "Assign Tag", "", WRITE),
    "a key and its own published name": ("assign-tag", "Assign Tag", "", WRITE),
    "an unknown key with a published name": ("custom-7", "Refund Transaction", "", IRREVERSIBLE),
    "a paying key, a read's name": ("pay-order", "Get lead", "list-data-records", IRREVERSIBLE),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_key_and_a_name_that_contradict_each_other_have_the_higher_risk(case: str):
    key, name, kind, risk = CONTRADICTIONS[case]
    assert risk_of(key, kind, name=name) is risk


@pytest.mark.parametrize(
    "text", ["Permanently removes it.", "This cannot be undone.", "It can't be undone later"]
)
@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_a_description_of_an_effect_that_stays_makes_an_action_irreversible(kind: str, text: str):
    assert risk_of("update-lead-x", kind, text=text) is IRREVERSIBLE


@pytest.mark.parametrize("key", SENDING_NAMES)
def test_a_name_that_sends_counts_as_mail(key: str):
    assert action_words.sends(key)


@pytest.mark.parametrize("key", ["get-email", "list-campaigns", "search-messages", "archive-lead"])
def test_a_name_that_sends_nothing_does_not_count_as_mail(key: str):
    assert not action_words.sends(key)


ADDING: Mapping[str, bool] = {
    "delete-lead": False,
    "untag-lead": False,
    "bulk-lead": True,
    "set-lead": False,
    "purge-lead": False,
    "create-lead": True,
    "frobnicate": True,
    "": True,
    "update-and-create-lead": True,
    "update-and-delete-lead": False,
    "set-mail": True,
    "update-card+create-lead": True,
    "confirm-payment": True,
}


@pytest.mark.parametrize("key", ADDING)
def test_an_operation_adds_unless_each_verb_only_sets_a_state(key: str):
    action_words.adds.cache_clear()  # so that the rule is asked, not an earlier answer
    action_words.verbs_of.cache_clear()
    assert action_words.adds(key) is ADDING[key]
