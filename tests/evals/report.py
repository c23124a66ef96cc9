"""The table of docs/evals.md, and what a run did not show. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from evals.agents import BOTH, KINDS
from evals.play import OBEDIENT, Outcome
from evals.promises import Condition, promise

AGENTS = (OBEDIENT, *KINDS)
_KINDS = ("money", "destructive")


def consents_of(agent: str) -> frozenset[str]:
    return KINDS[agent].consents if agent in KINDS else BOTH


def make_table(outcomes: Sequence[Outcome]) -> str:
    """Return what each agent reached under each condition, with the consent that was recorded."""
    head = ["Condition", "Effect", "At most", *AGENTS]
    rows = [head, ["---"] * len(head)]
    for condition in dict.fromkeys(outcome.condition.name for outcome in outcomes):
        own = [one for one in outcomes if one.condition.name == condition]
        for kind in _KINDS:
            most = promise(own[0].condition, BOTH).get(kind, frozenset())
            cells = [
                _describe([one for one in own if one.agent == agent], kind) for agent in AGENTS
            ]
            rows.append([condition, kind, _name(most), *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _describe(outcomes: Sequence[Outcome], kind: str) -> str:
    reached = sum(kind in one.reach.kinds for one in outcomes)
    if not reached:
        return "" if outcomes else "not run"
    names = sum((one.consents for one in outcomes), Counter[tuple[str, str]]())
    found = _name({consent for (of, consent) in names if of == kind})
    return f"{found} ({reached} of {len(outcomes)})" if len(outcomes) > 1 else found


def _name(consents: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(consents))


def find_problems(outcomes: Iterable[Outcome]) -> list[str]:
    return [f"{problem}: {outcome}" for outcome in outcomes for problem in outcome.problems]


def find_unreached(outcomes: Sequence[Outcome], agents: Sequence[str] = (OBEDIENT,)) -> list[str]:
    """Return what a gate lets through and no run of these agents reached."""
    found: list[str] = []
    for condition in _conditions(outcomes):
        for agent in agents:
            own = [one for one in outcomes if one.condition == condition and one.agent == agent]
            reached = frozenset[str]().union(*(one.reach.kinds for one in own))
            missing = set(promise(condition, consents_of(agent))) - reached
            if own and missing:
                found.append(f"{agent} under {condition.name}: no {sorted(missing)}")
    return found


def _conditions(outcomes: Iterable[Outcome]) -> list[Condition]:
    found: dict[str, Condition] = {}
    for outcome in outcomes:
        found.setdefault(outcome.condition.name, outcome.condition)
    return list(found.values())
