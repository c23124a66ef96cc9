"""`make screenshots`: the main views of the page, by day and by night, into docs/screenshots.

The content is invented (`fixtures.py`), on the rehearsal account.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import get_args

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize

from benchmarks import accounts, browser_session, fixtures
from benchmarks.browser_session import Colours
from benchmarks.client import ROOT, Broken

FOLDER = ROOT / "docs" / "screenshots"
SIZE = ViewportSize(width=1120, height=840)
WAITING, LINES = 3, 4_000
VIEWS = {
    "approvals": "/",
    "history": "/done?risk=irreversible",
    "write": "/done?tool=kartra_refund_transaction&outcome=unknown",
    "charts": "/charts",
}
CAPS = {"CAP_DAY_AMOUNT": "1000"}
COLOURS = 128
"""Colors of a picture: a third of the bytes without a visible difference."""


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with accounts.sandbox() as account, browser_session.browser() as browser:
            fixtures.ledger_of(account.file.parent, waiting=WAITING, lines=LINES)
            with browser_session.served(account.environment(**CAPS)) as served:
                known = browser_session.let_in(browser, served)
                for colours in get_args(Colours):
                    photographed(browser, served.root, known, colours)
    except Broken as problem:
        print(f"screenshots: {problem}", file=sys.stderr)
        return 1
    return 0


def photographed(
    browser: Browser, root: str, known: browser_session.Known, colours: Colours
) -> None:
    context = browser.new_context(
        storage_state=known, color_scheme=colours, viewport=SIZE, reduced_motion="reduce"
    )
    page = context.new_page()
    for name, path in VIEWS.items():
        page.goto(root + path)
        if name == "write":
            _open_first_write(page)
        page.wait_for_load_state("load")
        _kept(page.screenshot(animations="disabled"), FOLDER / f"{name}-{colours}.png")
    context.close()


def _open_first_write(page: Page) -> None:
    page.locator("tr[data-intent] a").first.click()


def _kept(picture: bytes, file: Path) -> None:
    with Image.open(BytesIO(picture)) as whole:
        whole.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
