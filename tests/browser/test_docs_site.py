"""The documents as a site in a real Chromium, opened as files and with the network off.

`make browser` builds the site first where a document changed.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, expect
from visiting import PHONE, ROOT, WIDE, judged, tabbed

SITE = ROOT / "build" / "site"
JUDGED = ("index", "docs/reference/commands", "docs/SECURITY")
RECORD = re.compile("docs/decisions/|CHANGELOG|CONTRIBUTING")


class Reader:
    """One page that is read from disk, with the errors and foreign requests of the browser."""

    def __init__(self, context: BrowserContext) -> None:
        self.faults: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("request", lambda request: self._check(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))

    def hear(self) -> None:
        """Count errors in the console too. axe itself causes some, so its tests do not."""
        self.page.on("console", self._hear)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(message.text)

    def open(self, name: str) -> Page:
        self.page.goto(f"{SITE.as_uri()}/{name}.html")
        return self.page

    def _check(self, url: str) -> None:
        if not url.startswith((SITE.as_uri(), "data:")):
            self.faults.append(f"request to {url}")


@pytest.fixture
def reader(browser) -> Generator[Reader]:
    assert (SITE / "index.html").exists(), "there is no site: run `make docs`"
    context = browser.new_context(offline=True, viewport=WIDE, color_scheme="light")
    made = Reader(context)
    yield made
    context.close()
    assert made.faults == []


def pages() -> list[Path]:
    """Return all pages but the records of decisions, which are text alone."""
    return [path for path in sorted(SITE.rglob("*.html")) if path.parent.name != "decisions"]


def background(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def search(page: Page, words: str) -> Locator:
    """Search by the keyboard; return the links of the result, best first."""
    field = page.get_by_role("textbox", name="Search")
    field.fill(words)
    field.press("Enter")
    expect(page.get_by_text("Search finished")).to_be_visible()
    return page.locator("#search-results li > a")


def test_no_page_is_wider_than_a_phone(reader):
    reader.hear()
    reader.page.set_viewport_size(PHONE)
    widths = {}
    for path in pages():
        reader.page.goto(path.as_uri(), wait_until="domcontentloaded")
        widths[path.name] = reader.page.evaluate("document.documentElement.scrollWidth")
    assert {name: width for name, width in widths.items() if width > PHONE["width"]} == {}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("refund", "docs/consent.html"),
        ("outcome_unknown", "docs/errors.html"),
        ("KARTRA_MCP_CAP_REFUND", "docs/settings.html"),
        ("kartra_refund_transaction", "docs/reference/tools.html"),
        ("team settle", "docs/team/operations.html"),
    ],
)
def test_the_search_finds_the_page(reader, words: str, found: str):
    reader.hear()
    results = search(reader.open("index"), words)
    places = [str(one.get_attribute("href")).split("#")[0] for one in results.all()]
    assert found in places
    records = [bool(RECORD.match(place)) for place in places]
    assert records == sorted(records), "records come after the pages for users"
    results.first.click()
    expect(reader.page.get_by_role("heading", level=1)).to_be_visible()


def test_colours_follow_the_system_and_then_the_choice(reader):
    reader.hear()
    page = reader.open("index")
    light = background(page)
    page.emulate_media(color_scheme="dark")
    dark = background(page)
    assert light != dark
    toggle = page.get_by_role("button", name="Toggle Light / Dark / Auto color theme").last
    toggle.click()  # from a dark system: light
    assert background(page) == light
    page = reader.open("docs/consent")
    assert background(page) == light
    toggle.click()  # dark
    page.emulate_media(color_scheme="light")
    assert background(page) == dark


def test_a_keyboard_opens_and_closes_the_list_of_pages_on_a_narrow_screen(reader):
    reader.hear()
    reader.page.set_viewport_size(PHONE)
    page = reader.open("docs/consent")
    button = page.get_by_role("button", name="All pages")
    field = page.get_by_role("textbox", name="Search")
    expect(field).to_be_hidden()
    tabbed(reader, button)
    page.keyboard.press("Enter")
    expect(field).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(field).to_be_hidden()
    expect(button).to_be_focused()
    contents = page.get_by_role("button", name="On this page").first
    tabbed(reader, contents)
    page.keyboard.press("Space")
    expect(page.locator(".toc-drawer li li a").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(contents).to_be_focused()


def test_a_keyboard_skips_the_list_of_pages(reader):
    reader.hear()
    page = reader.open("docs/consent")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#furo-main-content$"))


@pytest.mark.parametrize("name", JUDGED)
def test_axe_finds_nothing(reader, axe, name: str):
    assert judged(reader.open(name)) == []


def test_axe_finds_nothing_in_the_results_of_a_search(reader, axe):
    search(reader.open("index"), "refund")
    assert judged(reader.page) == []
