"""Numbers that the documents state, with their values in the code: a row for each."""

from __future__ import annotations

import re
import sys
from math import ceil
from pathlib import Path
from typing import Any

import matrix.soak
import matrix.workers
from clients import patience
from evals.__main__ import SAMPLED
from evals.corpus import AIMS, PLACES, WORDINGS, make_corpus
from matrix.whole import load, schedule
from matrix.whole.world import SHORT
from matrix.world import WRITES
from token_budgets import SEARCHED, WITHIN

from kartra_mcp.app import database_contact, page_discovery, page_launcher
from kartra_mcp.bulk import csv_items, running
from kartra_mcp.bulk.request import MAX_ITEMS
from kartra_mcp.calls import reconciliation, result_store, retry
from kartra_mcp.catalogue import exposure
from kartra_mcp.catalogue.command_tools import list_command_tools
from kartra_mcp.client_config.registry import ELICITATION_SECONDS
from kartra_mcp.consent import fact_reader, summary
from kartra_mcp.core.elicitation import ELICITATION_TIMEOUT
from kartra_mcp.core.timings import CallTimings, WriteTimings
from kartra_mcp.identity import login_exchange, provider_client, providers, token_rules, verifier
from kartra_mcp.identity.signatures import MIN_RSA_BITS
from kartra_mcp.kartra import commands
from kartra_mcp.ledger import (
    approval_records,
    bulk_records,
    bulk_rows,
    confirmations,
    errors,
    pin,
    rules,
    store,
    switch,
    transaction,
)
from kartra_mcp.ledger.postgres import page_tables
from kartra_mcp.ledger.postgres.connections import MAX_CONNECTIONS
from kartra_mcp.membrane import credentials, http_transport, send_right
from kartra_mcp.membrane.executable import SHIM_DEPTH
from kartra_mcp.onboarding.doctor import api_measurements
from kartra_mcp.onboarding.setup.report import READY_WITHIN
from kartra_mcp.options import OPTIONS
from kartra_mcp.processes import runner
from kartra_mcp.server import exit_watch, http_endpoint, stdio
from kartra_mcp.service import jobs, revocation_watch
from kartra_mcp.service.timings import ServiceTimings
from kartra_mcp.team import config, webhook
from kartra_mcp.web import sessions
from kartra_mcp.web.team import records
from kartra_mcp.web.timings import PageTimings
from kartra_mcp.web.views import charts

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))

from release import file_names  # noqa: E402  the tools import each other by such names

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
KIB, MIB = 1_024, 1_024 * 1_024
MEMBRANE, TEAM, WRITE = WriteTimings(), config.WriteTimes(), ServiceTimings().writes
BY_NAME = {option.name: option for option in OPTIONS}
DOCUMENTED = {one.command for one in list_command_tools(()).values()} - {"get_lead", ""}
PUBLISHED = {commands.find_command(key) for key in commands.PUBLISHED_KEYS}
GRACES = [
    float(found)
    for path in ("systemd/kartra-mcp.service", "chart/kartra-mcp/templates/deployment.yaml")
    for found in re.findall(
        r"(?:TimeoutStopSec=|terminationGracePeriodSeconds: )(\d+)",
        (ROOT / "deploy" / path).read_text("utf-8"),
    )
]
"""Seconds that the files of a deployment leave a replica to end."""
FAULTS = ROOT / "tests" / "matrix" / "faults.py"
CLOCK_FAULT = int(re.findall(r'"clock ahead", _set_clock\((\d+)\)', FAULTS.read_text("utf-8"))[0])
MEASURED_LIST = re.findall(
    r"\| the sandbox, \d+ tools \| ([\d,]+) tokens",
    (ROOT / "docs" / "performance.md").read_text("utf-8"),
)
LISTED = int(MEASURED_LIST[0].replace(",", ""))
"""Tokens of the sandbox's tool list, as `make bench` measured them."""
OLDEST_POSTGRES = re.findall(
    r"/usr/lib/postgresql/(\d+)/bin", (ROOT / ".ci" / "run").read_text("utf-8")
)
"""The version on which CI runs the tests of the ledger too."""
RUNS = re.findall(r"WHOLE\),(\d+),(\d+)\)", (ROOT / "Makefile").read_text("utf-8"))[0]
"""Runs of `make soak-team`: with whole replicas, and without."""

