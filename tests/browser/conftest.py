"""What every test in a browser shares: the browser, an account, the page of it, a person."""

from __future__ import annotations

from contextlib import ExitStack, closing

import pytest
from consent_actors import ledger_folder
from consent_actors import sandbox as fresh
from harness import Sandbox
from playwright.sync_api import expect
from visiting import AXE, PIN, Visitor, chatting, end_page, listening, notified

from benchmarks import browser_session, fixtures
from kartra_mcp.ledger.ledger import Ledger

expect.set_options(timeout=20_000)  # bounds: nothing is judged by how soon it comes


@pytest.fixture(scope="session")
def browser():
    """In it, every name under `elsewhere.test` means this machine, as a rebound one does."""
    with browser_session.browser("--host-resolver-rules=MAP *.elsewhere.test 127.0.0.1") as started:
        yield started


@pytest.fixture
def place(tmp_path):
    """The account behind gate `human`, with a page; what a server started is ended."""
    made = fresh(tmp_path / "state", GATE_IRREVERSIBLE="human", PAGE="on")
    yield made
    end_page(made)


@pytest.fixture
def ledger(place):
    """The account's ledger, with a PIN."""
    with closing(Ledger(ledger_folder(place))) as made:
        made.pins.set(PIN, "ada")
        yield made


@pytest.fixture
def chat(place, ledger):
    with chatting(place) as made:
        yield made


@pytest.fixture
def served(place, ledger):
    """The page's own process, as a person starts it."""
    with browser_session.served(place.environment) as made:
        yield made


@pytest.fixture
def visit(browser):
    """Let a person in by an address; nothing may go wrong in the browser, unless expected."""
    people: list[Visitor] = []
    with ExitStack() as kept:

        def let_in(address: str, *, notify: bool = False, **context) -> Visitor:
            made = listening(browser.new_context(**context))
            kept.callback(made.close)
            person = Visitor(made, address)
            if notify:
                notified(made, person.root)
            people.append(person)
            return person.enter()

        yield let_in
        found = [line for person in people for line in person.unexpected()]
    assert found == []


@pytest.fixture(scope="session")
def axe():
    """`make browser` puts axe-core there; a page that nobody judged has not passed."""
    assert AXE.exists(), "axe-core is missing: run `make browser`, which gets it by npm"


@pytest.fixture(scope="session")
def months(tmp_path_factory) -> Sandbox:
    """An account with much done and something waiting; only to be looked at."""
    made = fresh(tmp_path_factory.mktemp("months"), GATE_IRREVERSIBLE="human", PAGE="on")
    fixtures.ledger_of(ledger_folder(made), waiting=3, lines=2_000)
    return made


@pytest.fixture(scope="session")
def months_served(months):
    with browser_session.served(months.environment) as made:
        yield made
