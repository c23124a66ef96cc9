"""Browser visitors and MCP chats for tests; a visitor collects errors of the browser."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import harness
from anyio.from_thread import BlockingPortal, start_blocking_portal
from consent_actors import REFUND, ledger_folder
from harness import Answer, Sandbox
from mcp import Client
from mcp_types import Implementation
from playwright.sync_api import BrowserContext, Frame, Locator, Page, ViewportSize, expect
from polling import gone, until

ROOT = Path(__file__).parents[2]
AXE = ROOT / "build" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CLIENT = Implementation(name="Claude Desktop", version="1.2")
MOST_TABS = 60
PIN, WRONG = "correct horse", "battery staple"
COLOURS = ("light", "dark")
PHONE, WIDE = ViewportSize(width=320, height=640), ViewportSize(width=1600, height=1000)
_CSP = """
document.addEventListener("securitypolicyviolation", event =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
_TOLD = """
window.told = [];
window.firstTold = new Promise((tell, fail) => {
  window.tell = tell;
  setTimeout(() => fail(new Error("no notification")), 20000);
});
window.Notification = class extends window.Notification {
  constructor(title, options) {
    super(title, options);
    window.told.push(`${title} ${options && options.body || ""}`);
    window.tell(window.told[0]);
  }
};
"""


@dataclass
class Visitor:
    """One browser context with one page and a session."""

    context: BrowserContext
    address: str
    complaints: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.set_default_timeout(20_000)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))

    @property
    def root(self) -> str:
        place = urlsplit(self.address)
        return f"{place.scheme}://{place.netloc}"

    def enter(self) -> Visitor:
        """Open the login address."""
        self.page.goto(self.address)
        expect(self.page).to_have_url(f"{self.root}/")
        return self

    def see(self, path: str) -> Page:
        self.page.goto(self.root + path)
        return self.page

    def card(self, number: int) -> Locator:
        return self.page.locator(f'#cards article[data-number="{number}"]')

    def decide(self, number: int, decision: str, *, pin: str = PIN, reason: str = "") -> None:
        """Fill a card's form and press its button."""
        card = self.card(number)
        opened(card)
        card.locator("[name=pin]").fill(pin)
        card.locator("[name=reason]").fill(reason)
        card.locator(f"button[name=decision][value={decision}]").click()

    def unexpected(self) -> list[str]:
        """Return errors of the browser, and requests to other hosts."""
        told = [x for x in self.complaints if not any(known in x for known in self.expected)]
        return told + self.elsewhere

    def _said(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.root + "/", "data:")):
            self.elsewhere.append(url)


def listening(context: BrowserContext) -> BrowserContext:
    """Report violations of the content security policy as errors of the browser."""
    context.add_init_script(_CSP)
    return context


def notified(context: BrowserContext, root: str) -> BrowserContext:
    """Grant notifications; `told` in the page collects them."""
    context.grant_permissions(["notifications"], origin=root)
    context.add_init_script(_TOLD)
    return context


def opened(card: Locator) -> None:
    """Unfold a card if it is folded."""
    fold = card.locator("details:not([open]):has([name=pin]) > summary")
    if fold.count():
        fold.first.click()


def violations(page: Page | Frame) -> list[str]:
    """Return axe-core's findings for the whole document, one line each."""
    page.wait_for_load_state()  # half a page has other sizes
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "rules => axe.run(document, {runOnly: rules}).then(r => r.violations)", RULES
    )
    return [f"{x['id']}: {node['html'][:200]}" for x in found for node in x["nodes"]]


def looks(page: Page):
    """The page in light and dark, on a narrow and on a wide screen."""
    for colours, size in product(COLOURS, (PHONE, WIDE)):
        page.emulate_media(color_scheme=colours)
        page.set_viewport_size(size)
        page.reload()
        yield f"{colours} {size['width']}"


def judged(page: Page) -> list[str]:
    found = [f"{look}: {line}" for look in looks(page) for line in violations(page)]
    return sorted(set(found))


@dataclass
class Chat:
    """An MCP client over stdio on its own server, for synchronous tests."""

    portal: BlockingPortal
    client: Client

    def call(self, tool: str, /, **arguments: Any) -> Answer:
        return self.portal.call(partial(harness.call, self.client, tool, **arguments))

    def refund(self, sale: int = 101, **more: Any) -> Answer:
        return self.call(REFUND, transaction_id=sale, **more)


@contextmanager
def chatting(place: Sandbox) -> Generator[Chat]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            harness.connect_stdio(place, "legacy", client_info=CLIENT)
        ) as client,
    ):
        yield Chat(portal, client)


def end_page(place: Sandbox) -> None:
    """End the page process of this account, if a server started one."""
    file = ledger_folder(place) / "page.json"
    if not file.exists():
        return
    process = json.loads(file.read_text())["pid"]
    if not gone(process):
        os.kill(process, signal.SIGTERM)
        with start_blocking_portal() as portal:
            portal.call(until, lambda: gone(process))


def tabbed(person: Visitor, to: Locator) -> None:
    """Press Tab until the element has the focus; the focus must be visible on the way."""
    focused = person.page.locator(":focus")
    for _ in range(MOST_TABS):
        person.page.keyboard.press("Tab")
        if focused.evaluate("node => node.matches('summary')"):
            person.page.keyboard.press("Space")
        assert focused.evaluate(_RING) != "none 0px", focused.evaluate("node => node.outerHTML")
        if to.evaluate("node => node === document.activeElement"):
            return
    raise AssertionError("the keyboard does not reach it")


_RING = "node => getComputedStyle(node).outlineStyle + ' ' + getComputedStyle(node).outlineWidth"
