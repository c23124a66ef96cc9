"""What `kartra_status` tells, as the page shows it: sections of facts, and what is wrong first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.display import display_value
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Gate
from kartra_mcp.policy.gates import GATE_TEXTS
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
    "login": "Logged in to Membrane",
    "cap_refund": "Largest refund",
    "cap_day_amount": "Refunds in 24 hours",
    "cap_day_count": "Irreversible acts in 24 hours",
    "mail_per_hour": "Writes that can start mail, in an hour",
    "repeat_window_days": "Days in which an equal refund is a repeat",
    "approval": "Where a person is asked",
    "read_only": "Reads only",
    "allow": "Tools that may be used",
    "deny": "Tools that are never used",
    "is_membrane": "Known to be Membrane's",
    "api_not_used": "Why not its API",
    "transport": "Kartra is reached through",
    "number": "Number of them",
    "age_seconds": "Last read",
    "stale": "Out of date",
    "complete": "Read whole",
    "left_out": "Left out",
    "usable": "Can be written",
    "policy": "Fingerprint of the rules",
    "policy_since": "Rules recorded last on",
    "loosened": "What those allow that the ones before did not",
    "unknown": "Writes of unknown outcome",
    "state_folder": "State folder",
    "id": "Its id",
}
_MEANT: Mapping[tuple[str, str], str] = {
    ("approval", "outside"): "On this page or in a terminal, with the PIN",
    ("approval", "client"): "In the client, if it can ask; else here, with the PIN",
    ("transport", "api"): "Membrane's API",
    ("transport", "cli"): "Membrane's program",
    ("allow", "all"): "All",
}
_LIMITS = ("cap_refund", "cap_day_amount", "cap_day_count")
_ALONE = ("account", "server", "login", "state_folder")


@dataclass(frozen=True, slots=True)
class StatusProblem:
    """What is wrong, and what to do about it."""

    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The whole answer: `gates` and `limits` are the rules in force."""

    healthy: bool
    problems: tuple[StatusProblem, ...]
    sections: tuple[Section, ...]
    gates: tuple[Fact, ...]
    tools: tuple[Fact, ...]
    limits: tuple[Fact, ...]
    other: tuple[Fact, ...]


def parse_status(told: Mapping[str, Any]) -> Status:
    rules = _as_object(told.get("rules"))
    alone = {name: told[name] for name in _ALONE if name in told}
    sections = [Section("Server", _make_facts(alone))]
    sections += [
        Section(title, _make_facts(_as_object(told[n]))) for n, title in _SECTIONS if told.get(n)
    ]
    named = {"gates", "tools", "gates_of_tools", "limits"}
    return Status(
        healthy=bool(told.get("healthy")),
        problems=_make_problems(told),
        sections=tuple(sections),
        gates=_gate_facts(_as_object(rules.get("gates"))),
        tools=_gate_facts(_as_object(rules.get("tools")), as_written=True),
        limits=_make_facts(_as_object(rules.get("limits"))),
        other=_make_facts({name: value for name, value in rules.items() if name not in named}),
    )


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """The rules that a server wrote into the ledger last, where they differ from the page's."""

    at: Timestamp
    differs: tuple[Fact, ...]


def make_policy_record(
    newest: Mapping[str, Any] | None, told: Mapping[str, Any]
) -> PolicyRecord | None:
    """None where nothing was recorded, or where it says the same."""
    if not newest:
        return None
    policy = _as_object(newest.get("policy"))
    if not policy:
        return None
    ours, theirs = _current_rules(_as_object(told.get("rules"))), _recorded_rules(policy)
    facts = tuple(
        _rule_fact(name, theirs.get(name)) for name in theirs if theirs[name] != ours.get(name)
    ) + tuple(_rule_fact(name, None) for name in ours if name not in theirs)
    return PolicyRecord(Timestamp(newest["at"]), facts) if facts else None


