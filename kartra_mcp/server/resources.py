"""Resources for the client: the guide to Kartra, the tool list, the policy in force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from kartra_mcp.catalogue.catalogue import ActionTool, Catalogue
from kartra_mcp.catalogue.overview import list_hidden_tools, risk_and_gate
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.core.sanitize import sanitize_and_dump
from kartra_mcp.ledger.records import CONSENT_PROOFS
from kartra_mcp.policy import gates
from kartra_mcp.policy.fingerprint import rules_as_dict
from kartra_mcp.policy.gates import Policy
from kartra_mcp.policy.limits import LIMITS, Limits, limits_as_dict
from kartra_mcp.server.guide import list_named_commands, list_named_tools, render_guide

GUIDE = "kartra://guide"
CATALOGUE = "kartra://catalogue"
POLICY = "kartra://policy"
MARKDOWN = "text/markdown"
JSON = "application/json"

_TABLE: Mapping[str, tuple[str, str, str, str]] = {
    GUIDE: (
        "guide",
        "Guide of Kartra's areas",
        "Every area of Kartra: the tools or raw requests that reach it, or the user's own part.",
        MARKDOWN,
    ),
    CATALOGUE: (
        "catalogue",
        "Tools of this connection",
        "Every listed tool with its action, its risk and the gate in front of it.",
        JSON,
    ),
    POLICY: (
        "policy",
        "Policy in force",
        "Gates, read-only, allowed and denied names, limits, and what each consent proves.",
        JSON,
    ),
}
"""Name, title, description and MIME type of each uri."""

SHOWN_LIMITS = ("timeout", "max_children", "rate", "result_chars", *LIMITS)
"""Settings that are limits, by name; those that exist are shown."""


class BuiltinToolView(Protocol):
    """Attributes of a built-in tool that the resource shows (`builtin_tools.BuiltinTool`)."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def risk(self) -> Risk: ...
    @property
    def min_risk(self) -> Risk: ...


def list_resource_definitions() -> list[dict[str, str]]:
    """List every resource as MCP's `Resource`."""
    return [
        {"uri": uri, "name": name, "title": title, "description": description, "mimeType": mime}
        for uri, (name, title, description, mime) in _TABLE.items()
    ]


def read_resource(
    uri: str,
    catalogue: Catalogue,
    own: Iterable[BuiltinToolView],
    rules: Policy,
    limits: Mapping[str, Any],
) -> tuple[str, str]:
    """Return the MIME type and the text of a resource.

    Args:
        uri: one of `list_resource_definitions`.
        catalogue: all entries of the connection; those that the policy hides are left out.
        own: the built-in tools, likewise.
        rules: the policy in force.
        limits: as `select_limits` returns them.

    Raises:
        RefusedError: `invalid_arguments` for an unknown uri.
    """
    if uri == GUIDE:
        hidden = list_hidden_tools(list_named_tools(), catalogue, rules)
        return MARKDOWN, render_guide(_list_not_served(catalogue), hidden)
    if uri == CATALOGUE:
        return JSON, sanitize_and_dump(_catalogue_payload(catalogue, own, rules))[1]
    if uri == POLICY:
        return JSON, sanitize_and_dump(_policy_payload(rules, limits))[1]
    raise RefusedError(
        "invalid_arguments",
        "This resource does not exist.",
        f"The resources are {', '.join(_TABLE)}.",
    )


def select_limits(settings: object) -> dict[str, Any]:
    """Return only the limits of these settings, None for one that is not set.

    Other settings can name paths and credentials, and a resource is shown to the model.
    """
    limits = getattr(settings, "limits", None)
    caps = limits_as_dict(limits) if isinstance(limits, Limits) else {}
    own = {name: getattr(settings, name) for name in SHOWN_LIMITS if hasattr(settings, name)}
    return {**own, **caps}


def _list_not_served(catalogue: Catalogue) -> frozenset[str]:
    """Return the tools of commands in the guide that are not served; none before the first list."""
    served = catalogue.entries
    return list_named_commands().difference(served) if served else frozenset()


def _catalogue_payload(
    catalogue: Catalogue, own: Iterable[BuiltinToolView], rules: Policy
) -> dict[str, Any]:
    served = [
        _builtin_payload(tool, rules)
        for tool in own
        if not gates.hidden_reason(tool.min_risk, {tool.name}, rules)
    ]
    entries = catalogue.entries.values()
    served += [
        _action_payload(e, rules)
        for e in entries
        if not gates.hidden_reason(e.min_risk, e.names, rules)
    ]
    return {"tools": served, "left_out": list(catalogue.left_out)}


def _builtin_payload(tool: BuiltinToolView, rules: Policy) -> dict[str, Any]:
    shown = {"tool": tool.name, "title": tool.title, "action": None}
    return {**shown, **risk_and_gate(tool.risk, tool.min_risk, {tool.name}, rules)}


def _action_payload(entry: ActionTool, rules: Policy) -> dict[str, Any]:
    action = entry.action.key if entry.is_action else None
    shown = {"tool": entry.tool, "title": entry.title, "action": action}
    return {**shown, **risk_and_gate(entry.risk, entry.min_risk, entry.names, rules)}


def _policy_payload(rules: Policy, limits: Mapping[str, Any]) -> dict[str, Any]:
    found = rules_as_dict(rules)
    unnamed = replace(rules, allow=())
    return {
        "gates": {
            risk.label: str(gates.resolve_effective_gate(risk, (), unnamed)) for risk in Risk
        },
        "gates_of_tools": found["tools"],
        "gate_meanings": {str(gate): texts.meaning for gate, texts in gates.GATE_TEXTS.items()},
        "read_only": found["read_only"],
        "check_lead": found["check_lead"],
        "allow": found["allow"] or "all",
        "deny": found["deny"],
        "limits": dict(limits),
        "consent": dict(CONSENT_PROOFS),
    }