# Document → phrase in it, value in the code, the number of the phrase
NUMBERS: dict[str, list[tuple[str, Any, Any]]] = {
    "docs/team/identity.md": [
        ("RSA keys have at least 2048 bits", MIN_RSA_BITS, 2_048),
        ("clocks may differ by 30 seconds", token_rules.LEEWAY, 30),
        ("at most one hour since `iat`", token_rules.MAX_AGE, HOUR),
        ("a token for more than 90 minutes", token_rules.MAX_LIFETIME, 90 * MINUTE),
        ("at most 16 KiB", token_rules.MAX_TOKEN_CHARS, 16 * KIB),
        ("limited to 256 KiB", provider_client.MAX_BODY_BYTES, 256 * KIB),
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
        ("ends with `#` and six characters", summary.DIGEST, 6),
        ("Five wrong attempts within 15 minutes", pin.MAX_ATTEMPTS, 5),
        ("attempts within 15 minutes", pin.ATTEMPT_WINDOW_SECONDS, 15 * MINUTE),
        ("takes longer than a second", CallTimings().min_human, 1),
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
        ("its right to be sent (30 seconds)", MEMBRANE.send_seconds, 30),
        ("difference of the clocks (10 seconds)", MEMBRANE.skew_seconds, 10),
        ("`send_until` (30 seconds after it began)", MEMBRANE.send_seconds, 30),
        ("differ by more than 10 seconds", MEMBRANE.skew_seconds, 10),
        ("accepted request longer than 15 minutes", MEMBRANE.settle_seconds, 15 * MINUTE),
        ("or less than 15 minutes before", reconciliation.LATE_LOOK_DELAY, 15 * MINUTE),
        ("Over Membrane's API the 15 minutes", MEMBRANE.settle_seconds, 15 * MINUTE),
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
        ("10,000 tokens have room", BY_NAME["EXPOSE_TOKENS"].default, 10_000),
        ("20 actions take", len(commands.PUBLISHED_KEYS), 20),
        ("take about 8,500 tokens (`make bench", round(LISTED / 500) * 500, 8_500),
        ("under 2,500 tokens", SEARCHED, 2_500),
        ("within 15 % of o200k_base", WITHIN, 0.15),
    ],
    "docs/page.md": [
        ("once, within a day", page_discovery.LIFETIME, DAY),
        ("after an hour without an open page", PageTimings().idle, HOUR),
        ("figures of the last 30 days", charts.DAYS, 30),
        ("a session cookie", sessions.SESSION_SECONDS, DAY),
        ("lock the page and the terminal together for 15 minutes", pin.LOCK_SECONDS, 15 * MINUTE),
        ("Five wrong PINs", pin.MAX_ATTEMPTS, 5),
    ],
    "docs/setup.md": [("(`--wait 600`)", READY_WITHIN, 600)],
    "README.md": [
        ("valid for ten minutes", confirmations.LIFETIME, 10 * MINUTE),
        ("for up to 2,000 items", MAX_ITEMS, 2_000),
        ("for 15 minutes, long results", result_store.TTL, 15 * MINUTE),
    ],
    "docs/SECURITY.md": [
        ("reported a yes, after more than a second", CallTimings().min_human, 1),
        ("by itself, slower than a second", CallTimings().min_human, 1),
    ],
    "docs/bulk.md": [
        ("One tool, up to 2,000 items", MAX_ITEMS, 2_000),
        ("files of at most 8 MiB", csv_items.MAX_CSV_BYTES, 8 * MIB),
        ("Three equal failures in a row", running.EQUAL_FAILURES, 3),
        ("for 24 hours after the consent", bulk_records.CONSENT_LIFETIME, 24 * HOUR),
        ("continues within a day", bulk_records.CONSENT_LIFETIME, DAY),
        ("Results are kept for a day", bulk_rows.READ_RETENTION, DAY),
        ("known for 30 days after its end", bulk_rows.WRITE_RETENTION, 30 * DAY),
        ("for ten minutes, unless the user", approval_records.DECLINE_HOLDS, 10 * MINUTE),
    ],
    "docs/api.md": [
        ("valid for five minutes", credentials.LIFETIME, 5 * MINUTE),
        ("valid for 30 seconds", MEMBRANE.send_seconds, 30),
        ("a warning above 2 seconds", send_right.NOTICEABLE_SKEW, 2),
        ("a failure above 10", MEMBRANE.skew_seconds, 10),
        ("ended 1, 5, 30 or 60 seconds ago", api_measurements.ENDED_SECONDS, (1, 5, 30, 60)),
    ],
    "docs/policy.md": [
        ("of the last 24 hours count", rules.DAY, 24 * HOUR),
        ("sum of refunds in 24 hours", rules.DAY, 24 * HOUR),
        ("irreversible operations in 24 hours", rules.DAY, 24 * HOUR),
    ],
    "docs/commands.md": [
        ("documents 29 commands", len(DOCUMENTED), 29),
        ("actions for 17 of them", len(DOCUMENTED & PUBLISHED), 17),
    ],
    "docs/platforms.md": [
        ("128 KiB for each argument", runner.LINUX_ARGUMENT, 128 * KIB),
        ("900 KiB in all", runner.POSIX_COMMAND, 900 * KIB),
        ("32,000 characters", runner.WINDOWS_COMMAND, 32_000),
        ("ended in order within 2 s", ceil(stdio.SHUTDOWN_TIMEOUT + exit_watch.PARENT_INTERVAL), 2),
        ("ends within 2 s", ceil(stdio.SHUTDOWN_TIMEOUT + exit_watch.PARENT_INTERVAL), 2),
        ("more than three shims", SHIM_DEPTH, 3),
        ("at most 140 characters below", file_names.LONGEST_PATH, 140),
    ],
    "docs/publishing.md": [
        ("over 140 characters", file_names.LONGEST_PATH, 140),
    ],
    "docs/team/file.md": [
        ("none; 300", config.DEFAULT_MAX_AGE, 300),
        ("30, 900, 10", (TEAM.send_seconds, TEAM.settle_seconds, TEAM.skew_seconds), (30, 900, 10)),
    ],
    "docs/team/ledger.md": [
        ("`failed` by looking needs two looks", reconciliation.REQUIRED_LOOKS, 2),
        ("safe; a quarter of an hour", TEAM.settle_seconds, HOUR / 4),
        ("runs it every two minutes", jobs.SETTLE_SECONDS, 2 * MINUTE),
    ],
    "docs/team/operations.md": [
        ("end within 90 seconds after SIGTERM", WRITE, 90),
        ("PostgreSQL 15 or newer", int(OLDEST_POSTGRES[0]), 15),
        ("give a process 120 seconds", min(GRACES), 120),
        ("within two seconds", 2 * revocation_watch.POLL_SECONDS, 2),
        ("reads end after 60 seconds", database_contact.OFFLINE_SECONDS, 60),
        ("list of an account for 60 seconds", revocation_watch.MAX_AGE_SECONDS, 60),
        ("expired after a day", approval_records.LIFETIME, DAY),
        ("settles it every two minutes", jobs.SETTLE_SECONDS, 2 * MINUTE),
    ],
    "docs/team/page.md": [
        ("used once, within ten minutes", page_tables.LOGIN_SECONDS, 10 * MINUTE),
        ("ends after 30 minutes without", records.IDLE_SECONDS, 30 * MINUTE),
        ("8 hours after the login", records.SESSION_SECONDS, 8 * HOUR),
        ("seconds old** (300)", config.DEFAULT_MAX_AGE, 300),
        ("no answer in 10 seconds", webhook.TIMEOUT, 10),
        ("a fresh login, within a day", switch.RESUME_SECONDS, DAY),
    ],
    "docs/team/service.md": [
        ("takes more than 20 seconds", ServiceTimings().request_body, 20),
        ("more than 4 MiB", http_endpoint.MAX_BODY_BYTES, 4 * MIB),
        ("for 15 minutes, by the user", result_store.TTL, 15 * MINUTE),
        ("for 60 seconds after the last answer", database_contact.OFFLINE_SECONDS, 60),
        ("access was not read for 60 seconds", revocation_watch.MAX_AGE_SECONDS, 60),
        ("waits up to 90 seconds", WRITE, 90),
    ],
    "docs/team/matrix.md": [
        ("to send ends after 2 seconds", WRITES["send_seconds"], 2),
        (
            "a look counts 3 seconds after that",
            WRITES["settle_seconds"] + WRITES["skew_seconds"],
            3,
        ),
        ("told up to three times", matrix.workers.TRIES, 3),
        ("is wrong by ten minutes", CLOCK_FAULT, 600),
        ("plays 500 random schedules", int(RUNS[1]), 500),
        ("plays 300 runs", int(RUNS[0]), 300),
        ("three replicas", matrix.soak.REPLICAS, 3),
        ("each for up to three seconds", matrix.soak.LONGEST_FAULT, 3),
        ("to send ends after 3 seconds", SHORT.send_seconds, 3),
        ("for up to 6 seconds", schedule.LONGEST_FAULT, 6),
        ("calls of 24 clients", load.CLIENTS, 24),
        ("one of 25 of them a write", load.EACH_WRITE, 25),
        ("16 MiB of memory", load.MAX_GROWTH_KB, 16 * KIB),
        ("8 files or threads more", MAX_CONNECTIONS, 8),
        ("PostgreSQL are at most 8", MAX_CONNECTIONS, 8),
    ],
    "docs/evals.md": [
        ("plays 220 times", len(make_corpus()), 220),
        ("ten aims", len(AIMS), 10),
        ("in 22 wordings", len(WORDINGS), 22),
        ("over eleven places", len(PLACES), 11),
        ("under five of the conditions", len(SAMPLED), 5),
    ],
    "docs/clients/README.md": [
        ("held back for 70 seconds", patience.HOLD, 70),
        ("limit for a call is 50 seconds", BY_NAME["TIMEOUT"].default, 50),
    ],
    "docs/frameworks.md": [
        ("operation is blocked for ten minutes", approval_records.DECLINE_HOLDS, 10 * MINUTE),
        ("An answer in under a second", CallTimings().min_human, 1),
        ("The server's own limit is 50 seconds", BY_NAME["TIMEOUT"].default, 50),
    ],
    "docs/clients/codex.md": [
        ("A form waits up to 240 s", ELICITATION_TIMEOUT, 240),
        ("allows 300 s for a call", ELICITATION_SECONDS, 300),
    ],
    "docs/clients/goose.md": [
        ("allows 300 s for a call", ELICITATION_SECONDS, 300),
    ],
    "docs/decisions/0014-a-preview-is-bound-to-its-facts.md": [
        ("valid once, for ten minutes", confirmations.LIFETIME, 10 * MINUTE),
        ("than ten reads can cover", fact_reader.MAX_READS, 10),
    ],
    "docs/decisions/0022-dependency-httpx2.md": [
        ("is kept for four seconds", http_transport.KEEPALIVE_SECONDS, 4),
    ],
    "docs/decisions/0017-unknown-is-settled-by-looking.md": [
        ("at least 15 minutes", reconciliation.LATE_LOOK_DELAY, 15 * MINUTE),
    ],
    "docs/decisions/0028-the-page-is-a-process-of-its-own.md": [
        ("at most 15 seconds", page_launcher.START_TIMEOUT, 15),
    ],
    "docs/decisions/0029-dependency-aiohttp.md": [
        ("32 MB are a bound", http_transport.MAX_RESPONSE_BYTES, 32 * MIB),
    ],
    "docs/decisions/0034-commands-are-tools-without-an-action.md": [
        ("publishes 20 actions", len(commands.PUBLISHED_KEYS), 20),
        ("documents 29 commands", len(DOCUMENTED), 29),
    ],
    "docs/decisions/0042-dependency-pyjwt.md": [
        ("2048 bits at least", MIN_RSA_BITS, 2_048),
        ("within 256 KiB and 5 s", provider_client.MAX_BODY_BYTES, 256 * KIB),
        ("at most 5 minutes", verifier.CACHE_SECONDS, 5 * MINUTE),
    ],
}
# Document → numbers of others, which no code of ours decides: of clients, of Membrane, advice
OF_OTHERS = {
    "docs/clients/claude-code.md": ["30 s to start", "4,096 characters", "50,000 characters"],
    "docs/clients/claude-desktop.md": ["60 s to start", "after 60 s to 4 min", "1 MB (all"],
    "docs/clients/codex.md": ["half a second late"],
    "docs/clients/cursor.md": ["have 60 characters together"],
    "docs/clients/gemini.md": ["to 63 characters"],
    "docs/frameworks.md": ["start of a server is 5 seconds", "timeout for a call is 5 seconds"],
    "docs/clients/zed.md": ["after 60 s (reported"],
    "docs/mutants.md": ["100 % is not the goal"],
    "docs/team/ledger.md": ["within 60 seconds of its acceptance"],
    "docs/team/operations.md": ["tokens of 15 minutes or less", "older than half an hour"],
    "docs/team/matrix.md": ["300 runs in 1,482 s", "answers in 90 s, none wrong", "138 → 144 MiB"],
}
