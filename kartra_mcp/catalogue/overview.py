"""Every tool with its risk, its gate, what a call needs, and why one is not listed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from kartra_mcp.catalogue.builtin_tools import OwnTool
from kartra_mcp.catalogue.catalogue import Entry
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.policy import gates as policy
from kartra_mcp.policy.gates import Policy, Verdict

BY_NAME = "run by its name: KARTRA_MCP_EXPOSE"
NEEDS = {
    Gate.ALLOW: "nothing",
    Gate.FLAG: "confirm: true",
    Gate.PREVIEW: "a preview first",
    Gate.HUMAN: "a person's yes",
    Gate.DENY: "is refused",
}


@dataclass(frozen=True, slots=True)
class Need:
    """What a call of this risk needs, by its gate."""

    risk: str
    gate: str
    needs: str


@dataclass(frozen=True, slots=True)
class Row:
    """One tool. `calls` has a line for each risk that its arguments can make of it, least first.

    `hidden` says why it is not listed, "" where it is.
    """

    tool: str
    own: bool
    does: str
    calls: tuple[Need, ...]
    hidden: str = ""


def rows(
    own: Iterable[OwnTool], entries: Iterable[Entry], rules: Policy, listed: Collection[str]
) -> list[Row]:
    """The server's own tools, then the actions in the order of their names.

    `listed` are the names that `tools/list` holds.
    """
    return [_own(tool, rules, listed) for tool in own] + [
        _action(entry, rules, listed) for entry in entries
    ]


def _own(tool: OwnTool, rules: Policy, listed: Collection[str]) -> Row:
    names = (tool.name,)
    if tool.name in listed:
        needs = _needs((tool.least, tool.risk), names, replace(rules, allow=()))
        return Row(tool.name, True, tool.title, needs)
    hidden = why_hidden(tool.least, names, rules) or "only where KARTRA_MCP_EXPOSE is search"
    return Row(tool.name, True, tool.title, _needs((tool.least, tool.risk), names, rules), hidden)


def _action(entry: Entry, rules: Policy, listed: Collection[str]) -> Row:
    names = tuple(entry.names)
    needs = _needs((entry.least, entry.risk), names, rules)
    hidden = why_hidden(entry.least, names, rules)
    if not hidden and entry.tool not in listed:
        hidden = BY_NAME
    return Row(entry.tool, False, entry.title, needs, hidden)


def _needs(between: tuple[Risk, Risk], names: tuple[str, ...], rules: Policy) -> tuple[Need, ...]:
    risks = [risk for risk in Risk if between[0] <= risk <= between[1]]
    gates = [(risk, policy.resolve_effective_gate(risk, names, rules)) for risk in risks]
    return tuple(Need(risk.label, str(gate), NEEDS[gate]) for risk, gate in gates)


def why_hidden(least: Risk, names: tuple[str, ...], rules: Policy) -> str:
    """Which of the person's rules keeps a tool off the list, or ""."""
    verdict = policy.hidden_reason(least, names, rules)
    if verdict is None:
        return ""
    if verdict is Verdict.READ_ONLY:
        return "read-only: KARTRA_MCP_READ_ONLY"
    if policy.passes_allow_deny(names, rules):
        return f"the gate of {least.label} tools, or its own, is deny"
    if policy.passes_allow_deny(names, Policy(deny=rules.deny)):
        return "not in KARTRA_MCP_ALLOW"
    return "in KARTRA_MCP_DENY"


def judged(risk: Risk, least: Risk, names: Iterable[str], rules: Policy) -> dict[str, str]:
    """The highest risk and its gate; the lowest too where the arguments decide."""
    named = tuple(names)
    highest = {"risk": risk.label, "gate": str(policy.resolve_effective_gate(risk, named, rules))}
    if least is risk:
        return highest
    lowest = str(policy.resolve_effective_gate(least, named, rules))
    return {**highest, "least_risk": least.label, "least_gate": lowest}
