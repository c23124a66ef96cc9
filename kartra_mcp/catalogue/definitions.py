"""MCP tool definitions, and validation of the built-in tools' arguments. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    asks = is_gated(tool, rules) and _should_ask(tool.risk, {tool.name}, rules)
    return _make_definition(listed, asks=asks)


def make_action_definition(entry: ActionTool, rules: Policy) -> dict[str, Any]:
    """Return an action as MCP lists it."""
    schema = entry.input_schema(gated=gates.takes_consent_arguments(entry.risk, entry.names, rules))
    listed = ToolListing(entry.tool, entry.title, entry.description, schema, entry.risk)
    return _make_definition(listed, asks=_should_ask(entry.risk, entry.names, rules))


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


def _should_ask(risk: Risk, names: Iterable[str], rules: Policy) -> bool:
    """Return True if the user should see a call: Claude Code prompts for allowed tools too."""
    return gates.resolve_gate(risk, names, rules) in (Gate.PREVIEW, Gate.HUMAN)


def _make_definition(tool: ToolListing, *, asks: bool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": tool.schema,
        "annotations": catalogue.tool_annotations(tool.title, tool.risk),
        **({"_meta": {"anthropic/requiresUserInteraction": True}} if asks else {}),
    }
