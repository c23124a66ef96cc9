"""View model of `kartra_status`: problems first, then facts by section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.display import display_value
from kartra_mcp.core.json_types import as_dict, as_list, is_array
from kartra_mcp.core.models import Gate
from kartra_mcp.policy.gates import GATE_TEXTS
from kartra_mcp.policy.limits import LIMITS
from kartra_mcp.web.views.formatting import (
    Fact,
    Timestamp,
    format_duration,
    format_values,
    humanize,
    split_timestamps,
)

_SECTIONS: tuple[tuple[str, str], ...] = (
    ("connection", "Connection"),
    ("program", "Program"),
    ("actions", "Actions"),
    ("ledger", "Ledger"),
)
_NAMES: Mapping[str, str] = {
    "account": "Account",
    "login": "Membrane login",
    **{name: info.label for name, info in LIMITS.items()},
    "approval": "Approvals are requested",
    "read_only": "Read-only",
    "allow": "Allowed tools",
    "deny": "Denied tools",
    "is_membrane": "Verified as Membrane",
    "api_not_used": "Reason for not using the API",
    "transport": "Transport",
    "number": "Count",
    "age_seconds": "Last read",
    "stale": "Out of date",
    "complete": "Complete",
    "left_out": "Omitted",
    "usable": "Writable",
    "policy": "Policy fingerprint",
    "policy_since": "Policy recorded on",
    "loosened": "Loosened by this policy",
    "unknown": "Writes of unknown outcome",
    "state_folder": "State folder",
    "id": "ID",
}
_VALUE_TEXTS: Mapping[tuple[str, str], str] = {
    ("approval", "outside"): "On this page or in a terminal, with the PIN",
    ("approval", "client"): "In the client, if it has forms; else here, with the PIN",
    ("transport", "api"): "Membrane's API",
    ("transport", "cli"): "Membrane's program",
    ("allow", "all"): "All",
}
_OPTIONAL = frozenset(name for name, info in LIMITS.items() if info.optional)
_SERVER_FIELDS = ("account", "server", "login", "state_folder")


@dataclass(frozen=True, slots=True)
class StatusProblem:
    """A problem and its remedy."""

    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The whole status. `gates`, `tools`, `limits` and `other` are the policy in force."""

    healthy: bool
    problems: tuple[StatusProblem, ...]
    sections: tuple[Section, ...]
    gates: tuple[Fact, ...]
    tools: tuple[Fact, ...]
    limits: tuple[Fact, ...]
    other: tuple[Fact, ...]


def parse_status(payload: Mapping[str, Any]) -> Status:
    rules = as_dict(payload.get("rules"))
    server = {name: payload[name] for name in _SERVER_FIELDS if name in payload}
    sections = [Section("Server", _make_facts(server))]
    sections += [
        Section(title, _make_facts(as_dict(payload[n]))) for n, title in _SECTIONS if payload.get(n)
    ]
    named = {"gates", "tools", "gates_of_tools", "limits"}
    return Status(
        healthy=bool(payload.get("healthy")),
        problems=_make_problems(payload),
        sections=tuple(sections),
        gates=_gate_facts(as_dict(rules.get("gates"))),
        tools=_gate_facts(as_dict(rules.get("tools")), as_written=True),
        limits=_make_facts(as_dict(rules.get("limits"))),
        other=_make_facts({name: value for name, value in rules.items() if name not in named}),
    )


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """The policy that a server recorded last, where it differs from the page's."""

    at: Timestamp
    differs: tuple[Fact, ...]


def make_policy_record(
    newest: Mapping[str, Any] | None, payload: Mapping[str, Any]
) -> PolicyRecord | None:
    """Compare the recorded policy with the page's; None if there is none or they are equal."""
    if not newest:
        return None
    policy = as_dict(newest.get("policy"))
    if not policy:
        return None
    ours, theirs = _current_rules(as_dict(payload.get("rules"))), _recorded_rules(policy)
    facts = tuple(
        _rule_fact(name, theirs.get(name)) for name in theirs if theirs[name] != ours.get(name)
    ) + tuple(_rule_fact(name, None) for name in ours if name not in theirs)
    return PolicyRecord(Timestamp(newest["at"]), facts) if facts else None


