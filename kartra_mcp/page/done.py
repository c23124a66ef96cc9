"""What was done: rows of the ledger, and one write's whole story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.ledger.approvals import Approval
from kartra_mcp.ledger.words import MEANS
from kartra_mcp.model import Risk
from kartra_mcp.page.words import Fact, Moment, facts, label, tool_title, values
from kartra_mcp.terminal import tidy

HASH = 16
"""Characters of a hash that people are shown; the export has it whole."""

OUTCOMES: Mapping[str, str] = {
    "running": "Still running",
    "succeeded": "Done",
    "failed": "Failed",
    "refused": "Refused",
    "unknown": "Unknown",
}
_SAID_OF_A_LINE = ("kind", "n", "at", "hash", "intent", "facts", "lead_hash", "undo", "detail")
_SAID_ABOVE = frozenset({"seen"})


@dataclass(frozen=True, slots=True)
class Row:
    """One write in the table."""

    intent: str
    at: Moment
    what: str
    target: str
    amount: str
    state: str
    outcome: str
    consent: str
    means: str
    risk: str
    irreversible: bool
    by: str


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened in a story; `line` is its number in the ledger, if it has one."""

    at: Moment
    what: str
    told: tuple[Fact, ...]
    line: int | None = None
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """One write from the question to the end."""

    row: Row
    held: bool
    executed: str
    undo: str
    ended: Moment | None
    rows: tuple[Fact, ...]
    facts: tuple[Fact, ...]
    steps: tuple[Step, ...]

    @property
    def reconcilable(self) -> bool:
        return self.row.state == "unknown" and not self.held


def row(entry: Mapping[str, Any]) -> Row:
    consent, state = str(entry["consent"]), str(entry["state"])
    return Row(
        intent=str(entry["intent"]),
        at=Moment(entry["at"]),
        what=tool_title(str(entry["operation"])),
        target=_target(entry),
        amount=_amount(entry),
        state=state,
        outcome=OUTCOMES.get(state, tidy(state)),
        consent=consent,
        means=MEANS.get(consent, "-"),
        risk=tidy(entry["risk"], 20),
        irreversible=entry["risk"] == Risk.IRREVERSIBLE.word,
        by=", through ".join(tidy(entry[x], 80) for x in ("actor", "client") if entry[x]),
    )


def story(entry: Mapping[str, Any], approval: Approval | None) -> Story:
    kept: Mapping[str, Any] = entry["facts"]
    return Story(
        row=row(entry),
        held=bool(entry["held"]),
        executed=tidy(entry["executed"]),
        undo=tidy(entry["undo"]),
        ended=None if entry["ended_at"] is None else Moment(entry["ended_at"]),
        rows=_rows(entry),
        facts=facts({name: kept[name] for name in kept if name not in _SAID_ABOVE}),
        steps=(*_approval(approval), *(_step(line) for line in entry["lines"])),
    )


def approval_number(entry: Mapping[str, Any]) -> int | None:
    """The approval that a write rests on; the ledger says it as `approval 3`."""
    word, _, number = str(entry["confirmation"] or "").partition(" ")
    return int(number) if word == "approval" and number.isdecimal() else None


def _rows(entry: Mapping[str, Any]) -> tuple[Fact, ...]:
    told = {
        "Lead": entry["lead"],
        "Amount given": entry["amount"],
        "Amount moved": entry["known_amount"],
        "Remained before": entry["remainder"],
        "Meant as a repeat": entry["repeat"],
        "Can start mail": entry["mail"],
        "Asked by": entry["actor"],
        "Client": entry["client"],
        "Connection": entry["connection"],
        "Tool": entry["tool"],
        "Action run": entry["action_run_id"],
        "Detail": entry["detail"],
        "Evidence": entry["evidence"],
    }
    return tuple(Fact(name, name, values(v)) for name, v in told.items() if v not in _NOTHING)


_NOTHING: tuple[Any, ...] = (None, "", False, 0, [], {})


def _approval(found: Approval | None) -> tuple[Step, ...]:
    """The question to the person and their answer, which stand beside the chain's lines."""
    if found is None:
        return ()
    asked = (Fact("by", "Asked by", values(found.asked_by)),)
    steps = [Step(Moment(found.asked_at), f"Approval {found.number} was asked for", asked)]
    if found.decided_at is not None:
        said = {"Decided by": found.who, "Why": found.reason}
        told = tuple(Fact(name, name, values(v)) for name, v in said.items() if v)
        what = f"A person with the PIN {found.state} it"
        steps.append(Step(Moment(found.decided_at), what, told))
    return tuple(steps)


_STEPS: Mapping[str, str] = {
    "intent": "Recorded as begun, before anything was started",
    "outcome": "Recorded how it ended",
    "reconcile": "Settled by what was seen in the account",
}
_TOLD_OF: Mapping[str, tuple[str, ...]] = {
    "intent": ("risk", "consent"),
    "outcome": ("state", "executed", "detail"),
    "reconcile": ("state", "executed", "evidence"),
}


def _step(line: Mapping[str, Any]) -> Step:
    kind = str(line["kind"])
    names = [name for name in _TOLD_OF.get(kind, ()) if line.get(name) not in _NOTHING]
    told = tuple(Fact(name, label(name), values(line[name])) for name in names)
    what = _STEPS.get(kind, label(kind))
    return Step(Moment(line["at"]), what, told, line["n"], str(line["hash"])[:HASH])


def _target(entry: Mapping[str, Any]) -> str:
    return tidy(f"{entry['target_kind']} {entry['target'] or ''}".strip(), 120)


def _amount(entry: Mapping[str, Any]) -> str:
    """What moves, as far as it was known; Kartra does not name the currency."""
    return tidy(entry["known_amount"] or entry["amount"] or entry["remainder"], 40)
