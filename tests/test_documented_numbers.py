"""Numbers and lists in the documents: the same as in the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kartra_mcp.app import page_discovery
from kartra_mcp.bulk.request import MAX_ITEMS
from kartra_mcp.calls import reconciliation, result_store, retry
from kartra_mcp.catalogue import exposure
from kartra_mcp.client_config.registry import CLIENTS
from kartra_mcp.consent import fact_reader, summary
from kartra_mcp.core.elicitation import ELICITATION_TIMEOUT
from kartra_mcp.core.timings import CallTimings
from kartra_mcp.identity import login_exchange, provider_client, providers, token_rules, verifier
from kartra_mcp.identity.signatures import MIN_RSA_BITS
from kartra_mcp.ledger import (
    approval_records,
    confirmations,
    errors,
    pin,
    rules,
    store,
    transaction,
)
from kartra_mcp.onboarding.setup import clients
from kartra_mcp.onboarding.setup.report import READY_WITHIN
from kartra_mcp.options import OPTIONS, Option
from kartra_mcp.web import sessions
from kartra_mcp.web.timings import PageTimings
from kartra_mcp.web.views import charts

ROOT = Path(__file__).parents[1]
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
BY_NAME = {option.name: option for option in OPTIONS}

# Document → phrase in it, value in the code, the number of the phrase
NUMBERS: dict[str, list[tuple[str, Any, float]]] = {
    "docs/team/identity.md": [
        ("RSA keys have at least 2048 bits", MIN_RSA_BITS, 2_048),
        ("clocks may differ by 30 seconds", token_rules.LEEWAY, 30),
        ("at most one hour since `iat`", token_rules.MAX_AGE, HOUR),
        ("a token for more than 90 minutes", token_rules.MAX_LIFETIME, 90 * MINUTE),
        ("at most 16 KiB", token_rules.MAX_TOKEN_CHARS, 16 * 1_024),
        ("limited to 256 KiB", provider_client.MAX_BODY_BYTES, 256 * 1_024),
        ("and 5 seconds", provider_client.TIMEOUT, 5),
        ("again after 10 minutes", providers.REFRESH_SECONDS, 10 * MINUTE),
        ("at most once in 30 seconds", providers.MIN_REFRESH_SECONDS, 30),
        ("used for up to 24 hours", providers.MAX_KEY_AGE, DAY),
        ("again for 5 minutes", verifier.CACHE_SECONDS, 5 * MINUTE),
        ("takes at most 10 minutes", login_exchange.ATTEMPT_SECONDS, 10 * MINUTE),
    ],
    "docs/consent.md": [
        ("with at most ten reads", fact_reader.MAX_READS, 10),
        ("at most 160 ASCII characters", summary.SUMMARY, 160),
        ("The id is valid once, for ten minutes", confirmations.LIFETIME, 10 * MINUTE),
        ("An answer in under a second", CallTimings().min_human, 1),
        ("block the same operation for ten minutes", approval_records.DECLINE_HOLDS, 10 * MINUTE),
        ("After four minutes without an answer", ELICITATION_TIMEOUT, 4 * MINUTE),
        ("A request expires after 24 hours", approval_records.LIFETIME, 24 * HOUR),
        ("The PIN has at least six characters", pin.MIN_LENGTH, 6),
        ("lock it for 15 minutes", pin.LOCK_SECONDS, 15 * MINUTE),
    ],
    "docs/ledger.md": [
        ("may take a second longer", store.SETTLING_WAIT, 1),
        ("is `already_done` for 60 seconds", rules.JUST_NOW, MINUTE),
        ("within 30 days (`KARTRA_MCP_REPEAT", BY_NAME["REPEAT_WINDOW_DAYS"].default, 30),
        ("at least 15 minutes after the call", reconciliation.LATE_LOOK_DELAY, 15 * MINUTE),
        ("and five minutes apart", reconciliation.LOOK_DISTANCE, 5 * MINUTE),
        ("*Failed, nothing executed*: two looks", reconciliation.REQUIRED_LOOKS, 2),
        ("more than a minute behind", transaction.MAX_CLOCK_LAG, MINUTE),
        ("more than a day ahead", errors.REPLACEABLE_LAG, DAY),
    ],
    "docs/errors.md": [
        ("after a second, up to", CallTimings().retry, 1),
        ("up to three times", retry.MAX_RETRIES, 3),
        ("older than ten minutes", confirmations.LIFETIME, 10 * MINUTE),
        ("not answered within four minutes", ELICITATION_TIMEOUT, 4 * MINUTE),
        ("are blocked for ten minutes", approval_records.DECLINE_HOLDS, 10 * MINUTE),
    ],
    "docs/exposure.md": [
        ("up to `KARTRA_MCP_EXPOSE_TOKENS` (10,000)", BY_NAME["EXPOSE_TOKENS"].default, 10_000),
        ("3.75 to a token", exposure.CHARS_PER_TOKEN, 3.75),
    ],
    "docs/page.md": [
        ("once, within a day", page_discovery.LIFETIME, DAY),
        ("after an hour without an open page", PageTimings().idle, HOUR),
        ("figures of the last 30 days", charts.DAYS, 30),
        ("a session cookie", sessions.SESSION_SECONDS, DAY),
        ("lock the page and the terminal together for 15 minutes", pin.LOCK_SECONDS, 15 * MINUTE),
    ],
    "docs/setup.md": [("(`--wait 600`)", READY_WITHIN, 600)],
    "README.md": [
        ("valid for ten minutes", confirmations.LIFETIME, 10 * MINUTE),
        ("for up to 2,000 items", MAX_ITEMS, 2_000),
        ("for 15 minutes, long results", result_store.TTL, 15 * MINUTE),
    ],
}
ROWS = [(page, *row) for page, rows in NUMBERS.items() for row in rows]


def read(name: str) -> str:
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


@pytest.mark.parametrize(("page", "phrase", "value", "number"), ROWS, ids=[row[1] for row in ROWS])
def test_a_number_in_a_document_is_that_of_the_code(
    page: str, phrase: str, value: float, number: float
):
    assert phrase in read(page)
    assert value == number


def test_the_settings_whose_bad_value_is_their_default_are_the_named_ones():
    same = [option.name for option in OPTIONS if _keeps_its_default(option)]
    assert same == ["TIMEOUT", "EXPOSE", "EXPOSE_TOKENS"]
    assert f"{same[0]}, {same[1]} and {same[2]} keep their defaults" in read("README.md")


def _keeps_its_default(option: Option) -> bool:
    """Return whether a bad value keeps a default that is not the strictest value as well."""
    strictest = option.is_switch and option.default == option.on_error
    same = option.default not in (None, ()) and option.on_error == option.default
    return same and not strictest


def test_the_readme_shows_the_success_of_setup():
    assert f"✓ Claude Desktop {clients.DID['new']}" in read("README.md")


def test_the_readme_names_every_client_that_install_edits():
    named = (
        read("README.md").partition("edits the configuration of ")[2].partition(" and changes")[0]
    )
    assert set(named.replace(" or ", ", ").split(", ")) == {client.title for client in CLIENTS}
