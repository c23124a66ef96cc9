"""The policy in force as data: its digest, and the rules that were relaxed since another one.

Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.policy.gates import Policy, expand_tool_gates, strictest
from kartra_mcp.policy.limits import CAPS, NO_CAPS, Limits


def rules_as_dict(rules: Policy) -> dict[str, Any]:
    """Return the gates and lists as JSON, in the user's order."""
    return {
        "gates": {risk.label: str(gate) for risk, gate in rules.gates.items()},
        "tools": {pattern: str(gate) for pattern, gate in rules.tools},
        "read_only": rules.read_only,
        "check_lead": rules.check_lead,
        "commands": rules.commands,
        "allow": list(rules.allow),
        "deny": list(rules.deny),
    }


def policy_as_dict(rules: Policy, limits: Limits, *, outside: bool) -> dict[str, Any]:
    """Return everything that decides what may run, as JSON; equal policies give equal values."""
    found = rules_as_dict(rules)
    return {
        **found,
        "allow": sorted(found["allow"]),
        "deny": sorted(found["deny"]),
        "limits": {name: _text_or_none(getattr(limits, name)) for name in CAPS},
        "repeat_window_days": limits.repeat_window_days,
        "approval_outside": outside,
        **_groups_as_dict(limits),
    }


def _groups_as_dict(limits: Limits) -> dict[str, Any]:
    """Return the caps of people and roles of a team; {} where there are none."""
    groups = {"person": limits.person, **{f"role {role}": caps for role, caps in limits.roles}}
    set_ = {name: caps for name, caps in groups.items() if caps != NO_CAPS}
    if not set_:
        return {}
    return {
        "group_limits": {
            name: {cap: _text_or_none(getattr(caps, cap)) for cap in CAPS}
            for name, caps in set_.items()
        }
    }


def policy_digest(policy: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()[:16]


def relaxations(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the relaxed rules in words; [] if nothing was relaxed."""
    return [
        *_compare_gates(before, now),
        *_compare_names(before, now),
        *_compare_limits(before, now),
    ]


def _compare_gates(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Return the relaxed gates: of each risk, and of each tool with a gate of its own."""
    was, is_now = _parse_policy(before), _parse_policy(now)
    patterns = [pattern for pattern, _ in (*was.tools, *is_now.tools)]
    for one, other in (
        (_gates_by_risk(was), _gates_by_risk(is_now)),
        (expand_tool_gates(patterns, was), expand_tool_gates(patterns, is_now)),
    ):
        for name, gate in one.items():
            if strictest(gate, other[name]) is not other[name]:
                yield f"gate of {name}: {gate} to {other[name]}"
    if before.get("approval_outside") and not now.get("approval_outside"):
        yield "approval outside the client is not required any more"


def _parse_policy(policy: Mapping[str, Any]) -> Policy:
    gates: Mapping[str, Any] = policy.get("gates", {})
    tools: Mapping[str, Any] = policy.get("tools", {})
    return Policy(
        {risk: _parse_gate(gates.get(risk.label)) for risk in Risk},
        tools=tuple((pattern, _parse_gate(gate)) for pattern, gate in tools.items()),
    )


def _gates_by_risk(rules: Policy) -> dict[str, Gate]:
    return {risk.label: gate for risk, gate in rules.gates.items()}


def _parse_gate(text: Any) -> Gate:
    return Gate(text) if text in set(Gate) else Gate.DENY


def _compare_names(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if before.get("read_only") and not now.get("read_only"):
        yield "read-only is off"
    if before.get("check_lead") and not now.get("check_lead"):
        yield "the lead is not checked before mail any more"
    if before.get("commands") is False and now.get("commands"):
        yield "commands without an action are tools"
    was, is_now = set(before.get("allow", ())), set(now.get("allow", ()))
    if was and (not is_now or is_now - was):
        yield "the allow list is wider"
    if set(before.get("deny", ())) - set(now.get("deny", ())):
        yield "the deny list is shorter"


def _compare_limits(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in CAPS:
        was, is_now = _get_bound(before, name), _get_bound(now, name)
        if is_now > was:
            yield f"{name} is higher"
    for group, was_group in before.get("group_limits", {}).items():
        is_group = {"limits": now.get("group_limits", {}).get(group, {})}
        for name in CAPS:
            if _get_bound(is_group, name) > _get_bound({"limits": was_group}, name):
                yield f"{name} of {group} is higher"
    if now.get("repeat_window_days", 0) < before.get("repeat_window_days", 0):
        yield "the repeat window is shorter"


def _get_bound(policy: Mapping[str, Any], name: str) -> float:
    found = policy.get("limits", {}).get(name)
    return float("inf") if found is None else float(found)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