def _current_rules(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policy of this process, flattened to one name per rule."""
    allow = rules.get("allow")
    return {
        **_flatten_rules(rules),
        **{name: rules.get(name) for name in ("approval", "read_only")},
        "allow": sorted(as_list(allow)) or "all",
        "deny": sorted(as_list(rules.get("deny"))),
        **{name: _text_or_none(value) for name, value in as_dict(rules.get("limits")).items()},
    }


def _recorded_rules(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policy in the ledger, flattened in the same way."""
    limits = {
        **as_dict(policy.get("limits")),
        "repeat_window_days": policy.get("repeat_window_days"),
    }
    return {
        **_flatten_rules(policy),
        "approval": "outside" if policy.get("approval_outside") else "client",
        "read_only": policy.get("read_only"),
        "allow": sorted(as_list(policy.get("allow"))) or "all",
        "deny": sorted(as_list(policy.get("deny"))),
        **{name: _text_or_none(value) for name, value in limits.items()},
    }


def _flatten_rules(rules: Mapping[str, Any]) -> dict[str, Any]:
    tools = as_dict(rules.get("tools"))
    return {
        **{f"gate {risk}": gate for risk, gate in as_dict(rules.get("gates")).items()},
        **{f"tool {pattern}": gate for pattern, gate in tools.items()},
    }


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _rule_fact(name: str, value: Any) -> Fact:
    kind, _, of = name.partition(" ")
    if of:
        gate = _describe_gate(value) if value else "Not set"
        title = f"Gate for {of}" if kind == "gate" else f"Gate for tool {display_value(of, 120)}"
        return Fact(name, title, (gate,))
    return Fact(name, _NAMES.get(name) or humanize(name), _format_values(name, value))


def _gate_facts(gates: Mapping[str, Any], *, as_written: bool = False) -> tuple[Fact, ...]:
    """Return one fact per gate; names of tools and patterns are kept as written in the policy."""
    return tuple(
        Fact(
            name,
            display_value(name, 120) if as_written else humanize(name),
            (_describe_gate(gate),),
        )
        for name, gate in gates.items()
    )


def _describe_gate(gate: Any) -> str:
    """Return `Never runs (deny)`."""
    word = display_value(gate, 40)
    return f"{GATE_TEXTS[Gate(word)].user} ({word})" if word in set(Gate) else word


def _make_problems(payload: Mapping[str, Any]) -> tuple[StatusProblem, ...]:
    found = [as_dict(problem) for problem in as_list(payload.get("problems"))]
    found += [{"message": f"{text}."} for text in as_list(payload.get("settings_not_usable"))]
    ledger = as_dict(payload.get("ledger"))
    if ledger.get("usable") is False:
        found.append({"message": ledger.get("problem"), "remedy": ledger.get("remedy")})
    return tuple(
        StatusProblem(display_value(x.get("message")), display_value(x.get("remedy") or ""))
        for x in found
    )


def _make_facts(values: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return one fact per value; absent values are omitted, except for caps."""
    return tuple(
        Fact(n, _NAMES.get(n) or humanize(n), _format_values(n, v))
        for n, v in values.items()
        if v is not None or n in _OPTIONAL
    )


def _format_values(name: str, value: Any) -> tuple[str, ...]:
    """Return the values as text; of unknown writes only the number, because History lists them."""
    if name in _OPTIONAL and value is None:
        return ("no cap",)
    if name == "unknown" and is_array(value):
        return (str(len(value)),)
    if is_array(value):
        return format_values(value) if value else ("None",)
    return format_values(_describe_value(name, value))


def _describe_value(name: str, value: Any) -> Any:
    """Return one value in words."""
    if name == "age_seconds" and isinstance(value, int):
        return f"{format_duration(value)} ago"
    if name == "policy_since" and isinstance(value, str):
        return "".join(x.text if isinstance(x, Timestamp) else x for x in split_timestamps(value))
    return _VALUE_TEXTS.get((name, value), value) if isinstance(value, str) else value
