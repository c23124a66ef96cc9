"""Seconds until the page is visible, empty and full."""

from __future__ import annotations

from functools import partial
from http.client import HTTPConnection
from time import perf_counter
from urllib.parse import urlsplit

from playwright.sync_api import Browser

from benchmarks import accounts, browser_session, fixtures
from benchmarks.client import Broken
from benchmarks.stats import Row

TITLE = "The page"
ABOUT = (
    "The rehearsal account's page in Debian's Chromium (headless, a new browser context for each "
    "time, so that nothing is kept): from the request to the first paint of content "
    "(`first-contentful-paint`), and until everything on it is loaded, the pictures of the charts "
    "included. Below it the page's own process: from its spawn until the first answer."
)
WAITING, LINES = 500, 100_000
TIMES, STARTS = 15, 8
PROMISED = 1.0
NOTHING = {"nothing waiting": "/", "nothing done": "/done"}
EVERYTHING = {
    f"{WAITING} waiting": "/",
    f"done, {LINES:,} lines": "/done",
    f"done, {LINES:,} lines, those that failed": "/done?outcome=failed",
    f"charts, {LINES:,} lines": "/charts",
}


def run() -> list[Row]:
    with browser_session.browser() as browser:
        rows = _views(browser, NOTHING, waiting=0, lines=0)
        rows += _views(browser, EVERYTHING, waiting=WAITING, lines=LINES)
    with accounts.sandbox() as account:
        starts = partial(_first_answer, account)
        values = tuple(starts() for _ in range(STARTS + 1))[1:]
    return [*rows, Row("spawn of the page's process to its first answer", values, "ms")]


def _views(browser: Browser, views: dict[str, str], *, waiting: int, lines: int) -> list[Row]:
    with accounts.sandbox() as account:
        fixtures.ledger_of(account.file.parent, waiting=waiting, lines=lines)
        with browser_session.served(account.environment()) as served:
            known = browser_session.let_in(browser, served)
            rows = [_seen(browser, served.root + path, known, what) for what, path in views.items()]
    return [row for pair in rows for row in pair]


def _seen(browser: Browser, address: str, known: browser_session.Known, what: str) -> list[Row]:
    times: list[tuple[float, float]] = []
    for _ in range(TIMES + 1):
        context = browser.new_context(storage_state=known)
        page = context.new_page()
        answer = page.goto(address)
        if answer is None or not answer.ok:
            raise Broken(f"{what}: not shown")
        times.append(browser_session.painted(page))
        context.close()
    painted, loaded = zip(*times[1:], strict=True)
    return [
        Row(f"{what}: first paint", painted, "ms", PROMISED),
        Row(f"{what}: all loaded", loaded, "ms"),
    ]


def _first_answer(account: accounts.Sandbox) -> float:
    begun = perf_counter()
    process = browser_session.started(account.environment())
    try:
        place = urlsplit(browser_session.address(process))
        connection = HTTPConnection(place.netloc)
        connection.request("GET", place.path)
        connection.getresponse().read()
        return perf_counter() - begun
    finally:
        browser_session.ended(process)
