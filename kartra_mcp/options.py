"""Every setting, as a table: its name, kind, default, meaning, and what a bad value becomes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kartra_mcp.core.models import Gate

PREFIX = "KARTRA_MCP_"
NOTHING = ("(nothing)",)
"""Names that match no tool."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the README's table; `strictest` is what a bad value becomes."""

    name: str
    kind: str
    default: Any
    meaning: str
    strictest: Any = None

    @property
    def variable(self) -> str:
        return PREFIX + self.name

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "MEMBRANE",
        "text",
        None,
        "The `membrane` program: an existing file, else a JSON array, else shell words.",
    ),
    Setting(
        "CONNECTION",
        "text",
        None,
        "Id or key of the connection. Unset: the one served last, else the only READY one.",
    ),
    Setting(
        "SANDBOX",
        "switch",
        False,
        "Serve the embedded rehearsal account; a real connection set beside it is ignored.",
        strictest=True,
    ),
    Setting(
        "STATE_DIR",
        "text",
        None,
        "Folder for the list, the ledger and the sandbox account. Unset: the platform's own.",
    ),
    Setting(
        "TIMEOUT",
        "seconds",
        50.0,
        "Seconds for one whole call, waiting in the queue included.",
        strictest=50.0,
    ),
    Setting("MAX_CHILDREN", "count", 4, "Programs running at once.", strictest=1),
    Setting(
        "RATE",
        "rate",
        10.0,
        "Calls a second to one connection, with a bucket of one second's worth; 0 is no throttle.",
        strictest=1.0,
    ),
    Setting(
        "RESULT_CHARS",
        "chars",
        20_000,
        "Characters of the JSON of one result (it goes out twice: as text and as structure).",
        strictest=1_000,
    ),
    Setting("READ_ONLY", "switch", False, "Only reads are listed and run.", strictest=True),
    Setting(
        "ALLOW",
        "patterns",
        (),
        "Names or patterns that may be used, by tool name, `kartra_` + key or `kartra_` + command.",
        strictest=NOTHING,
    ),
    Setting(
        "DENY",
        "patterns",
        (),
        "Names or patterns that may not; deny wins over allow.",
        strictest=("*",),
    ),
    Setting(
        "GATE_DESTRUCTIVE",
        "gate",
        Gate.FLAG,
        "What destructive tools need: allow, flag, preview, human or deny.",
        strictest=Gate.DENY,
    ),
    Setting(
        "GATE_IRREVERSIBLE",
        "gate",
        Gate.PREVIEW,
        "The same for irreversible tools.",
        strictest=Gate.DENY,
    ),
    Setting("CAP_REFUND", "amount", None, "The largest refund. Unset: none.", strictest=Decimal(0)),
    Setting(
        "CAP_DAY_AMOUNT",
        "amount",
        None,
        "The sum of refunds in 24 hours. Unset: none.",
        strictest=Decimal(0),
    ),
    Setting("CAP_DAY_COUNT", "number", 20, "Irreversible acts in 24 hours.", strictest=0),
    Setting(
        "MAIL_PER_HOUR",
        "number",
        100,
        "Writes in an hour that can start mail; above it a person has to agree to each.",
        strictest=0,
    ),
    Setting(
        "REPEAT_WINDOW_DAYS",
        "count",
        30,
        "Days for which an equal partial refund counts as a repeat.",
        strictest=3650,
    ),
    Setting(
        "POLICY", "text", None, 'A TOML file with `[gates]`, `[tools."kartra_…"]` and `[caps]`.'
    ),
    Setting(
        "APPROVAL",
        "approval",
        "client",
        "Where a person answers under gate human: `client` if it can ask, or always `outside`.",
        strictest="outside",
    ),
    Setting(
        "TRANSPORT",
        "transport",
        "auto",
        "How Membrane is asked: `cli`, its program; `api` (docs/api.md); `auto`, the API where "
        "credentials for it are set.",
        strictest="none",
    ),
    Setting(
        "EXPOSE",
        "expose",
        "auto",
        "What is listed: `all` actions; `search`, only tools that find and run them; `auto`, all "
        "up to EXPOSE_TOKENS (docs/exposure.md).",
        strictest="auto",
    ),
    Setting(
        "EXPOSE_TOKENS",
        "count",
        10_000,
        "Tokens of the list above which `auto` turns to `search`.",
        strictest=10_000,
    ),
    Setting(
        "PAGE",
        "switch",
        True,
        "Whether the page is started when a person has to approve (docs/page.md).",
        strictest=False,
    ),
    Setting("ACTOR", "text", None, "Who is behind this server, for the ledger. Unset: the user."),
)
"""Every setting, in the order of the README's table."""
