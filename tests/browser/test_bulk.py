"""Bulk runs in a real browser: progress without a reload, cancellation, accessibility."""

from __future__ import annotations

import pytest
from bulk_account import CREATE, RUN, bulk_id, new_leads
from consent_actors import changed
from playwright.sync_api import expect
from visiting import judged, looks, violations


@pytest.fixture(autouse=True)
def one_at_a_time(place) -> None:
    """Run items in order, so that three failures in a row pause a run."""
    place.settings["MAX_CHILDREN"] = "1"


@pytest.fixture
def paused(place, chat) -> str:
    """The id of a run that paused after three failures, with three items left."""
    place.arrange("fault", "set", "create_lead", "244", "--times=3")
    preview = chat.call(RUN, tool=CREATE, items=new_leads(6))
    asked = preview.error["confirmation"]
    agreed = {"confirmation_id": asked["id"], "confirmation_summary": asked["summary"]}
    chat.call(RUN, bulk_id=bulk_id(preview), confirm=True, **agreed)
    return bulk_id(preview)


def test_a_run_shows_its_progress_without_a_reload(served, chat, paused, visit):
    person = visit(served.address)
    page = person.see(f"/bulk/{paused}")
    expect(page.locator("#run-progress .state")).to_have_text("Paused")
    expect(page.locator("#run-failed tbody tr")).to_have_count(3)
    page.evaluate("window.before = true")
    chat.call(RUN, bulk_id=paused)
    expect(page.locator("#run-progress .state")).to_have_text("Done")
    expect(page.locator("[data-fact=succeeded] dd")).to_have_text("3")
    expect(page.locator("#run-cancel form")).to_have_count(0)
    expect(page.locator("#arrivals")).to_contain_text("Bulk run: Done.")
    assert page.evaluate("window.before")


def test_a_new_run_appears_in_the_list_without_a_reload(served, chat, visit):
    person = visit(served.address)
    page = person.see("/bulk")
    expect(page.locator("#runs")).to_contain_text("No bulk runs yet.")
    preview = chat.call(RUN, tool=CREATE, items=new_leads(2))
    row = page.locator(f"tr[data-bulk={bulk_id(preview)}]")
    expect(row).to_contain_text("Waiting for consent")


def test_an_opened_form_stays_open_while_the_progress_changes(served, paused, visit, place):
    person = visit(served.address)
    page = person.see(f"/bulk/{paused}")
    page.locator("#run-cancel summary").click()
    yes = page.get_by_role("button", name="Yes, cancel the bulk run")
    yes.focus()
    changed(place, "UPDATE bulk_runs SET why = 'another reason'")
    expect(page.locator("#run-progress")).to_contain_text("another reason")
    expect(yes).to_be_visible()
    expect(yes).to_be_focused()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_person_cancels_a_run(served, paused, visit, scripts):
    person = visit(served.address, java_script_enabled=scripts)
    page = person.see(f"/bulk/{paused}")
    yes = page.get_by_role("button", name="Yes, cancel the bulk run")
    expect(yes).to_be_hidden()
    page.locator("#run-cancel summary").click()
    yes.click()
    expect(page.get_by_role("status").first).to_contain_text("The bulk run was cancelled")
    expect(page.locator("#run-progress .state")).to_have_text("Cancelled")


@pytest.mark.usefixtures("axe")
def test_axe_finds_nothing_in_bulk_runs_and_nothing_stands_out(served, paused, visit):
    person = visit(served.address)
    for path in ("/bulk", f"/bulk/{paused}", f"/bulk/{paused}/items?state=failed"):
        page = person.see(path)
        assert judged(page) == [], path
        over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert [look for look in looks(page) if page.evaluate(over)] == [], path


@pytest.mark.usefixtures("axe")
def test_axe_finds_nothing_in_the_card_of_a_bulk_run(served, chat, visit):
    items = [{"transaction_id": number} for number in (101, 102)]
    answer = chat.call(RUN, tool="kartra_refund_transaction", items=items)
    assert answer.code == "approval_required"
    person = visit(served.address)
    expect(person.card(1)).to_contain_text("Refund transaction: 2 items")
    assert judged(person.page) == []
    assert violations(person.see(f"/bulk/{bulk_id(answer)}")) == []
