"""What `kartra_status` tells, as the page shows it: sections of facts, and what is wrong first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.page.words import Fact, label, values
from kartra_mcp.shapes import is_array, is_object
from kartra_mcp.terminal import tidy

_SECTIONS: tuple[tuple[str, str], ...] = (
    ("connection", "Connection"),
    ("program", "Program"),
    ("actions", "Actions"),
    ("ledger", "Ledger"),
)
_NAMES: Mapping[str, str] = {
    "cap_refund": "Largest refund",
    "cap_day_amount": "Refunds in 24 hours",
    "cap_day_count": "Irreversible acts in 24 hours",
    "mail_per_hour": "Writes that can start mail, in an hour",
    "repeat_window_days": "Days in which an equal refund is a repeat",
    "approval": "Where a person is asked",
    "is_membrane": "Known to be Membrane's",
    "api_not_used": "Why not its API",
    "number": "Number of them",
    "age_seconds": "Age in seconds",
    "left_out": "Left out",
    "usable": "Can be written",
    "policy_since": "Policy since",
    "loosened": "Loosened by the newest policy",
    "unknown": "Writes of unknown outcome",
    "state_folder": "State folder",
    "id": "Its id",
}
_LIMITS = ("cap_refund", "cap_day_amount", "cap_day_count")
_ALONE = ("account", "server", "login", "state_folder")


@dataclass(frozen=True, slots=True)
class Problem:
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
    problems: tuple[Problem, ...]
    sections: tuple[Section, ...]
    gates: tuple[Fact, ...]
    tools: tuple[Fact, ...]
    limits: tuple[Fact, ...]
    other: tuple[Fact, ...]


def read(told: Mapping[str, Any]) -> Status:
    rules = _object(told.get("rules"))
    alone = {name: told[name] for name in _ALONE if name in told}
    sections = [Section("Server", _facts(alone))]
    sections += [Section(title, _facts(_object(told[n]))) for n, title in _SECTIONS if told.get(n)]
    named = {"gates", "tools", "gates_of_tools", "limits"}
    return Status(
        healthy=bool(told.get("healthy")),
        problems=_problems(told),
        sections=tuple(sections),
        gates=_facts(_object(rules.get("gates"))),
        tools=_as_named(_object(rules.get("tools"))),
        limits=_facts(_object(rules.get("limits"))),
        other=_facts({name: value for name, value in rules.items() if name not in named}),
    )


def _problems(told: Mapping[str, Any]) -> tuple[Problem, ...]:
    said = [_object(problem) for problem in _array(told.get("problems"))]
    said += [{"message": f"{text}."} for text in _array(told.get("settings_not_usable"))]
    ledger = _object(told.get("ledger"))
    if ledger.get("usable") is False:
        said.append({"message": ledger.get("problem"), "remedy": ledger.get("remedy")})
    return tuple(Problem(tidy(x.get("message")), tidy(x.get("remedy") or "")) for x in said)


def _facts(told: Mapping[str, Any]) -> tuple[Fact, ...]:
    return tuple(Fact(n, _NAMES.get(n) or label(n), _values(n, v)) for n, v in told.items())


def _values(name: str, value: Any) -> tuple[str, ...]:
    """Of what is unknown only the number: Done has each of them."""
    if name in _LIMITS and value is None:
        return ("no cap",)
    if name == "unknown" and is_array(value):
        return (str(len(value)),)
    return values(value)


def _as_named(told: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Tools and patterns stand as they are written in the policy."""
    return tuple(Fact(name, tidy(name, 120), values(value)) for name, value in told.items())


def _object(value: Any) -> Mapping[str, Any]:
    return value if is_object(value) else {}


def _array(value: Any) -> list[Any]:
    return value if is_array(value) else []
