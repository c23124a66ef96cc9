"""Table of built-in tools; `calls/dispatcher.py` implements them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.request_schema import READ_SCHEMA, WRITE_SCHEMA


@dataclass(frozen=True, slots=True, eq=False)
class BuiltinTool:
    """A tool that is not an action; compared by identity.

    `risk` is the highest it can have; `min_risk` decides whether it is hidden.
    """

    name: str
    title: str
    description: str
    schema: Mapping[str, Any]
    risk: Risk = Risk.READ
    min_risk: Risk = Risk.READ

    @property
    def gated(self) -> bool:
        return self.risk >= Risk.DESTRUCTIVE


def _object_schema(required: list[str], **properties: Any) -> dict[str, Any]:
    needed = {"required": required} if required else {}
    return {"type": "object", "properties": properties, **needed}


STATUS = BuiltinTool(
    "kartra_status",
    "Kartra status",
    "What this server serves: account, connection, program, login, actions, gates, and the remedy "
    "for each problem. Call it first when something fails.",
    {"type": "object", "properties": {}},
)
CONNECT = BuiltinTool(
    "kartra_connect",
    "Connect Kartra",
    "Find, reconnect or start the Kartra connection: returns the address for the user to open, or "
    "that it is ready. Takes no key, password or code.",
    {"type": "object", "properties": {}},
    risk=Risk.WRITE,
    min_risk=Risk.WRITE,
)
SEARCH = BuiltinTool(
    "kartra_search_actions",
    "Search Kartra actions",
    "Find the tool for a task in plain words: tool names, one line each, and their risk.",
    _object_schema(
        ["intent"],
        intent={
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "e.g. 'give a customer access to a course'",
        },
    ),
)
READ_MORE = BuiltinTool(
    "kartra_read_more",
    "Read more of a result",
    "Continue a result that was cut (`truncated` in an answer). Kept for 15 minutes.",
    _object_schema(
        ["result_id"],
        result_id={"type": "string"},
        offset={
            "type": "integer",
            "minimum": 0,
            "description": "Default: where it was cut",
        },
        limit={"type": "integer", "minimum": 1},
        fields={
            "type": "array",
            "items": {"type": "string"},
            "description": "Only these fields of each item",
        },
        path={
            "type": "string",
            "description": "JSON Pointer",
        },
    ),
)
PROXY_READ = BuiltinTool(
    "kartra_proxy_read",
    "Raw Kartra read",
    "Send a raw request to Kartra's API, for reads that no other tool covers: "
    'POST /api with {"actions": [{"cmd": …}], "lead": {…}} or {"get_lead": {"email": …}}. '
    "Known reads only.",
    READ_SCHEMA,
)
PROXY_WRITE = BuiltinTool(
    "kartra_proxy_write",
    "Raw Kartra write",
    "Send a raw request to Kartra's API, for writes that no other tool covers. Judged by its "
    "commands and path; refunds and cancellations have tools of their own. "
    "May ask for confirmation.",
    WRITE_SCHEMA,
    risk=Risk.IRREVERSIBLE,
    min_risk=Risk.WRITE,
)
LEDGER = BuiltinTool(
    "kartra_ledger",
    "Kartra ledger",
    "The newest writes through this server: what was done, refused or is unknown, by whose "
    "consent, and how to undo it.",
    _object_schema(
        [],
        count={"type": "integer", "minimum": 1, "maximum": 100},
        state={
            "type": "string",
            "enum": ["running", "succeeded", "failed", "refused", "unknown"],
        },
        tool={"type": "string"},
        lead={"type": "string", "description": "E-mail address"},
        target={"type": "string", "description": "Id of a transaction or subscription"},
    ),
)
RECONCILE = BuiltinTool(
    "kartra_reconcile",
    "Settle an unknown write",
    "Check in the account whether a write with an unknown outcome was done. Changes only the "
    "ledger, never repeats the write.",
    _object_schema(
        ["intent"], intent={"type": "string", "description": "Its id, from kartra_ledger"}
    ),
)
DESCRIBE = BuiltinTool(
    "kartra_describe_action",
    "Describe a Kartra action",
    "One action found by kartra_search_actions: arguments, risk, gate, undo, what runs it.",
    _object_schema(["action"], action={"type": "string", "description": "Its tool name"}),
)
_TO_RUN: Mapping[str, Any] = {
    "action": {"type": "string", "description": "Its tool name"},
    "arguments": {"type": "object", "description": "See kartra_describe_action"},
}
RUN_READ = BuiltinTool(
    "kartra_run_read",
    "Run a Kartra read",
    "Run an action of risk read by its tool name.",
    _object_schema(["action"], **_TO_RUN),
)
RUN_WRITE = BuiltinTool(
    "kartra_run_write",
    "Run a Kartra write",
    "Run any action by its tool name, under its own rules. May ask for confirmation.",
    _object_schema(["action"], **_TO_RUN),
    risk=Risk.IRREVERSIBLE,
    min_risk=Risk.WRITE,
)
BULK_RUN = BuiltinTool(
    "kartra_bulk_run",
    "Run a tool in bulk",
    "Run one tool for up to 2,000 items with one consent, or undo a run. The first call checks "
    "all, runs nothing; then bulk_id alone.",
    _object_schema(
        [],
        tool={"type": "string"},
        arguments={"type": "object", "description": "Shared by all items"},
        items={"type": "array", "items": {"type": "object"}, "description": "Arguments of each"},
        from_result={
            "type": "object",
            "description": "{result_id or bulk_id, path, map: {argument: field}, where, state}",
        },
        csv={"type": "object", "description": "{file, map}"},
        skip_invalid={"type": "boolean"},
        include_suppressed={"type": "boolean", "description": "Mail leads that opted out too"},
        bulk_id={"type": "string"},
        undo={"type": "string", "description": "A bulk_id"},
    ),
    risk=Risk.IRREVERSIBLE,
    min_risk=Risk.READ,
)
BULK_STATUS = BuiltinTool(
    "kartra_bulk_status",
    "Status of bulk runs",
    "One bulk run and its items, or the newest runs.",
    _object_schema(
        [],
        bulk_id={"type": "string"},
        cancel={"type": "boolean"},
        offset={"type": "integer", "minimum": 0},
        limit={"type": "integer", "minimum": 1},
        where={"type": "object", "description": "{field, equals | contains | exists}"},
        state={
            "type": "string",
            "enum": ["waiting", "running", "succeeded", "failed", "unknown", "skipped"],
        },
    ),
)
BUILTIN_TOOLS: Mapping[str, BuiltinTool] = {
    tool.name: tool
    for tool in (
        *(STATUS, CONNECT, SEARCH, DESCRIBE, RUN_READ, RUN_WRITE),
        *(READ_MORE, BULK_RUN, BULK_STATUS, LEDGER, RECONCILE, PROXY_READ, PROXY_WRITE),
    )
}
"""Built-in tools by name, in the order of `tools/list`."""
