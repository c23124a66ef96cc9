"""Table of all settings: name, parser, default, meaning, and the replacement of a bad value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kartra_mcp.core.models import Gate
from kartra_mcp.kartra.values import amount

ENV_PREFIX = "KARTRA_MCP_"
TEAM_VARIABLE = "KARTRA_MCP_TEAM"
"""Variable of the team commands: their team file. It is no setting of a single user's server."""
MIGRATE_VARIABLE = "KARTRA_MCP_MIGRATE_DATABASE"
"""Variable of `team migrate`: the database, with the role that owns the tables."""
MATCHES_NOTHING = ("(nothing)",)
"""Pattern that matches no tool: the strictest allow list."""

MAX_PORT = 65_535
MIN_RESULT_CHARS = 1_000
"""Least size of a result: a smaller one could not hold an error."""

_PATTERN = re.compile(r"[\w.*?!\[\]-]+")


@dataclass(frozen=True, slots=True)
class Parser:
    """Reader of one kind of value.

    `read` returns None for any other text; `wanted` describes the kind.
    """

    kind: str
    wanted: str
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Option:
    """One setting, and its row in the README's table.

    `on_error` replaces a bad value: the strictest value, or the default if none is stricter.
    `field` is the field of `Settings` that takes the value unchanged.
    """

    name: str
    parser: Parser
    default: Any
    help: str
    on_error: Any = None
    field: str = ""

    @property
    def kind(self) -> str:
        return self.parser.kind

    @property
    def is_switch(self) -> bool:
        return self.parser is SWITCH

    @property
    def variable(self) -> str:
        return ENV_PREFIX + self.name

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")

    @property
    def negation(self) -> str:
        """Flag that turns a switch off."""
        return "--no-" + self.flag[2:]


def _parse_switch(text: str) -> bool | None:
    word = text.lower()
    if word in {"1", "true", "on", "yes"}:
        return True
    return False if word in {"0", "false", "off", "no"} else None


def _parse_seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 < value <= 3600 else None  # noqa: PLR2004


def _parse_rate(text: str) -> float | None:
    return 0.0 if re.fullmatch(r"0+(?:\.0*)?", text) else _parse_seconds(text)


def _parse_count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,7}", text) and int(text) > 0 else None


def _parse_chars(text: str) -> int | None:
    value = _parse_number(text)
    return value if value and value >= MIN_RESULT_CHARS else None


def _parse_number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,7}", text) else None


def _parse_one_of(*words: str) -> Callable[[str], str | None]:
    return lambda text: text.lower() if text.lower() in words else None


def _parse_patterns(text: str) -> tuple[str, ...] | None:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    return parts if parts and all(_PATTERN.fullmatch(part) for part in parts) else None


def _parse_gate(text: str) -> Gate | None:
    word = text.lower()
    return Gate(word) if word in {str(gate) for gate in Gate} else None


def _parse_text(text: str) -> str:
    return text


def _parse_address(text: str) -> tuple[str, int] | None:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    valid = bool(colon and host) and re.fullmatch(r"[0-9]{1,5}", port) is not None
    return (host, int(port)) if valid and int(port) <= MAX_PORT else None


TEXT = Parser("text", "text", _parse_text)
SWITCH = Parser("switch", "on or off", _parse_switch)
SECONDS = Parser("seconds", "a number of seconds up to 3600", _parse_seconds)
RATE = Parser("rate", "a number of calls a second", _parse_rate)
COUNT = Parser("count", "a whole number from 1 to 9999999", _parse_count)
PATTERNS = Parser("patterns", "a list of names with commas between them", _parse_patterns)
GATE = Parser("gate", "one of " + ", ".join(Gate), _parse_gate)
CHARS = Parser("chars", f"a whole number from {MIN_RESULT_CHARS} to 9999999", _parse_chars)
NUMBER = Parser("number", "a whole number from 0 to 9999999", _parse_number)
AMOUNT = Parser("amount", "a sum such as 250 or 250.00", amount)
APPROVAL = Parser("approval", "client or outside", _parse_one_of("client", "outside"))
TRANSPORT = Parser("transport", "one of cli, api, auto", _parse_one_of("cli", "api", "auto"))
EXPOSE = Parser("expose", "one of all, search, auto", _parse_one_of("all", "search", "auto"))
ADDRESS = Parser("address", "an address HOST:PORT", _parse_address)
COMMANDS = Parser("commands", "auto or off", _parse_one_of("auto", "off"))

