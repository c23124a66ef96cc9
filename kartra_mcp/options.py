"""Every setting, as a table: its name, parser, default, meaning, and what a bad value becomes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kartra_mcp.core.models import Gate
from kartra_mcp.kartra.values import amount

PREFIX = "KARTRA_MCP_"
NOTHING = ("(nothing)",)
"""Names that match no tool."""

FEWEST_CHARS = 1_000
"""Below that not even an error would fit."""

_PATTERN = re.compile(r"[\w.*?!\[\]-]+")


@dataclass(frozen=True, slots=True)
class Parser:
    """Reader of one kind of value: None for text that is not one. `wanted` describes the kind."""

    kind: str
    wanted: str
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the README's table; `on_error` is the strictest value, used for a bad one.

    `field` is the field of `Settings` that takes the value as it is, `limit` that of `Limits`.
    """

    name: str
    parser: Parser
    default: Any
    meaning: str
    on_error: Any = None
    field: str = ""
    limit: str = ""

    @property
    def kind(self) -> str:
        return self.parser.kind

    @property
    def is_switch(self) -> bool:
        return self.parser is SWITCH

    @property
    def variable(self) -> str:
        return PREFIX + self.name

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")

    @property
    def negation(self) -> str:
        """The flag that turns a switch off."""
        return "--no-" + self.flag[2:]


def _switch(text: str) -> bool | None:
    word = text.lower()
    if word in {"1", "true", "on", "yes"}:
        return True
    return False if word in {"0", "false", "off", "no"} else None


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 < value <= 3600 else None  # noqa: PLR2004


def _rate(text: str) -> float | None:
    return 0.0 if re.fullmatch(r"0+(?:\.0*)?", text) else _seconds(text)


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,7}", text) and int(text) > 0 else None


def _chars(text: str) -> int | None:
    value = _number(text)
    return value if value and value >= FEWEST_CHARS else None


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,7}", text) else None


def _approval(text: str) -> str | None:
    return text.lower() if text.lower() in {"client", "outside"} else None


def _transport(text: str) -> str | None:
    return text.lower() if text.lower() in {"cli", "api", "auto"} else None


def _expose(text: str) -> str | None:
    return text.lower() if text.lower() in {"all", "search", "auto"} else None


def _patterns(text: str) -> tuple[str, ...] | None:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    return parts if parts and all(_PATTERN.fullmatch(part) for part in parts) else None


def _gate(text: str) -> Gate | None:
    word = text.lower()
    return Gate(word) if word in {str(gate) for gate in Gate} else None


def _text(text: str) -> str:
    return text


