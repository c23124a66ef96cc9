"""An action found, described and run by the name of its tool, without being listed. Pure.

What is run is the same `Call` that the action's own tool makes, under that tool's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kartra_mcp.catalogue import catalogue, consent_arguments
from kartra_mcp.catalogue.builtin_tools import OWN_TOOLS, RUN_READ, RUN_WRITE, OwnTool
from kartra_mcp.catalogue.catalogue import Entry
from kartra_mcp.catalogue.definitions import own_arguments
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Call, Gate, Risk
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.kartra import commands
from kartra_mcp.policy import gates as policy
from kartra_mcp.policy import risk
from kartra_mcp.policy.gates import Policy


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked of a run tool; `consent` stood beside the action's own `arguments`."""

    tool: OwnTool
    action: str
    arguments: Mapping[str, Any]
    consent: Mapping[str, Any]

    def call(self, entry: Entry, rules: Policy) -> Call:
        """The call of the action's own tool with these arguments.

        Raises:
            Refused: `forbidden_request` where the read tool was given what may write;
                `invalid_arguments`.
        """
        if self.tool is RUN_READ and entry.risk > Risk.READ:
            raise _writes(entry)
        names = _names(self.tool, entry, rules)
        gated = policy.takes_consent_arguments(entry.risk, names, rules)
        call = catalogue.call_of(
            entry, self._given(entry) if gated else self.arguments, gated=gated
        )
        return replace(
            call, policy_names=names, consent=replace(call.consent, confirm_name="confirm")
        )

    def _given(self, entry: Entry) -> dict[str, Any]:
        """The consent arguments among the action's own, called as on its own tool."""
        placed = consent_arguments.placed(entry.fields, self.consent, refund=entry.refunds)
        for name, value in placed.items():
            if name in self.arguments and self.arguments[name] is not value:
                raise _twice(name)
        return {**self.arguments, **placed}


def run_of(tool: OwnTool, given: Mapping[str, Any]) -> Run:
    """What was asked of a run tool; `invalid_arguments` where it is not said which action."""
    consent = {n: v for n, v in given.items() if n in consent_arguments.ALL}
    rest = {n: v for n, v in given.items() if n not in consent_arguments.ALL}
    wanted = own_arguments(tool, rest)
    return Run(tool, action_named(wanted["action"]), wanted.get("arguments", {}), consent)


def action_named(name: str) -> str:
    """The name of an action's tool; the server's own tools are called as they are."""
    if name in OWN_TOOLS:
        raise RefusedError(
            "invalid_arguments",
            f"{name} is no action but a tool of this server. Nothing was done.",
            f"Call {name} itself.",
        )
    return name


def described(entry: Entry, rules: Policy) -> dict[str, Any]:
    """What a model has to know of an action before it runs it."""
    from kartra_mcp.catalogue.overview import judged

    reads = entry.risk is Risk.READ
    row = commands.COMMANDS.get(risk.find_action_command(entry.action))
    undo = row.undo if row else "not known"
    gated = policy.takes_consent_arguments(entry.risk, entry.names, rules)
    consent = consent_arguments.properties((), refund=entry.refunds) if gated else {}
    return {
        "tool": entry.tool,
        "title": entry.title,
        "description": entry.description,
        **judged(entry.risk, entry.least, entry.names, rules),
        **({} if reads else {"undo": undo}),
        "run_with": (RUN_READ if reads else RUN_WRITE).name,
        "arguments": entry.schema(gated=False),
        **({"beside_arguments": consent} if consent else {}),
    }


def _names(tool: OwnTool, entry: Entry, rules: Policy) -> frozenset[str]:
    """The action's names; the run tool's too where a gate of its own is the stricter one."""
    both = entry.names | {tool.name}
    order = tuple(Gate)
    gates = [policy.resolve_gate(entry.risk, names, rules) for names in (entry.names, both)]
    return both if order.index(gates[1]) > order.index(gates[0]) else entry.names


def _writes(entry: Entry) -> RefusedError:
    return RefusedError(
        "forbidden_request",
        f"{entry.tool} is no read ({entry.risk.label}); nothing was started.",
        f"Use {RUN_WRITE.name} with the same action and arguments.",
    )


def _twice(name: str) -> RefusedError:
    shown = truncate(strip_control_chars(name), 60)
    return RefusedError(
        "invalid_arguments",
        f"{shown} is given twice, with different values. Nothing was done.",
        "Give it once, beside `arguments`.",
    )
