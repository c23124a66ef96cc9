"""Describe and run an unlisted action by its tool name. Pure.

The result is the same call that the action's own tool makes, under that tool's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kartra_mcp.catalogue import catalogue, consent_arguments
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS, RUN_READ, RUN_WRITE, BuiltinTool
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.catalogue.definitions import validate_builtin_arguments
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk, ValidatedCall
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.policy import gates as policy
from kartra_mcp.policy.gates import Policy


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Arguments of a run tool; `consent` are the siblings of the action's own `arguments`."""

    tool: BuiltinTool
    action: str
    arguments: Mapping[str, Any]
    consent: Mapping[str, Any]

    def call(self, entry: ActionTool, rules: Policy) -> ValidatedCall:
        """Return the call of the action's own tool with these arguments.

        Raises:
            RefusedError: `forbidden_request` if the read tool was given something that may write;
                `invalid_arguments`.
        """
        if self.tool is RUN_READ and entry.risk > Risk.READ:
            raise _not_a_read_error(entry)
        names = _combine_names(self.tool, entry, rules)
        gated = policy.takes_consent_arguments(entry.risk, names, rules)
        call = catalogue.make_call(
            entry, self._consent_arguments(entry) if gated else self.arguments, gated=gated
        )
        return replace(
            call, policy_names=names, consent=replace(call.consent, confirm_name="confirm")
        )

    def _consent_arguments(self, entry: ActionTool) -> dict[str, Any]:
        """Return the consent arguments under the names of the action's own tool."""
        placed = consent_arguments.merge_consent(entry.own_names, self.consent, repeat=entry.writes)
        for name, value in placed.items():
            if name in self.arguments and self.arguments[name] is not value:
                raise _given_twice_error(name)
        return {**self.arguments, **placed}


def parse_run_request(tool: BuiltinTool, given: Mapping[str, Any]) -> RunRequest:
    """Parse the arguments of a run tool; `invalid_arguments` if the action is missing."""
    consent = {n: v for n, v in given.items() if n in consent_arguments.ALL}
    rest = {n: v for n, v in given.items() if n not in consent_arguments.ALL}
    wanted = validate_builtin_arguments(tool, rest)
    return RunRequest(tool, require_action(wanted["action"]), wanted.get("arguments", {}), consent)


def require_action(name: str) -> str:
    """Return `name` unless it is a built-in tool.

    Raises:
        RefusedError: it is a built-in tool, which is called directly.
    """
    if name in BUILTIN_TOOLS:
        raise RefusedError(
            "invalid_arguments",
            f"{name} is a built-in tool, not an action. Nothing was done.",
            f"Call {name} itself.",
        )
    return name


def describe_action(entry: ActionTool, rules: Policy) -> dict[str, Any]:
    """Return what a model must know about an action before it runs it."""
    from kartra_mcp.catalogue.overview import risk_and_gate

    reads = entry.risk is Risk.READ
    gated = policy.takes_consent_arguments(entry.risk, entry.names, rules)
    consent = consent_arguments.consent_properties((), repeat=entry.writes) if gated else {}
    return {
        "tool": entry.tool,
        "title": entry.title,
        "description": entry.description,
        **risk_and_gate(entry.risk, entry.min_risk, entry.names, rules),
        **({} if reads else {"undo": entry.undo}),
        "run_with": (RUN_READ if reads else RUN_WRITE).name,
        "arguments": entry.input_schema(gated=False),
        **({"beside_arguments": consent} if consent else {}),
    }


def _combine_names(tool: BuiltinTool, entry: ActionTool, rules: Policy) -> frozenset[str]:
    """Return the action's names; the run tool's too if its own gate is stricter."""
    both = entry.names | {tool.name}
    own, combined = (
        policy.resolve_effective_gate(entry.risk, names, rules) for names in (entry.names, both)
    )
    return both if policy.strictest(own, combined) is not own else entry.names


def _not_a_read_error(entry: ActionTool) -> RefusedError:
    return RefusedError(
        "forbidden_request",
        f"{entry.tool} is not a read ({entry.risk.label}); nothing was started.",
        f"Use {entry.tool} itself, or {RUN_WRITE.name} with the same action and arguments.",
    )


def _given_twice_error(name: str) -> RefusedError:
    shown = truncate(strip_control_chars(name), 60)
    return RefusedError(
        "invalid_arguments",
        f"{shown} is given twice, with different values. Nothing was done.",
        "Give it once, next to `arguments`.",
    )