TEXT = Parser("text", "text", _text)
SWITCH = Parser("switch", "on or off", _switch)
SECONDS = Parser("seconds", "a number of seconds up to 3600", _seconds)
RATE = Parser("rate", "a number of calls a second", _rate)
COUNT = Parser("count", "a whole number from 1 to 9999999", _count)
PATTERNS = Parser("patterns", "a list of names with commas between them", _patterns)
GATE = Parser("gate", "one of " + ", ".join(Gate), _gate)
CHARS = Parser("chars", f"a whole number from {FEWEST_CHARS} to 9999999", _chars)
NUMBER = Parser("number", "a whole number from 0 to 9999999", _number)
AMOUNT = Parser("amount", "a sum such as 250 or 250.00", amount)
APPROVAL = Parser("approval", "client or outside", _approval)
TRANSPORT = Parser("transport", "one of cli, api, auto", _transport)
EXPOSE = Parser("expose", "one of all, search, auto", _expose)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "MEMBRANE",
        TEXT,
        None,
        "The `membrane` program: an existing file, else a JSON array, else shell words.",
    ),
    Setting(
        "CONNECTION",
        TEXT,
        None,
        "Id or key of the connection. Unset: the one served last, else the only READY one.",
    ),
    Setting(
        "SANDBOX",
        SWITCH,
        False,
        "Serve the embedded rehearsal account; a real connection set beside it is ignored.",
        on_error=True,
    ),
    Setting(
        "STATE_DIR",
        TEXT,
        None,
        "Folder for the list, the ledger and the sandbox account. Unset: the platform's own.",
    ),
    Setting(
        "TIMEOUT",
        SECONDS,
        50.0,
        "Seconds for one whole call, waiting in the queue included.",
        on_error=50.0,
        field="timeout",
    ),
    Setting(
        "MAX_CHILDREN", COUNT, 4, "Programs running at once.", on_error=1, field="max_children"
    ),
    Setting(
        "RATE",
        RATE,
        10.0,
        "Calls a second to one connection, with a bucket of one second's worth; 0 is no throttle.",
        on_error=1.0,
        field="rate",
    ),
    Setting(
        "RESULT_CHARS",
        CHARS,
        20_000,
        "Characters of the JSON of one result (it goes out twice: as text and as structure).",
        on_error=1_000,
        field="result_chars",
    ),
    Setting(
        "READ_ONLY",
        SWITCH,
        False,
        "Only reads are listed and run.",
        on_error=True,
        field="read_only",
    ),
    Setting(
        "ALLOW",
        PATTERNS,
        (),
        "Names or patterns that may be used, by tool name, `kartra_` + key or `kartra_` + command.",
        on_error=NOTHING,
        field="allow",
    ),
    Setting(
        "DENY",
        PATTERNS,
        (),
        "Names or patterns that may not; deny wins over allow.",
        on_error=("*",),
        field="deny",
    ),
    Setting(
        "GATE_DESTRUCTIVE",
        GATE,
        Gate.FLAG,
        "What destructive tools need: allow, flag, preview, human or deny.",
        on_error=Gate.DENY,
    ),
    Setting(
        "GATE_IRREVERSIBLE",
        GATE,
        Gate.PREVIEW,
        "The same for irreversible tools.",
        on_error=Gate.DENY,
    ),
    Setting(
        "CAP_REFUND",
        AMOUNT,
        None,
        "The largest refund. Unset: none.",
        on_error=Decimal(0),
        limit="cap_refund",
    ),
    Setting(
        "CAP_DAY_AMOUNT",
        AMOUNT,
        None,
        "The sum of refunds in 24 hours. Unset: none.",
        on_error=Decimal(0),
        limit="cap_day_amount",
    ),
    Setting(
        "CAP_DAY_COUNT",
        NUMBER,
        20,
        "Irreversible acts in 24 hours.",
        on_error=0,
        limit="cap_day_count",
    ),
    Setting(
        "MAIL_PER_HOUR",
        NUMBER,
        100,
        "Writes in an hour that can start mail; above it a person has to agree to each.",
        on_error=0,
        limit="mail_per_hour",
    ),
    Setting(
        "REPEAT_WINDOW_DAYS",
        COUNT,
        30,
        "Days for which an equal partial refund counts as a repeat.",
        on_error=3650,
    ),
    Setting("POLICY", TEXT, None, 'A TOML file with `[gates]`, `[tools."kartra_…"]` and `[caps]`.'),
    Setting(
        "APPROVAL",
        APPROVAL,
        "client",
        "Where a person answers under gate human: `client` if it can ask, or always `outside`.",
        on_error="outside",
    ),
    Setting(
        "TRANSPORT",
        TRANSPORT,
        "auto",
        "How Membrane is asked: `cli`, its program; `api` (docs/api.md); `auto`, the API where "
        "credentials for it are set.",
        on_error="none",
        field="transport",
    ),
    Setting(
        "EXPOSE",
        EXPOSE,
        "auto",
        "What is listed: `all` actions; `search`, only tools that find and run them; `auto`, all "
        "up to EXPOSE_TOKENS (docs/exposure.md).",
        on_error="auto",
        field="expose",
    ),
    Setting(
        "EXPOSE_TOKENS",
        COUNT,
        10_000,
        "Tokens of the list above which `auto` turns to `search`.",
        on_error=10_000,
        field="expose_tokens",
    ),
    Setting(
        "PAGE",
        SWITCH,
        True,
        "Whether the page is started when a person has to approve (docs/page.md).",
        on_error=False,
        field="page",
    ),
    Setting("ACTOR", TEXT, None, "Who is behind this server, for the ledger. Unset: the user."),
)
"""Every setting, in the order of the README's table."""


_SWITCH_WORDS = frozenset({"1", "true", "on", "yes", "0", "false", "off", "no"})


def flags_of(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """`--timeout 5 --no-page` → ({"TIMEOUT": "5", "PAGE": "off"}, words not understood).

    Read without argparse, whose import the start of the server does not wait for.
    """
    by_flag = {setting.flag: setting for setting in SETTINGS}
    negations = {setting.negation: setting for setting in SETTINGS if setting.is_switch}
    flags: dict[str, str] = {}
    left: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        setting = by_flag.get(flag) or negations.get(word)
        said = value if equals else _said(setting, word, rest) if setting else None
        if setting is None or said is None or setting.name in flags:
            left.append(word)
        else:
            flags[setting.name] = said
    return flags, left


def _said(setting: Setting, word: str, rest: list[str]) -> str | None:
    """Return the value of a flag without `=`, taken from the words behind it where it has one."""
    following = rest[0] if rest else "--"
    if not setting.is_switch:
        return None if following.startswith("--") else rest.pop(0)
    if word == setting.negation:
        return "off"
    return rest.pop(0) if following.lower() in _SWITCH_WORDS else "on"