def _current_rules(rules: Mapping[str, Any]) -> dict[str, Any]:
    """The rules of this process, each by a name of its own."""
    allow = rules.get("allow")
    return {
        **_flatten_rules(rules),
        **{name: rules.get(name) for name in ("approval", "read_only")},
        "allow": sorted(_as_array(allow)) or "all",
        "deny": sorted(_as_array(rules.get("deny"))),
        **{name: _text_or_none(value) for name, value in _as_object(rules.get("limits")).items()},
    }


def _recorded_rules(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The same of what the ledger has."""
    limits = {
        **_as_object(policy.get("limits")),
        "repeat_window_days": policy.get("repeat_window_days"),
    }
    return {
        **_flatten_rules(policy),
        "approval": "outside" if policy.get("approval_outside") else "client",
        "read_only": policy.get("read_only"),
        "allow": sorted(_as_array(policy.get("allow"))) or "all",
        "deny": sorted(_as_array(policy.get("deny"))),
        **{name: _text_or_none(value) for name, value in limits.items()},
    }


def _flatten_rules(rules: Mapping[str, Any]) -> dict[str, Any]:
    tools = _as_object(rules.get("tools"))
    return {
        **{f"gate {risk}": gate for risk, gate in _as_object(rules.get("gates")).items()},
        **{f"tool {pattern}": gate for pattern, gate in tools.items()},
    }


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _rule_fact(name: str, value: Any) -> Fact:
    kind, _, of = name.partition(" ")
    if of:
        gate = _describe_gate(value) if value else "No gate of its own"
        title = f"Gate of {of}" if kind == "gate" else f"Gate of the tool {display_value(of, 120)}"
        return Fact(name, title, (gate,))
    return Fact(name, _NAMES.get(name) or humanize(name), _format_values(name, value))


def _gate_facts(told: Mapping[str, Any], *, as_written: bool = False) -> tuple[Fact, ...]:
    """Risks by our words; tools and patterns stand as they are written in the policy."""
    return tuple(
        Fact(
            name,
            display_value(name, 120) if as_written else humanize(name),
            (_describe_gate(gate),),
        )
        for name, gate in told.items()
    )


def _describe_gate(gate: Any) -> str:
    """`Never runs (deny)`."""
    word = display_value(gate, 40)
    return f"{GATE_TEXTS[Gate(word)].user} ({word})" if word in set(Gate) else word


def _make_problems(told: Mapping[str, Any]) -> tuple[StatusProblem, ...]:
    said = [_as_object(problem) for problem in _as_array(told.get("problems"))]
    said += [{"message": f"{text}."} for text in _as_array(told.get("settings_not_usable"))]
    ledger = _as_object(told.get("ledger"))
    if ledger.get("usable") is False:
        said.append({"message": ledger.get("problem"), "remedy": ledger.get("remedy")})
    return tuple(
        StatusProblem(display_value(x.get("message")), display_value(x.get("remedy") or ""))
        for x in said
    )


def _make_facts(told: Mapping[str, Any]) -> tuple[Fact, ...]:
    """What is not known is left out, but for a cap that is not set."""
    return tuple(
        Fact(n, _NAMES.get(n) or humanize(n), _format_values(n, v))
        for n, v in told.items()
        if v is not None or n in _LIMITS
    )


def _format_values(name: str, value: Any) -> tuple[str, ...]:
    """Of what is unknown only the number: Done has each of them."""
    if name in _LIMITS and value is None:
        return ("no cap",)
    if name == "unknown" and is_array(value):
        return (str(len(value)),)
    if is_array(value):
        return format_values(value) if value else ("None",)
    return format_values(_describe_value(name, value))


def _describe_value(name: str, value: Any) -> Any:
    """One value in a person's words."""
    if name == "age_seconds" and isinstance(value, int):
        return f"{format_duration(value)} ago"
    if name == "policy_since" and isinstance(value, str):
        return "".join(x.text if isinstance(x, Timestamp) else x for x in split_timestamps(value))
    return _MEANT.get((name, value), value) if isinstance(value, str) else value


def _as_object(value: Any) -> Mapping[str, Any]:
    return value if is_object(value) else {}


def _as_array(value: Any) -> list[Any]:
    return value if is_array(value) else []
