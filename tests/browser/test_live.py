"""Live updates: pending approvals appear, are decided elsewhere, and cause notifications."""

from __future__ import annotations

import re
from contextlib import closing

import pytest
from consent_actors import changed, decided, events, ledger_folder
from playwright.sync_api import expect
from visiting import PIN, opened

from benchmarks import browser_session
from benchmarks.fixtures import asked
from kartra_mcp.ledger.sqlite.store import open_ledger


def test_a_new_call_appears_without_a_reload(served, chat, visit):
    person = visit(served.address)
    person.page.evaluate("window.before = true")
    assert not person.page.title().startswith("(")
    waiting = chat.refund().error["confirmation"]
    expect(person.card(waiting["number"])).to_contain_text("Watercolour Foundations")
    expect(person.page).to_have_title(re.compile(r"^\(1\) "))
    assert person.page.evaluate("window.before")
    person.decide(waiting["number"], "approve")
    expect(person.card(waiting["number"])).to_have_count(0)
    assert not chat.refund().failed


def test_the_server_gives_addresses_of_the_page_that_runs_already(served, chat):
    waiting = chat.refund().error["confirmation"]
    assert waiting["address"].startswith(served.root + "/")


def test_what_is_decided_elsewhere_leaves_the_page(served, ledger, visit):
    first, second = ledger.approvals.request(asked(1)), ledger.approvals.request(asked(2))
    person = visit(served.address)
    expect(person.page).to_have_title(re.compile(r"^\(2\) "))
    decided(ledger, first, approve=False, reason="no", who="ada")
    expect(person.card(first)).to_have_count(0)
    expect(person.card(second)).to_have_count(1)
    expect(person.page).to_have_title(re.compile(r"^\(1\) "))


def test_what_expires_leaves_the_page(place, served, ledger, visit):
    number = ledger.approvals.request(asked(1))
    person = visit(served.address)
    expect(person.card(number)).to_have_count(1)
    changed(place, "UPDATE approvals SET expires_at = ?", ledger.current_time() + 1)
    expect(person.card(number)).to_have_count(0)
    expect(person.page.locator("#cards")).to_contain_text("No pending approvals.")


def test_a_double_click_decides_once(place, served, ledger, visit):
    number = ledger.approvals.request(asked(1))
    person = visit(served.address)
    card = person.card(number)
    opened(card)
    card.locator("[name=pin]").fill(PIN)
    card.locator("button[value=approve]").dblclick()
    expect(person.page.get_by_role("status").first).to_contain_text("Approved")
    assert events(place).count("pin_right") == 1


def test_a_page_whose_process_ended_says_so(served, visit):
    person = visit(served.address)
    person.expected.append("net::ERR_")
    browser_session.ended(served.process)
    alert = person.page.get_by_role("alert")
    expect(alert).to_contain_text("kartra-mcp page", timeout=60_000)


def test_a_second_fetch_that_fails_says_so_and_the_next_that_works_takes_it_back(
    served, ledger, visit
):
    """Bug: the page showed nothing, and the browser logged an error."""
    person = visit(served.address)
    person.expected.append("net::ERR_")
    held = []

    def hold_the_first(route):
        if held:
            route.abort()
        else:
            held.append(route)

    person.page.route("**/cards", hold_the_first)
    with person.page.expect_request("**/cards"):
        ledger.approvals.request(asked(1))
    ledger.approvals.request(asked(2))
    expect(person.page).to_have_title(re.compile(r"^\(2\) "))  # it is to be fetched once more
    held[0].continue_()
    expect(person.page.locator("#offline")).to_have_count(1)
    person.page.unroute("**/cards")
    number = ledger.approvals.request(asked(3))
    expect(person.card(number)).to_have_count(1)
    expect(person.page.locator("#offline")).to_have_count(0)


def test_what_is_being_typed_stays_while_calls_arrive(served, ledger, visit):
    number = ledger.approvals.request(asked(1))
    person = visit(served.address)
    pin = person.card(number).locator("[name=pin]")
    person.card(number).locator("[name=reason]").fill("as agreed by telephone")
    pin.click()
    person.page.keyboard.type(PIN[:4])
    newer = ledger.approvals.request(asked(2))
    expect(person.card(newer)).to_have_count(1)
    person.page.keyboard.type(PIN[4:])
    expect(pin).to_be_focused()
    expect(pin).to_have_value(PIN)
    reason = person.card(number).locator("[name=reason]")
    expect(reason).to_have_value("as agreed by telephone")


def test_a_notification_tells_that_something_waits(served, ledger, visit):
    person = visit(served.address, notify=True)
    notify = person.page.locator("#notify")
    if notify.is_visible():
        notify.click()
    number = ledger.approvals.request(asked(1))
    expect(person.card(number)).to_have_count(1)
    told = person.page.evaluate("window.firstTold")
    assert "Ada" not in told, "a lock screen may show it"


@pytest.mark.parametrize("path", ["/", "/done"])
def test_what_came_while_the_page_was_loaded_is_told_too(path, served, ledger, visit):
    person = visit(served.address, notify=True)

    def asks_first(route):
        ledger.approvals.request(asked(1))
        route.continue_()

    person.page.goto("about:blank")  # the previous page must not open the event stream
    person.page.route("**/events", asks_first, times=1)
    person.see(path)
    assert "New pending approval Approve or decline number 1" in person.page.evaluate(
        "window.firstTold"
    )


def test_the_banner_without_a_pin_goes_when_one_is_chosen(place, visit):
    with (
        browser_session.served(place.environment) as page,
        closing(open_ledger(ledger_folder(place))) as kept,
    ):
        person = visit(page.address)
        banner = person.page.locator("#no-pin")
        expect(banner).to_be_visible()
        kept.pins.set(PIN, "ada")
        expect(banner).to_have_count(0)


def test_an_approval_leaves_the_page_when_a_call_used_it(chat, visit):
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    person.decide(waiting["number"], "approve")
    expect(person.page.locator("[data-unused]")).to_have_count(1)
    assert not chat.refund().failed
    expect(person.page.locator("[data-unused]")).to_have_count(0)


def test_who_refuses_notifications_is_told_what_that_means(served, visit):
    person = visit(served.address)
    person.page.add_init_script(
        """Object.defineProperty(Notification, "permission", { get: () => "denied" });"""
    )
    person.page.reload()
    expect(person.page.locator("#notified")).to_contain_text("blocks notifications")
    expect(person.page.locator("#notify")).to_be_hidden()


def test_five_hundred_can_wait(served, ledger, visit):
    numbers = [ledger.approvals.request(asked(number)) for number in range(1, 501)]
    person = visit(served.address)
    expect(person.page.locator("#cards article")).to_have_count(500)
    expect(person.page).to_have_title(re.compile(r"^\(500\) "))
    person.card(numbers[-1]).scroll_into_view_if_needed()
    person.decide(numbers[-1], "approve")
    expect(person.page.get_by_role("status").first).to_contain_text("Approved")
    expect(person.page.locator("#cards article")).to_have_count(499)
