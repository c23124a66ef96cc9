"""`make screenshots`: the main views of the page, by day and by night, into docs/screenshots.

What is shown is made up (`seeds.py`), on the rehearsal account.
"""

from __future__ import annotations

import sys
from typing import get_args

from playwright.sync_api import Browser, Page, ViewportSize

from benchmarks import accounts, browsing, seeds
from benchmarks.browsing import Colours
from benchmarks.client import ROOT, Broken

FOLDER = ROOT / "docs" / "screenshots"
SIZE = ViewportSize(width=1120, height=840)
WAITING, LINES = 3, 4_000
VIEWS = {"waiting": "/", "done": "/done", "story": "/done?outcome=unknown", "charts": "/charts"}


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with accounts.sandbox() as account, browsing.browser() as browser:
            seeds.ledger_of(account.file.parent, waiting=WAITING, lines=LINES)
            with browsing.served(account.environment()) as served:
                known = browsing.let_in(browser, served)
                for colours in get_args(Colours):
                    photographed(browser, served.root, known, colours)
    except Broken as problem:
        print(f"screenshots: {problem}", file=sys.stderr)
        return 1
    return 0


def photographed(browser: Browser, root: str, known: browsing.Known, colours: Colours) -> None:
    context = browser.new_context(
        storage_state=known, color_scheme=colours, viewport=SIZE, reduced_motion="reduce"
    )
    page = context.new_page()
    for name, path in VIEWS.items():
        page.goto(root + path)
        if name == "story":
            _first_story(page)
        page.wait_for_load_state("load")
        page.screenshot(path=FOLDER / f"{name}-{colours}.png", animations="disabled")
    context.close()


def _first_story(page: Page) -> None:
    page.locator("tr[data-intent] a").first.click()


if __name__ == "__main__":
    sys.exit(main())
