"""Table of all tools: risk, gate, requirement of a call, and why one is hidden. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS, BuiltinTool
from kartra_mcp.catalogue.catalogue import ActionTool, Catalogue
from kartra_mcp.core.models import Risk, Verdict
from kartra_mcp.kartra.commands import COMMANDS, find_command
from kartra_mcp.policy import gates as policy
from kartra_mcp.policy.gates import Policy
from kartra_mcp.policy.risk import policy_names_of_command
from kartra_mcp.policy.unmatched import UnmatchedPattern, find_unmatched

BY_NAME = "run by its name: KARTRA_MCP_EXPOSE"


@dataclass(frozen=True, slots=True)
class Requirement:
    """Requirement for a call of this risk, by its gate."""

    risk: str
    gate: str
    needs: str


@dataclass(frozen=True, slots=True)
class ToolRow:
    """One tool. `calls` has a line for each risk that its arguments can cause, lowest first.

    `hidden` is the reason why it is not listed, "" if it is.
    """

    tool: str
    own: bool
    does: str
    calls: tuple[Requirement, ...]
    hidden: str = ""


def tool_rows(
    own: Iterable[BuiltinTool],
    entries: Iterable[ActionTool],
    rules: Policy,
    listed: Collection[str],
) -> list[ToolRow]:
    """Return the built-in tools, then the actions ordered by name.

    `listed` are the names in `tools/list`.
    """
    return [_builtin_row(tool, rules, listed) for tool in own] + [
        _action_row(entry, rules, listed) for entry in entries
    ]


def list_unmatched_patterns(
    entries: Iterable[ActionTool], rules: Policy
) -> tuple[UnmatchedPattern, ...]:
    """Return the patterns of the policy that match no tool: they have no effect."""
    names = {name for entry in entries for name in entry.names}
    return find_unmatched(rules, {*BUILTIN_TOOLS, *names})


def _builtin_row(tool: BuiltinTool, rules: Policy, listed: Collection[str]) -> ToolRow:
    names = (tool.name,)
    if tool.name in listed:
        needs = _list_requirements((tool.min_risk, tool.risk), names, replace(rules, allow=()))
        return ToolRow(tool.name, True, tool.title, needs)
    hidden = hidden_text(tool.min_risk, names, rules) or "only where KARTRA_MCP_EXPOSE is search"
    return ToolRow(
        tool.name,
        True,
        tool.title,
        _list_requirements((tool.min_risk, tool.risk), names, rules),
        hidden,
    )


def _action_row(entry: ActionTool, rules: Policy, listed: Collection[str]) -> ToolRow:
    names = tuple(entry.names)
    needs = _list_requirements((entry.min_risk, entry.risk), names, rules)
    hidden = hidden_text(entry.min_risk, names, rules)
    if not hidden and entry.tool not in listed:
        hidden = BY_NAME
    return ToolRow(entry.tool, False, entry.title, needs, hidden)


def _list_requirements(
    between: tuple[Risk, Risk], names: tuple[str, ...], rules: Policy
) -> tuple[Requirement, ...]:
    risks = [risk for risk in Risk if between[0] <= risk <= between[1]]
    gates = [(risk, policy.resolve_effective_gate(risk, names, rules)) for risk in risks]
    return tuple(
        Requirement(risk.label, str(gate), policy.GATE_TEXTS[gate].requirement)
        for risk, gate in gates
    )


def hidden_text(least: Risk, names: tuple[str, ...], rules: Policy) -> str:
    """Return which setting hides a tool, or ""."""
    verdict = policy.hidden_reason(least, names, rules)
    if verdict is None:
        return ""
    if verdict is Verdict.READ_ONLY:
        return "read-only: KARTRA_MCP_READ_ONLY"
    if verdict is Verdict.FORBIDDEN_ROLE:
        return "not permitted by the roles"
    if policy.passes_allow_deny(names, rules):
        return f"the gate of {least.label} tools, or its own, is deny"
    if policy.passes_allow_deny(names, Policy(deny=rules.deny)):
        return "not in KARTRA_MCP_ALLOW"
    return "in KARTRA_MCP_DENY"


def risk_and_gate(risk: Risk, least: Risk, names: Iterable[str], rules: Policy) -> dict[str, str]:
    """Return the highest risk and its gate; the lowest too if the arguments decide."""
    named = tuple(names)
    highest = {"risk": risk.label, "gate": str(policy.resolve_effective_gate(risk, named, rules))}
    if least is risk:
        return highest
    lowest = str(policy.resolve_effective_gate(least, named, rules))
    return {**highest, "least_risk": least.label, "least_gate": lowest}


def list_hidden_tools(named: Iterable[str], catalogue: Catalogue, rules: Policy) -> frozenset[str]:
    """Return the tools of `named` that the policy hides, and whose commands it hides too."""
    hidden: set[str] = set()
    for name in named:
        command = find_command(name.removeprefix("kartra_"))
        if name in BUILTIN_TOOLS:
            risk, names = BUILTIN_TOOLS[name].min_risk, frozenset({name})
        elif name in catalogue.entries:
            entry = catalogue.entries[name]
            risk, names = entry.min_risk, entry.names
        elif command:
            risk, names = COMMANDS[command].lowest_risk, policy_names_of_command(command)
        else:
            continue
        if policy.hidden_reason(risk, names, rules):
            hidden.add(name)
    return frozenset(hidden)
