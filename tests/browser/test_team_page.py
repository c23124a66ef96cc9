"""The page of a team in Chromium: the login, the card of two people, the choice of an account."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from playwright.sync_api import Page, Route, expect
from team_page import serving_team
from tls_proxy import tls_proxy
from visiting import COLOURS, PHONE, WIDE, Visitor, judged, listening, looks, tabbed, violations

from kartra_mcp.sandbox.identity.authorize import COOKIE

REFUND = {
    "transaction_id": "101",
    "buyer": "Ada Moreno <ada@example.com>",
    "product": "Course",
    "this_refund": "97.00",
    "risk": "irreversible",
    "effect": "pays 97.00 back to the buyer",
    "undo": "nothing undoes it",
}
VIEWS = {
    "accounts": "/page",
    "sessions": "/page/sessions",
    "card": "/page/a/main/",
    "history": "/page/a/main/done",
    "charts": "/page/a/main/charts",
    "status": "/page/a/main/status",
    "login again": "/page/again?return=/page/a/main/x",
    "no login": "/page/callback?state=x",
    "nothing there": "/page/nothing",
}


@pytest.fixture
def team(team_database):
    with serving_team(team_database) as made:
        yield made


@pytest.fixture
def number(team) -> int:
    return team.ask(REFUND, "101")


@pytest.fixture
def enter(browser, team):
    """Return a function that logs a person in with a browser of its own."""
    people: list[Visitor] = []
    with ExitStack() as kept:

        def let_in(name: str, path: str = "/page/a/main/", *, age: float = 0, **context) -> Visitor:
            made = listening(browser.new_context(**context))
            kept.callback(made.close)
            session = team.identity.remember(name, age)
            made.add_cookies([{"name": COOKIE, "value": session, "url": team.identity.issuer}])
            person = Visitor(made, team.public_url)
            people.append(person)
            person.page.goto(f"{team.public_url}{path}")
            return person

        yield let_in
        found = [line for person in people for line in person.unexpected()]
    at_issuer = tuple(f"{team.identity.issuer}{path}" for path in ("/authorize?", "/login"))
    assert [line for line in found if not line.startswith(at_issuer)] == []


def vote(page: Page, number: int, typed: str = "97.00") -> None:
    card = page.locator(f'article[data-number="{number}"]')
    card.locator("[name=typed]").fill(typed)
    card.get_by_role("button", name="Approve").click()


def test_a_person_logs_in_and_returns_to_the_card(team, number, enter):
    page = enter("hana").page
    expect(page).to_have_url(f"{team.public_url}/page/a/main/")
    expect(page.locator(f'article[data-number="{number}"]')).to_be_visible()
    expect(page.locator(".user")).to_contain_text("hana")


@pytest.mark.usefixtures("axe", "number")
@pytest.mark.parametrize("path", VIEWS.values(), ids=VIEWS)
def test_axe_finds_nothing(path, enter):
    person = enter("hana")
    person.expected.append("status of 40")
    assert judged(stay(person, path)) == []


def stay(person: Visitor, path: str) -> Page:
    """Open a page; the one that leads on at once is shown without doing so."""
    if not path.startswith("/page/again"):
        return person.see(path)
    shown = person.context.request.get(person.root + path).text()
    shown = shown.replace('http-equiv="refresh"', 'name="was-refresh"')
    place = "/page/static/again"

    def show(route: Route) -> None:
        route.fulfill(body=shown, content_type="text/html")

    person.page.route(f"{person.root}{place}", show)
    return person.see(place)


@pytest.mark.usefixtures("axe", "number")
@pytest.mark.parametrize("name", ["vera", "aude", "ian", "nobody"])
def test_axe_finds_nothing_for_those_who_cannot_approve(name, enter):
    assert judged(enter(name, "/page").page) == []
    if name != "nobody":
        person = enter(name)
        assert judged(person.page) == []


@pytest.mark.usefixtures("axe", "number")
def test_axe_finds_nothing_in_a_refused_decision(team, number, enter):
    page = enter("hana").page
    vote(page, number, "9.70")
    expect(page.get_by_role("alert").first).to_contain_text("Nothing was decided")
    expect(page.locator(f"#typed-{number}")).to_be_focused()
    assert violations(page) == []
    assert team.state(number) == "pending"


@pytest.mark.usefixtures("number")
@pytest.mark.parametrize("path", [p for p in VIEWS.values() if "again" not in p])
def test_nothing_stands_out_at_the_side(path, enter):
    person = enter("hana")
    person.expected.append("status of 40")
    page = person.see(path)
    for look in looks(page):
        over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(over) == 0, look


def test_a_person_approves_by_keyboard_alone(team, number, enter):
    person = enter("hana")
    press, card = person.page.keyboard.press, person.card(number)
    press("Tab")
    expect(person.page.locator(":focus")).to_have_attribute("href", "#main")
    press("Enter")
    tabbed(person, card.locator("[name=typed]"))
    person.page.keyboard.type("97.00")
    tabbed(person, card.locator("[name=reason]"))
    press("Enter")
    expect(person.page.locator("#arrivals")).to_contain_text("Nothing was decided")
    person.page.keyboard.type("as agreed")
    tabbed(person, card.locator("button[value=approve]"))
    press("Enter")
    expect(person.page.get_by_role("status").first).to_contain_text("Approved")
    assert team.state(number) == "approved"


def test_two_people_approve_by_keyboard_alone(team, enter):
    number = team.ask(REFUND, needed=2)
    for name, told in (("hana", "More approvals"), ("hugo", "Approved")):
        person = enter(name)
        card = person.card(number)
        tabbed(person, card.locator("[name=typed]"))
        person.page.keyboard.type("97.00")
        tabbed(person, card.locator("button[value=approve]"))
        person.page.keyboard.press("Enter")
        expect(person.page.get_by_role("status").first).to_contain_text(told)
    assert team.state(number) == "approved"


@pytest.mark.usefixtures("axe")
def test_a_login_that_failed_and_one_that_ended_lead_on_by_keyboard_alone(team, enter):
    person = enter("hana", "/page")
    person.expected.append("status of 400")
    person.see("/page/callback?state=x")
    tabbed(person, person.page.get_by_role("link", name="Log in"))
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("heading", level=1)).to_have_text("Accounts")
    person.page.get_by_role("button", name="Log out").click()
    heading = person.page.get_by_role("heading", level=1)
    expect(heading).to_have_text("You are logged out")
    for size in (PHONE, WIDE):
        person.page.set_viewport_size(size)
        for colours in COLOURS:
            person.page.emulate_media(color_scheme=colours)
            assert violations(person.page) == []
    tabbed(person, person.page.get_by_role("link", name="Log in"))
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("heading", level=1)).to_have_text("Accounts")


def test_a_second_person_sees_who_approved_and_makes_it_run(team, enter):
    number = team.ask(REFUND, needed=2)
    first, second = enter("hana"), enter("hugo")
    expect(second.card(number).locator("[data-fact=approvals]")).to_have_text("0 of 2")
    vote(first.page, number)
    expect(first.page.get_by_role("status").first).to_contain_text("More approvals")
    expect(first.card(number)).to_contain_text("You approved this")
    second.page.reload()
    expect(second.card(number)).to_contain_text("Approved by")
    vote(second.page, number)
    expect(second.page.get_by_role("status").first).to_contain_text("Approved")
    assert team.state(number) == "approved"


@pytest.mark.usefixtures("axe")
def test_axe_finds_nothing_on_a_card_of_two_people_and_with_writes_stopped(team, enter):
    number = team.ask(REFUND, needed=2)
    first, second, bea = enter("hana"), enter("hugo"), enter("bea")
    vote(first.page, number)
    expect(first.card(number)).to_contain_text("You approved this")
    first.see("/page/a/main/status").get_by_role("button", name="Stop writes").click()
    expect(first.page.locator("[data-switch=stopped]")).to_be_visible()
    for person in (first, second, bea):
        assert judged(person.see("/page/a/main/")) == []
        assert judged(person.see("/page/a/main/status")) == []
    first.page.get_by_role("button", name="Resume writes").click()
    expect(first.page.get_by_role("status").first).to_contain_text("Another admin or approver")


def test_a_person_chooses_an_account_by_keyboard_alone(enter):
    person = enter("hana", "/page")
    tabbed(person, person.page.get_by_role("link", name="The main shop"))
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("heading", level=1)).to_have_text("Pending approvals")
    tabbed(person, person.page.get_by_role("link", name="Accounts"))
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("heading", level=1)).to_have_text("Accounts")
    tabbed(person, person.page.get_by_role("button", name="Log out"))
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("heading", level=1)).to_have_text("You are logged out")


@pytest.mark.usefixtures("axe")
def test_a_person_ends_other_sessions_by_keyboard_alone(enter):
    lost, person = enter("hana"), enter("hana", "/page")
    tabbed(person, person.page.get_by_role("link", name="Your sessions"))
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("heading", level=1)).to_have_text("Your sessions")
    assert judged(person.page) == []
    tabbed(person, person.page.get_by_role("button", name="End this session"))
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("status")).to_have_text("The session has ended.")
    expect(person.page.get_by_role("button")).to_have_count(0)
    lost.context.clear_cookies(name=COOKIE)
    lost.page.goto(f"{lost.root}/page")
    expect(lost.page).to_have_title("Log in as a test person")


def test_a_decision_with_an_old_login_leads_through_a_fresh_one_back_to_the_card(
    team, number, enter
):
    person = enter("hana", age=400)
    card = person.card(number)
    card.locator("[name=reason]").fill("wrong sale")
    card.get_by_role("button", name="Decline").click()
    expect(person.page).to_have_title("Log in as a test person")
    assert "prompt=login" in person.page.url
    person.page.get_by_role("button", name="hana").click()
    expect(person.page).to_have_url(f"{team.public_url}/page/a/main/#approval-{number}")
    expect(card.get_by_role("alert")).to_contain_text("Your login was too old")
    expect(card.locator("[name=reason]")).to_have_value("wrong sale")
    card.get_by_role("button", name="Decline").click()
    expect(person.page.get_by_role("status").first).to_contain_text("Declined")


@pytest.mark.parametrize("decision", ["approve", "decline"])
def test_it_works_without_javascript(decision, team, number, enter):
    person = enter("hana", java_script_enabled=False)
    card = person.card(number)
    card.locator("[name=typed]").fill("97.00")
    card.locator("[name=reason]").fill("as agreed")
    card.locator(f"button[value={decision}]").click()
    expect(person.page.get_by_role("status").first).to_be_visible()
    assert team.state(number) == f"{decision}d"


def test_a_new_request_appears_without_a_reload(team, enter):
    person = enter("hana")
    number = team.ask(REFUND, "202")
    expect(person.card(number)).to_be_visible()


def test_who_may_see_no_request_gets_the_history_and_no_error(enter):
    person = enter("aude")
    page = person.page
    page.set_viewport_size(WIDE)
    expect(page.get_by_role("heading", level=1)).to_have_text("History")
    for name in ("Charts", "Status", "History"):
        page.get_by_role("navigation", name="Pages", exact=True).get_by_role(
            "link", name=name
        ).click()
        expect(page.locator("#offline")).to_have_count(0)


# By https

NAME = "kartra.elsewhere.test"


def test_behind_a_proxy_with_tls_a_browser_keeps_the_cookies_of_this_host(browser, team_database):
    with tls_proxy(NAME) as proxy, ExitStack() as kept:
        root = f"https://{NAME}:{proxy.port}"
        team = kept.enter_context(serving_team(team_database, public_url=root))
        proxy.target = team.ports[0]
        number = team.ask(REFUND, "101")
        context = listening(browser.new_context(ignore_https_errors=True))
        kept.callback(context.close)
        person = Visitor(context, root)
        page = person.see("/page/a/main/")
        page.get_by_role("button", name="hana").click()
        expect(page).to_have_url(f"{root}/page/a/main/")
        cookies = {one.get("name"): one for one in context.cookies(root)}
        for name in ("__Host-kartra_page", "__Host-kartra_page_login"):
            one = cookies[name]
            about = [one.get(key) for key in ("secure", "httpOnly", "sameSite", "domain", "path")]
            assert about == [True, True, "Lax", NAME, "/"]
        vote(page, number)
        expect(page.get_by_role("status").first).to_contain_text("Approved")
        assert team.state(number) == "approved"
        person.see("/page")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("You are logged out")
        assert "__Host-kartra_page" not in {one.get("name") for one in context.cookies(root)}
        assert person.complaints == []
