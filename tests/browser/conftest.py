"""Fixtures of the browser tests: Chromium, an account, its page, visitors."""

from __future__ import annotations

from contextlib import ExitStack, closing

import pytest
from consent_actors import ledger_folder
from consent_actors import sandbox as fresh
from harness import Sandbox
from playwright.sync_api import expect
from visiting import AXE, PIN, Visitor, chatting, end_page, listening, notified

from benchmarks import browser_session, fixtures
from kartra_mcp.ledger.sqlite.store import open_ledger

expect.set_options(timeout=20_000)  # bounds: nothing is judged by how soon it comes


@pytest.fixture(scope="session")
def browser():
    """Chromium that resolves `*.elsewhere.test` to this machine, as DNS rebinding does."""
    with browser_session.browser("--host-resolver-rules=MAP *.elsewhere.test 127.0.0.1") as started:
        yield started


@pytest.fixture
def place(tmp_path):
    """An account with gate `human` and a page; a page that a server started is ended."""
    made = fresh(tmp_path / "state", GATE_IRREVERSIBLE="human", PAGE="on")
    yield made
    end_page(made)


@pytest.fixture
def ledger(place):
    """The account's ledger, with a PIN."""
    with closing(open_ledger(ledger_folder(place))) as made:
        made.pins.set(PIN, "ada")
        yield made


@pytest.fixture
def chat(place, ledger):
    with chatting(place) as made:
        yield made


@pytest.fixture
def served(place, ledger):
    """The page's own process, started by the command."""
    with browser_session.served(place.environment) as made:
        yield made


@pytest.fixture
def visit(browser):
    """Return a function that opens a login address; unexpected browser errors fail the test."""
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
    """The path of axe-core. Tests fail without it, because `make browser` installs it."""
    assert AXE.exists(), "axe-core is missing: run `make browser`, which gets it by npm"


@pytest.fixture(scope="session")
def months(tmp_path_factory) -> Sandbox:
    """A read-only account with a long history and pending approvals."""
    made = fresh(tmp_path_factory.mktemp("months"), GATE_IRREVERSIBLE="human", PAGE="on")
    fixtures.ledger_of(ledger_folder(made), waiting=3, lines=2_000)
    return made


@pytest.fixture(scope="session")
def months_served(months):
    with browser_session.served(months.environment) as made:
        yield made
