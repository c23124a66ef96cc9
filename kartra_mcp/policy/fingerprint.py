"""The policy in force as data: its digest, and what was relaxed since another one. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.policy.gates import Rules, stricter, tool_gates
from kartra_mcp.policy.limits import Limits

_LIMITS = ("cap_refund", "cap_day_amount", "cap_day_count", "mail_per_hour")


def described(rules: Rules, limits: Limits, *, outside: bool) -> dict[str, Any]:
    """Return everything that decides what may run, as JSON."""
    return {
        "gates": {risk.label: str(gate) for risk, gate in rules.gates.items()},
        "tools": {pattern: str(gate) for pattern, gate in rules.tools},
        "read_only": rules.read_only,
        "allow": sorted(rules.allow),
        "deny": sorted(rules.deny),
        "limits": {name: _text(getattr(limits, name)) for name in _LIMITS},
        "repeat_window_days": limits.repeat_window_days,
        "approval_outside": outside,
    }


def digest(policy: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()[:16]


def loosened(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words what may run now and might not before; [] if nothing was relaxed."""
    return [*_gates(before, now), *_names(before, now), *_limits(before, now)]


def _gates(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Return the gates by risk, and by every tool that has or had its own."""
    was, is_now = _rules(before), _rules(now)
    patterns = [pattern for pattern, _ in (*was.tools, *is_now.tools)]
    for one, other in (
        (_by_risk(was), _by_risk(is_now)),
        (tool_gates(patterns, was), tool_gates(patterns, is_now)),
    ):
        for name, gate in one.items():
            if stricter(gate, other[name]) is not other[name]:
                yield f"gate of {name}: {gate} to {other[name]}"
    if before.get("approval_outside") and not now.get("approval_outside"):
        yield "approval outside the client is no longer demanded"


def _rules(policy: Mapping[str, Any]) -> Rules:
    gates: Mapping[str, Any] = policy.get("gates", {})
    tools: Mapping[str, Any] = policy.get("tools", {})
    return Rules(
        {risk: _gate(gates.get(risk.label)) for risk in Risk},
        tools=tuple((pattern, _gate(gate)) for pattern, gate in tools.items()),
    )


def _by_risk(rules: Rules) -> dict[str, Gate]:
    return {risk.label: gate for risk, gate in rules.gates.items()}


def _gate(said: Any) -> Gate:
    return Gate(said) if said in set(Gate) else Gate.DENY


def _names(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if before.get("read_only") and not now.get("read_only"):
        yield "read-only is off"
    was, is_now = set(before.get("allow", ())), set(now.get("allow", ()))
    if was and (not is_now or is_now - was):
        yield "the allow list is wider"
    if set(before.get("deny", ())) - set(now.get("deny", ())):
        yield "the deny list is shorter"


def _limits(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in _LIMITS:
        was, is_now = _bound(before, name), _bound(now, name)
        if is_now > was:
            yield f"{name} is higher"
    if now.get("repeat_window_days", 0) < before.get("repeat_window_days", 0):
        yield "the repeat window is shorter"


def _bound(policy: Mapping[str, Any], name: str) -> float:
    found = policy.get("limits", {}).get(name)
    return float("inf") if found is None else float(found)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
