"""MCP tool definitions, and validation of the built-in tools' arguments. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kartra_mcp.catalogue import catalogue, consent_arguments
from kartra_mcp.catalogue.builtin_tools import BULK_RUN, PROXY_READ, RUN_READ, BuiltinTool
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.policy import gates
from kartra_mcp.policy.gates import Policy
from kartra_mcp.schemas import arguments
from kartra_mcp.schemas.portable import PortableSchema, make_portable

APPROVAL_CARD = "ui://kartra/approval"
"""Resource by which clients with MCP Apps show a request that waits for other people."""
MAX_BULK_NAMES = 100_000
"""Names in all items of a bulk run; each item is limited like a call of its own."""


def builtin_definition(tool: BuiltinTool, rules: Policy) -> dict[str, Any]:
    """Return a built-in tool as MCP lists it."""
    schema = dict(tool.schema)
    if is_gated(tool, rules):
        own = schema.get("properties", {})
        added = consent_arguments.consent_properties(own, repeat=tool.risk > Risk.READ)
        schema["properties"] = {**own, **added}
    listed = ToolListing(tool.name, tool.title, tool.description, schema, tool.risk)
    gate = gates.resolve_gate(tool.risk, {tool.name}, rules) if is_gated(tool, rules) else None
    return _make_definition(listed, gate, rules)


def make_action_definition(entry: ActionTool, rules: Policy) -> dict[str, Any]:
    """Return an action as MCP lists it."""
    schema = entry.input_schema(gated=gates.takes_consent_arguments(entry.risk, entry.names, rules))
    listed = ToolListing(entry.tool, entry.title, entry.description, schema, entry.risk)
    gate = gates.resolve_gate(entry.risk, entry.names, rules)
    return _make_definition(listed, gate, rules)


def validate_builtin_arguments(tool: BuiltinTool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the validated arguments of a built-in tool that is not a raw request."""
    arguments.limit_names(given, MAX_BULK_NAMES if tool is BULK_RUN else arguments.MAX_NAMES)
    return arguments.validate(_make_portable(tool), coerce_arguments(tool, given), strict=True)


def coerce_arguments(tool: BuiltinTool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a built-in tool's arguments in the declared types, without absent ones."""
    portable = _make_portable(tool)
    present = arguments.drop_absent(portable, given, None)
    return arguments.coerce_numbers(portable, present, portable.declared, frozenset())


@cache
def _make_portable(tool: BuiltinTool) -> PortableSchema:
    return make_portable(dict(tool.schema))


def is_gated(tool: BuiltinTool, rules: Policy) -> bool:
    """Return whether a built-in tool takes the consent arguments.

    Raw reads and reads by name take them too if any tool has a gate of its own.
    """
    any_gate = any(gate is not Gate.ALLOW for _, gate in rules.tools)
    return tool.gated or (tool in (PROXY_READ, RUN_READ) and any_gate)


@dataclass(frozen=True, slots=True)
class ToolListing:
    """MCP definition of a tool."""

    name: str
    title: str
    description: str
    schema: Mapping[str, Any]
    risk: Risk


def _make_meta(gate: Gate | None, rules: Policy) -> dict[str, Any]:
    """Return `_meta` of a tool: what clients need beyond its schema."""
    meta: dict[str, Any] = {}
    if gate in (Gate.PREVIEW, Gate.HUMAN):
        # Claude Code then shows a call to the user even where the tool is allowed.
        meta["anthropic/requiresUserInteraction"] = True
    if gate is Gate.HUMAN and rules.rights is not None:
        # Other people of a team approve. The card may not call the tool: it decides nothing.
        meta["ui"] = {"resourceUri": APPROVAL_CARD, "visibility": ["model"]}
    return meta


def _make_definition(tool: ToolListing, gate: Gate | None, rules: Policy) -> dict[str, Any]:
    meta = _make_meta(gate, rules)
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": tool.schema,
        "annotations": catalogue.tool_annotations(tool.title, tool.risk),
        **({"_meta": meta} if meta else {}),
    }
