"""Another site in the same browser: it can neither read nor change anything on the page."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import ConsoleMessage, Error, Page, expect
from visiting import PIN

from benchmarks.fixtures import asked

SITE = b"<!doctype html><title>Elsewhere</title><p>Win a prize."


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(SITE)

    def log_message(self, format: str, *args) -> None:  # noqa: A002
        pass


@contextmanager
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def port():
    with site() as made:
        yield made


@pytest.fixture
def number(ledger) -> int:
    return ledger.approvals.request(asked(1))


@pytest.fixture(params=["127.0.0.1", "prizes.elsewhere.test"])
def elsewhere(request, port, number, served, visit) -> Page:
    """Another site, on the same or another host, in a browser that has a session."""
    page = visit(served.address).context.new_page()
    page.goto(f"http://{request.param}:{port}/")
    return page


def test_it_decides_nothing(elsewhere, served, ledger, number):
    with elsewhere.expect_response(f"{served.root}/approvals/{number}") as refused:
        elsewhere.evaluate(
            """([root, number, pin]) => {
              document.body.innerHTML = `<form method=post action="${root}/approvals/${number}">
                <input name=decision value=approve><input name=pin value="${pin}">
                <input name=csrf value=guessed></form>`;
              document.forms[0].submit();
            }""",
            [served.root, number, PIN],
        )
    assert refused.value.status == 403
    assert ledger.approvals.get(number).state == "pending"
    assert ledger.pins.attempts_left() == 5


READS = {
    "fetch": "fetch(address, {credentials: 'include'}).then(r => r.text())",
    "fetch, opaque": (
        "fetch(address, {credentials: 'include', mode: 'no-cors'}).then(r => r.text())"
    ),
    "an event source": (
        "new Promise((tell, fail) => { const s = new EventSource(address,"
        " {withCredentials: true}); s.addEventListener('waiting', e => tell(e.data));"
        " s.onerror = fail; })"
    ),
    "a script": (
        "new Promise((tell, fail) => { const s = document.createElement('script');"
        " s.src = address; s.onload = () => tell('ran'); s.onerror = fail;"
        " document.head.append(s); })"
    ),
    "a picture": (
        "new Promise((tell, fail) => { const i = new Image(); i.onload = () => tell('seen');"
        " i.onerror = fail; i.src = address; })"
    ),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_it_reads_nothing(read, elsewhere, served):
    for path in ("/", "/cards", "/events", "/export.json", "/charts/outcomes.svg"):
        told = elsewhere.evaluate(
            f"address => {read}.catch(() => '').then(text => text || '')", served.root + path
        )
        assert told == "", path


def test_it_shows_nothing_in_a_frame(elsewhere, served):
    elsewhere.evaluate(
        """root => new Promise(tell => {
          const frame = document.createElement("iframe");
          frame.onload = tell; frame.src = root + "/"; document.body.append(frame);
        })""",
        served.root,
    )
    shown = [frame.content() for frame in elsewhere.frames[1:]]
    assert not any("approve" in text.lower() for text in shown)


def test_a_person_may_follow_its_link(elsewhere, served, number):
    elsewhere.evaluate(
        """root => { document.body.innerHTML = `<a href="${root}/">approve</a>`; }""", served.root
    )
    elsewhere.get_by_role("link").click()
    expect(elsewhere.locator(f'article[data-number="{number}"]')).to_have_count(1)


def test_a_name_that_was_rebound_to_this_machine_is_not_answered(served, browser, visit):
    page = browser.new_page()
    port = served.root.rpartition(":")[2]
    for path in ("/", served.address.removeprefix(served.root), "/events", "/static/page.js"):
        address = f"http://rebound.elsewhere.test:{port}{path}"
        with page.expect_response(address) as answer, suppress(Error):
            page.goto(address)  # an answer without content is an error to the browser
        assert answer.value.status == 421
        assert not answer.value.headers.get("content-length", "0").strip("0")
    page.close()
    visit(served.address)  # which was not used up


def _is_of_the_policy(said: ConsoleMessage) -> bool:
    return said.text.startswith("policy: ")


INJECTED = {
    "an inline script": "<img src=/nothing onerror='window.hacked = 1'>",
    "a script of another place": "<iframe srcdoc='<script src=http://127.0.0.1:9/x.js></script>'>",
    "a picture of another place": "<img src='http://127.0.0.1:9/told.png'>",
    "an inline style": "<p style='position: fixed; inset: 0'>Approve</p>",
}


@pytest.mark.parametrize("markup", INJECTED.values(), ids=INJECTED)
def test_what_somebody_gets_into_the_page_is_stopped_by_its_policy(markup, served, visit):
    """If escaping failed, the content security policy stops the script, and the test detects it."""
    person = visit(served.address)
    with person.page.expect_console_message(_is_of_the_policy):
        person.page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", markup)
    assert person.page.evaluate("window.hacked") is None
    assert person.unexpected()
    person.expected += ["policy: ", "Content Security Policy", "status of 404", "net::ERR_"]
    person.elsewhere.clear()
