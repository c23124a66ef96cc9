"""Accessibility: keyboard, screen reader, narrow and wide screens, no JavaScript."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from visiting import PIN, WIDE, WRONG, judged, looks, opened, tabbed, violations

from benchmarks.fixtures import asked

VIEWS = {
    "waiting": "/",
    "bulk runs": "/bulk",
    "done": "/done",
    "done, filtered": "/done?outcome=unknown",
    "done, nothing found": "/done?tool=kartra_nothing",
    "one story": "/done/int_00000000000003e7",
    "charts": "/charts",
    "status": "/status",
    "nothing there": "/nothing-there",
}


@pytest.mark.usefixtures("axe")
@pytest.mark.parametrize("path", VIEWS.values(), ids=VIEWS)
def test_axe_finds_nothing(path, months_served, visit):
    person = visit(months_served.another())
    person.expected.append("status of 404")
    assert judged(person.see(path)) == []


@pytest.mark.usefixtures("axe")
@pytest.mark.parametrize("path", ["/", "/done", "/charts"])
def test_axe_finds_nothing_where_nothing_is(path, served, visit):
    assert judged(visit(served.address).see(path)) == []


@pytest.mark.usefixtures("axe")
def test_axe_finds_nothing_in_a_refused_decision(served, ledger, visit):
    person = visit(served.address)
    number = ledger.approvals.request(asked(1))
    expect(person.card(number)).to_have_count(1)
    person.decide(number, "approve", pin="wrong")
    expect(person.page.get_by_role("alert").first).to_be_visible()
    assert violations(person.page) == []


@pytest.mark.usefixtures("axe")
def test_axe_finds_nothing_where_something_was_approved_and_attempted(served, ledger, visit):
    person = visit(served.address)
    number = ledger.approvals.request(asked(1))
    expect(person.card(number)).to_have_count(1)
    person.decide(number, "approve", reason="as agreed")
    expect(person.page.get_by_role("status").first).to_contain_text("Approved")
    for _ in range(5):
        ledger.pins.check(WRONG, "ada")
    person.page.reload()
    person.page.locator("[data-unused] summary").click()
    expect(person.page.locator("#locked")).to_be_visible()
    assert violations(person.page) == []
    assert judged(person.see("/done")) == []


@pytest.mark.usefixtures("axe")
def test_axe_finds_nothing_before_a_person_is_let_in(served, browser):
    page = browser.new_page()
    answer = page.goto(served.root)
    assert answer is not None
    assert answer.status == 401
    assert judged(page) == []
    page.close()


@pytest.mark.parametrize("path", VIEWS.values(), ids=VIEWS)
def test_nothing_stands_out_at_the_side(path, months_served, visit):
    person = visit(months_served.another())
    person.expected.append("status of 404")
    page = person.see(path)
    for look in looks(page):
        over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(over) == 0, look


def test_a_person_approves_by_keyboard_alone(served, ledger, visit):
    number = ledger.approvals.request(asked(1))
    person = visit(served.address)
    press, card = person.page.keyboard.press, person.card(number)
    press("Tab")
    skip = person.page.locator(":focus")
    expect(skip).to_have_attribute("href", "#main")
    press("Enter")
    tabbed(person, card.locator("[name=pin]"))
    person.page.keyboard.type(PIN)
    tabbed(person, card.locator("[name=reason]"))
    person.page.keyboard.type("as agreed")
    tabbed(person, card.locator("button[value=approve]"))
    press("Enter")
    expect(person.page.get_by_role("status").first).to_contain_text("Approved")
    assert ledger.approvals.get(number).state == "approved"
    assert ledger.approvals.get(number).reason == "as agreed"


@pytest.mark.parametrize("decision", ["approve", "decline"])
def test_it_works_without_javascript(decision, served, ledger, visit):
    number = ledger.approvals.request(asked(1))
    person = visit(served.address, java_script_enabled=False)
    person.decide(number, decision, reason="as agreed")
    expect(person.page.get_by_role("status").first).to_be_visible()
    assert ledger.approvals.get(number).state == f"{decision}d"
    expect(person.card(number)).to_have_count(0)
    for name in ("Bulk runs", "History", "Charts", "Status", "Pending approvals"):
        person.page.get_by_role("navigation", name="Pages", exact=True).get_by_role(
            "link", name=name
        ).click()
        expect(person.page.get_by_role("heading", level=1)).to_be_visible()


def test_every_view_has_one_heading_and_says_where_it_is(months_served, visit):
    person = visit(months_served.another())
    for path in ("/", "/bulk", "/done", "/charts", "/status"):
        page = person.see(path)
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        expect(page.locator("nav [aria-current=page]")).to_have_count(1)
        expect(page.locator("body")).to_have_attribute("data-account", "sandbox")


def test_nothing_in_the_head_moves_from_page_to_page(months_served, visit):
    person = visit(months_served.another())
    person.page.set_viewport_size(WIDE)
    places = set()
    for path in ("/", "/bulk", "/done", "/charts", "/status"):
        page = person.see(path)
        boxes = page.locator(".top .name, .top li").evaluate_all(
            "found => found.map(x => x.getBoundingClientRect()).map(box => [box.x, box.width])"
        )
        places.add(str(boxes))
    assert len(places) == 1


def test_the_ledger_is_exported_as_it_is_shown(months_served, visit):
    person = visit(months_served.another())
    page = person.see("/done?outcome=unknown")
    shown = page.locator("tr[data-intent]").count()
    with page.expect_download() as waited:
        page.get_by_role("link", name="CSV").click()
    lines = waited.value.path().read_text(encoding="utf-8").splitlines()
    assert shown > 0
    assert len(lines) == shown + 1


def test_many_lines_come_in_pages(months_served, visit):
    person = visit(months_served.another())
    page = person.see("/done")
    first = page.locator("tr[data-intent]")
    expect(first).to_have_count(50)
    newest = first.first.get_attribute("data-intent") or ""
    page.get_by_role("link", name="Older").click()
    expect(first.first).not_to_have_attribute("data-intent", newest)
    expect(first).to_have_count(50)


def test_folded_cards_open(months_served, visit):
    """A card shows its form at once, or unfolds it."""
    person = visit(months_served.another())
    opened(person.card(1))
    expect(person.card(1).locator("[name=pin]")).to_be_visible()
