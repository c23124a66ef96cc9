"""The card of MCP Apps in a sandboxed frame of a host, as a chat with MCP Apps shows it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Frame, Page, expect
from visiting import COLOURS, PHONE, WIDE, violations

from kartra_mcp.server.approval_card import read_card

ADDRESS = "https://kartra.example.com/page/a/main/approvals/7"
HOST = """<!doctype html><html lang="en"><title>Chat</title><main><h1>Chat</h1></main><script>
window.sent = [];
window.denied = false;
addEventListener("message", (event) => {
  const told = event.data;
  window.sent.push(told);
  const answer = (more) => event.source.postMessage({jsonrpc: "2.0", id: told.id, ...more}, "*");
  if (told.method === "ui/initialize") answer({result: {
    protocolVersion: "2026-01-26", hostInfo: {name: "chat", version: "1"},
    hostCapabilities: {openLinks: {}}, hostContext: {theme: window.theme}}});
  if (told.method === "ui/notifications/initialized") window.pass("tool-input", {arguments: {}});
  if (told.method === "ui/open-link")
    answer(window.denied ? {error: {code: -32000, message: "denied"}} : {result: {}});
});
window.pass = (name, params) => document.querySelector("iframe").contentWindow.postMessage(
  {jsonrpc: "2.0", method: `ui/notifications/${name}`, params}, "*");
</script></html>"""
SHOW = """([html, theme]) => {
  window.theme = theme;
  const frame = document.createElement("iframe");
  frame.title = "Card";
  frame.sandbox = "allow-scripts";
  frame.width = "100%";
  frame.height = "400";
  frame.srcdoc = html;
  document.querySelector("main").append(frame);
}"""


@pytest.fixture
def page(browser) -> Any:
    with browser.new_context() as context:
        made = context.new_page()
        complaints: list[str] = []

        def complain(about: Any) -> None:
            complaints.append(str(getattr(about, "text", about)))

        made.on("console", complain)
        made.on("pageerror", complain)
        yield made
        assert complaints == []


def show(page: Page, theme: str = "light") -> Frame:
    """Let the host show the card, and wait for its handshake."""
    page.set_content(HOST)
    page.evaluate(SHOW, [read_card(), theme])
    page.wait_for_function("sent.some(told => told.method === 'ui/notifications/initialized')")
    return page.frames[-1]


def make_result(**confirmation: Any) -> dict[str, Any]:
    asked = {
        "number": 7,
        "summary": "Refund 97.00 to <b>Ada</b>",
        "address": ADDRESS,
        "approvers": {"roles": ["approver"], "needed": 2, "given": 1},
        **confirmation,
    }
    error = {"code": "approval_required", "message": "Other people decide.", "confirmation": asked}
    text = json.dumps({"error": error})
    return {"content": [{"type": "text", "text": text}], "isError": True}


def finish(page: Page, result: dict[str, Any]) -> None:
    page.evaluate("result => pass('tool-result', result)", result)


def methods(page: Page) -> set[str]:
    return set(page.evaluate("sent.map(told => told.method)"))


def test_a_request_is_shown_and_its_page_opened_by_the_host(page: Page):
    card = show(page)
    finish(page, make_result())
    expect(card.get_by_role("heading")).to_have_text("Request 7 waits for an approval")
    expect(card.locator("#summary")).to_have_text("Refund 97.00 to <b>Ada</b>")
    expect(card.locator("#approvers")).to_have_text(
        "Who can approve: approver. 1 of 2 approvals so far."
    )
    page.keyboard.press("Tab")
    expect(card.get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_function("sent.some(told => told.method === 'ui/open-link')")
    (opened,) = page.evaluate("sent.filter(told => told.method === 'ui/open-link')")
    assert opened["params"] == {"url": ADDRESS}
    assert methods(page) == {
        "ui/initialize",
        "ui/notifications/initialized",
        "ui/notifications/size-changed",
        "ui/open-link",
    }


def test_a_host_that_opens_no_link_leaves_its_address(page: Page):
    card = show(page)
    page.evaluate("window.denied = true")
    finish(page, make_result())
    card.get_by_role("button").click()
    expect(card.locator("#where")).to_contain_text(ADDRESS)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "http://evil.example/", "data:text/html,x", "", None, "x"]
)
def test_an_address_that_is_no_page_of_a_service_is_not_opened(page: Page, address: Any):
    card = show(page)
    finish(page, make_result(address=address))
    expect(card.get_by_role("heading")).to_contain_text("Request 7")
    expect(card.locator("#open")).to_be_hidden()


@pytest.mark.parametrize(
    "result",
    [
        {"content": [{"type": "text", "text": "done"}]},
        {"content": [{"type": "text", "text": '{"error": {"code": "declined"}}'}], "isError": True},
        {"content": [{"type": "text", "text": "not JSON"}], "isError": True},
        {"content": [], "isError": True},
        {},
    ],
)
def test_another_answer_shows_no_request(page: Page, result: dict[str, Any]):
    card = show(page)
    finish(page, result)
    expect(card.locator("#message")).to_contain_text("Nothing waits for an approval here")
    expect(card.locator("#open")).to_be_hidden()


@pytest.mark.usefixtures("axe")
@pytest.mark.parametrize("colours", COLOURS)
def test_axe_finds_nothing(page: Page, colours: Any):
    for size in (PHONE, WIDE):
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=colours)
        card = show(page, colours)
        finish(page, make_result())
        expect(card.get_by_role("button")).to_be_visible()
        assert violations(card) == []
        over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert card.evaluate(over) == 0
