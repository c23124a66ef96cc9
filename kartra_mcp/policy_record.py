"""The policy in force as data: its digest, and what became looser since another one. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from kartra_mcp.ledger.words import Limits
from kartra_mcp.model import Gate
from kartra_mcp.policy import Rules

_ORDER = [str(gate) for gate in Gate]
_LIMITS = ("cap_refund", "cap_day_amount", "cap_day_count", "mail_per_hour")


def described(rules: Rules, limits: Limits, *, outside: bool) -> dict[str, Any]:
    """All that decides what may run, as JSON."""
    return {
        "gates": {risk.word: str(gate) for risk, gate in rules.gates.items()},
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
    """In words, what may run now and might not before; [] where nothing became looser."""
    return [*_gates(before, now), *_names(before, now), *_limits(before, now)]


def _gates(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for table in ("gates", "tools"):
        for name in {**before.get(table, {}), **now.get(table, {})}:
            was, is_now = _gate(before, table, name), _gate(now, table, name)
            if _ORDER.index(is_now) < _ORDER.index(was):
                yield f"gate of {name}: {was} to {is_now}"
    if before.get("approval_outside") and not now.get("approval_outside"):
        yield "approval outside the client is no longer demanded"


def _gate(policy: Mapping[str, Any], table: str, name: str) -> str:
    """A tool that has no gate of its own has that of the strictest risk."""
    fallback = policy.get("gates", {}).get("irreversible", "deny")
    found = policy.get(table, {}).get(name, fallback)
    return found if found in _ORDER else "deny"


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