OPTIONS: tuple[Option, ...] = (
    Option(
        "MEMBRANE",
        TEXT,
        None,
        "The `membrane` program: an existing file, else a JSON array, else shell words.",
    ),
    Option(
        "CONNECTION",
        TEXT,
        None,
        "Id, key or exact name of the connection. Unset: the one served last, else the only READY "
        "one.",
    ),
    Option(
        "SANDBOX",
        SWITCH,
        False,
        "Serve the embedded rehearsal account. A real connection that is set as well is ignored.",
        on_error=True,
    ),
    Option(
        "STATE_DIR",
        TEXT,
        None,
        "Folder of the ledger, the action list and the sandbox account: an absolute path, or one "
        "that begins with `~`. Unset: the platform's own.",
    ),
    Option(
        "TIMEOUT",
        SECONDS,
        50.0,
        "Seconds for one call, including its wait in the queue, excluding the wait for the user.",
        on_error=50.0,
        field="timeout",
    ),
    Option(
        "MAX_CHILDREN",
        COUNT,
        4,
        "Largest number of Membrane's programs running at once.",
        on_error=1,
        field="max_children",
    ),
    Option(
        "RATE",
        RATE,
        10.0,
        "Calls a second to one connection, in bursts of at most one second's calls. 0: no limit.",
        on_error=1.0,
        field="rate",
    ),
    Option(
        "RESULT_CHARS",
        CHARS,
        20_000,
        "Largest result, in bytes of JSON. Most clients get it twice: as text and structure.",
        on_error=1_000,
        field="result_chars",
    ),
    Option(
        "READ_ONLY",
        SWITCH,
        False,
        "List and run only reads.",
        on_error=True,
        field="read_only",
    ),
    Option(
        "ALLOW",
        PATTERNS,
        (),
        "Allowed names or patterns: of tools, `kartra_` + key or `kartra_` + command. Unset: all.",
        on_error=MATCHES_NOTHING,
        field="allow",
    ),
    Option(
        "DENY",
        PATTERNS,
        (),
        "Denied names or patterns. Deny wins over allow.",
        on_error=("*",),
        field="deny",
    ),
    Option(
        "GATE_DESTRUCTIVE",
        GATE,
        Gate.FLAG,
        "Gate of destructive tools: allow, flag, preview, human or deny.",
        on_error=Gate.DENY,
    ),
    Option(
        "GATE_IRREVERSIBLE",
        GATE,
        Gate.PREVIEW,
        "Gate of irreversible tools: the same values.",
        on_error=Gate.DENY,
    ),
    Option(
        "CAP_REFUND",
        AMOUNT,
        None,
        "Largest refund. Unset: no limit.",
        on_error=Decimal(0),
    ),
    Option(
        "CAP_DAY_AMOUNT",
        AMOUNT,
        None,
        "Largest sum of refunds in 24 hours. Unset: no limit.",
        on_error=Decimal(0),
    ),
    Option(
        "CAP_DAY_COUNT",
        NUMBER,
        20,
        "Largest number of irreversible operations in 24 hours.",
        on_error=0,
    ),
    Option(
        "MAIL_PER_HOUR",
        NUMBER,
        100,
        "Writes in an hour that can start mail. The user must agree to each one above the limit.",
        on_error=0,
    ),
    Option(
        "CHECK_LEAD",
        SWITCH,
        True,
        "Look at the lead before a write that can start mail; a blacklisted, deleted or "
        "unsubscribed one, or one without GDPR consent, needs an explicit yes.",
        on_error=True,
        field="check_lead",
    ),
    Option(
        "WRITES",
        SWITCH,
        True,
        "`off` refuses every write of this process (`writes_stopped`), also one that was approved.",
        on_error=False,
        field="writes",
    ),
    Option(
        "REPEAT_WINDOW_DAYS",
        COUNT,
        30,
        "Days for which an equal partial refund counts as a repeat.",
        on_error=3650,
    ),
    Option("POLICY", TEXT, None, 'A TOML file with `[gates]`, `[tools."kartra_…"]` and `[caps]`.'),
    Option(
        "APPROVAL",
        APPROVAL,
        "client",
        "`client`: ask in the client where it can. `outside`: never ask there; gate preview takes "
        "two calls, gate human a PIN.",
        on_error="outside",
    ),
    Option(
        "TRANSPORT",
        TRANSPORT,
        "auto",
        "Access to Membrane: `cli`, its program; `api`, its API (docs/api.md); `auto`, the API if "
        "credentials for it are set.",
        on_error="none",
        field="transport",
    ),
    Option(
        "EXPOSE",
        EXPOSE,
        "auto",
        "Listed tools: `all`, one for each action; `search`, only tools that find and run actions; "
        "`auto`, all up to EXPOSE_TOKENS (docs/exposure.md).",
        on_error="auto",
        field="expose",
    ),
    Option(
        "EXPOSE_TOKENS",
        COUNT,
        10_000,
        "Size of the tool list, in tokens, above which `auto` changes to `search`.",
        on_error=10_000,
        field="expose_tokens",
    ),
    Option(
        "COMMANDS",
        COMMANDS,
        "auto",
        "`auto`: a tool for each documented Kartra command that no action covers "
        "(docs/commands.md). `off`: none.",
        on_error="off",
        field="commands",
    ),
    Option(
        "IMPORT_DIR",
        TEXT,
        None,
        "The only folder from which `kartra_bulk_run` may read CSV files (docs/bulk.md): an "
        "absolute path, or one that begins with `~`. Unset: none.",
    ),
    Option(
        "PAGE",
        SWITCH,
        True,
        "Start the approval page when the user has to approve (docs/page.md).",
        on_error=False,
        field="page",
    ),
    Option(
        "ACTOR",
        TEXT,
        None,
        "User of this server, as the ledger records it. Unset: the OS user.",
    ),
)
"""Every setting, in the order of the README's table."""


_OF_ONE_USER = frozenset(
    {"MEMBRANE", "CONNECTION", "SANDBOX", "POLICY", "TRANSPORT", "APPROVAL", "PAGE", "ACTOR"}
    | {"IMPORT_DIR"}
)
ACCOUNT_SETTINGS = tuple(one.name for one in OPTIONS if one.name not in _OF_ONE_USER)
"""Settings that hold for every account of a team; the team file decides the others."""

SERVICE_OPTIONS: tuple[Option, ...] = (
    Option(
        "HTTP",
        ADDRESS,
        ("127.0.0.1", 8000),
        "Address on which the service listens, behind a proxy that ends TLS.",
        on_error=("127.0.0.1", 8000),
    ),
    Option("TEAM", TEXT, None, "The team file."),
    Option(
        "METRICS",
        ADDRESS,
        None,
        "Address of the metrics for Prometheus; it must not be public. Unset: none.",
    ),
)
"""The settings of `serve --http`, of no meaning for the server of one user."""


def is_unset(text: str | None) -> bool:
    """Return True for an empty value, and for a `${user_config.…}` that a client left unfilled."""
    given = (text or "").strip()
    return not given or given.startswith("${user_config")
