"""Tools as MCP lists them, and the validated arguments of the server's own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kartra_mcp.catalogue import catalogue, consent_arguments
from kartra_mcp.catalogue.builtin_tools import PROXY_READ, RUN_READ, RUN_WRITE, OwnTool
from kartra_mcp.catalogue.catalogue import Entry
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.policy import gates
from kartra_mcp.policy.gates import Policy
from kartra_mcp.schemas import arguments
from kartra_mcp.schemas.portable import PortableSchema, make_portable


def own_definition(tool: OwnTool, rules: Policy) -> dict[str, Any]:
    """One of the server's own tools as MCP lists it."""
    schema = dict(tool.schema)
    if is_gated(tool, rules):
        own = schema.get("properties", {})
        added = consent_arguments.properties(own, refund=tool is RUN_WRITE)
        schema["properties"] = {**own, **added}
    listed = Listed(tool.name, tool.title, tool.description, schema, tool.risk)
    asks = is_gated(tool, rules) and _asks(tool.risk, {tool.name}, rules)
    return _definition(listed, asks=asks)


def action_definition(entry: Entry, rules: Policy) -> dict[str, Any]:
    """An action as MCP lists it."""
    schema = entry.schema(gated=gates.takes_consent_arguments(entry.risk, entry.names, rules))
    listed = Listed(entry.tool, entry.title, entry.description, schema, entry.risk)
    return _definition(listed, asks=_asks(entry.risk, entry.names, rules))


def own_arguments(tool: OwnTool, given: Mapping[str, Any]) -> dict[str, Any]:
    """The validated arguments of an own tool that is no raw request."""
    arguments.limit_names(given)
    return arguments.validate(_portable(tool), given, strict=True)


@cache
def _portable(tool: OwnTool) -> PortableSchema:
    return make_portable(dict(tool.schema))


def is_gated(tool: OwnTool, rules: Policy) -> bool:
    """Whether it takes the consent arguments: what reads may be of any tool with a gate."""
    any_gate = any(gate is not Gate.ALLOW for _, gate in rules.tools)
    return tool.gated or (tool in (PROXY_READ, RUN_READ) and any_gate)


@dataclass(frozen=True, slots=True)
class Listed:
    """What MCP lists of a tool."""

    name: str
    title: str
    description: str
    schema: Mapping[str, Any]
    risk: Risk


def _asks(risk: Risk, names: Iterable[str], rules: Policy) -> bool:
    """Whether a person should see a call: Claude Code is told to stop even for an allowed tool."""
    return gates.resolve_gate(risk, names, rules) in (Gate.PREVIEW, Gate.HUMAN)


def _definition(tool: Listed, *, asks: bool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": tool.schema,
        "annotations": catalogue.hints(tool.title, tool.risk),
        **({"_meta": {"anthropic/requiresUserInteraction": True}} if asks else {}),
    }
