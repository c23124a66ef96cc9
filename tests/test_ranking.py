"""Plain-language intents find the tools that do them."""

import pytest
from published import ENTRIES

from benchmarks.intents import load_intents, make_actions
from kartra_mcp.catalogue.builder import build_catalogue
from kartra_mcp.catalogue.ranking import Index
from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.commands import PUBLISHED_KEYS

INTENTS = {
    "give the customer their money back": ["refund-transaction"],
    "Reimburse a purchase": ["refund-transaction"],
    "someone wants to stop their monthly plan": ["cancel-subscription"],
    "end the recurring billing of a client": ["cancel-subscription"],
    "label a contact as VIP": ["assign-tag"],
    "take the label off a person": ["unassign-tag"],
    "untag a lead": ["unassign-tag"],
    "Unlabel this contact": ["unassign-tag"],
    "put a subscriber on the newsletter": ["subscribe-lead-to-list"],
    "opt this person out of the newsletter": ["unsubscribe-lead-from-list"],
    "start the welcome drip campaign for a new customer": ["subscribe-lead-to-sequence"],
    "stop the follow-up emails of an automation for someone": ["unsubscribe-lead-from-sequence"],
    "give a customer access to the course": ["grant-membership-access"],
    "enroll somebody in the membership": ["grant-membership-access"],
    "take away someone's course access": ["revoke-membership-access"],
    "what did this person buy": ["retrieve-transactions-from-lead"],
    "show all payments of a contact": ["retrieve-transactions-from-lead"],
    "details of one order": ["get-transaction-details"],
    "how much was this sale": ["get-transaction-details"],
    "look up a customer's profile": ["get-lead"],
    "who is ada@example.com, find the contact": ["get-lead"],
    "add a new contact": ["create-lead"],
    "register a person": ["create-lead"],
    "change a customer's phone number": ["edit-lead"],
    "correct the first name of a lead": ["edit-lead"],
    "which landing pages are there": ["retrieve-account-pages"],
    "what custom fields exist": ["retrieve-account-custom-fields"],
    "show the drip campaigns": ["retrieve-account-sequences"],
    "list all labels": ["retrieve-account-tags"],
    "which newsletters do we have": ["retrieve-account-lists"],
    "refund and cancel": ["refund-transaction", "cancel-subscription"],
}


def keys(intent, **limits):
    return [entry.action.key for entry in Index.build(ENTRIES).search(intent, **limits)]


AMONG_200 = Index.build(build_catalogue(make_actions(200)).entries.values())


@pytest.mark.parametrize(("intent", "wanted"), load_intents())
def test_an_intent_finds_its_action_among_the_first_five_of_200(intent, wanted):
    assert wanted in [entry.action.key for entry in AMONG_200.search(intent, 5)]


OPPOSITES = {
    "pause a subscription": "cancel-subscription",
    "put a plan on hold": "cancel-subscription",
    "resume a subscription": "cancel-subscription",
    "undo a refund": "refund-transaction",
    "add a tag": "unassign-tag",
    "take the tag away": "assign-tag",
    "subscribe someone to the list": "unsubscribe-lead-from-list",
    "unsubscribe someone from the list": "subscribe-lead-to-list",
    "enroll a lead in a sequence": "unsubscribe-lead-from-sequence",
    "grant access to the course": "revoke-membership-access",
    "revoke access to the course": "grant-membership-access",
    "delete a lead": "create-lead",
}


@pytest.mark.parametrize(("intent", "opposite"), OPPOSITES.items())
def test_the_opposite_of_what_was_meant_is_never_found(intent, opposite):
    assert opposite not in keys(intent)


@pytest.mark.parametrize("intent", ["list all leads", "show the tags", "what did this buyer buy"])
def test_a_reading_intent_finds_no_write(intent):
    found = Index.build(ENTRIES).search(intent)

    assert found
    assert {entry.tool for entry in found if entry.risk > Risk.READ} == set()


TYPOS = {
    "refnud a transactoin": "refund-transaction",
    "cancle subscripton": "cancel-subscription",
    "asign a tga": "assign-tag",
    "unsubscibe from newslettr": "unsubscribe-lead-from-list",
    "creat a contcat": "create-lead",
}


@pytest.mark.parametrize(("intent", "wanted"), TYPOS.items())
def test_typos_find_what_was_meant(intent, wanted):
    assert keys(intent)[0] == wanted


@pytest.mark.parametrize(("intent", "wanted"), INTENTS.items())
def test_an_intent_finds_its_actions_among_the_first_three(intent, wanted):
    assert set(wanted) <= set(keys(intent)[:3]), keys(intent)[:5]


def test_the_intents_cover_all_published_actions():
    assert {key for wanted in INTENTS.values() for key in wanted} == set(PUBLISHED_KEYS)


def test_the_order_of_the_entries_does_not_matter():
    for intent in INTENTS:
        backwards = [entry.action.key for entry in Index.build(reversed(ENTRIES)).search(intent)]
        assert backwards == keys(intent)


def test_the_limit_holds_and_no_fitting_word_finds_nothing():
    assert len(keys("lead", limit=4)) == 4
    assert keys("lead", limit=0) == []
    assert keys("") == keys("the of \u202e") == keys("photosynthesis") == []


@pytest.mark.parametrize(
    "intent", ["refund", "refunds", "Refunded!", "refunding", "REFUND-it", "reimbursement"]
)
def test_endings_case_and_punctuation_do_not_matter(intent):
    assert keys(intent)[0] == "refund-transaction"


def test_words_without_a_synonym_are_searched_unchanged():
    raw = [
        {"id": "1", "key": "getWeatherReport", "name": "Weather"},
        {"id": "2", "key": "send-fax", "name": "Fax", "description": "Sends a weather fax"},
    ]
    found = Index.build(build_catalogue(raw).entries.values()).search("weather please")

    assert [entry.action.id for entry in found] == ["1", "2"]


def test_ten_thousand_entries_and_a_hostile_intent_are_ranked():
    raw = [{"id": str(n), "key": f"do-thing-{n}", "name": f"Thing {n}"} for n in range(10_000)]
    entries = list(build_catalogue(raw).entries.values())

    assert [e.action.id for e in Index.build(entries).search("thing 77", limit=1)] == ["77"]
    assert len(Index.build(entries).search("thing " + "take " * 100_000)) == 10
