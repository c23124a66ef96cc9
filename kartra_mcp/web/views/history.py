"""What was done: rows of the ledger, and one write's whole story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.display import display_value
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Risk
from kartra_mcp.ledger.approvals import Approval
from kartra_mcp.ledger.records import CANCEL, CONSENT_MEANINGS, REFUND
from kartra_mcp.web.views.error_labels import label_with_code
from kartra_mcp.web.views.formatting import (
    Fact,
    Timestamp,
    format_money,
    format_values,
    humanize,
    make_facts,
    make_tool_title,
)

HASH = 16
"""Characters of a hash that people are shown; the export has it whole."""

OUTCOMES: Mapping[str, str] = {
    "running": "Still running",
    "succeeded": "Done",
    "failed": "Failed",
    "refused": "Refused",
    "unknown": "Unknown",
}
EXECUTED: Mapping[str, str] = {"yes": "Yes", "no": "No", "unknown": "Not known"}
_OF_MONEY: Mapping[str, str] = {
    "running": "Amount that it would move",
    "succeeded": "Amount",
    "failed": "Amount, which did not move",
    "refused": "Amount, which did not move",
    "unknown": "Amount, if it was done",
}
"""Only what was done has moved anything."""

_MOVED: Mapping[str, str] = {
    "running": "not yet known",
    "failed": "not moved",
    "refused": "not moved",
    "unknown": "if it was done",
}

_SAID_ABOVE = frozenset({"seen"})


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One write in the table."""

    intent: str
    at: Timestamp
    what: str
    target: str
    amount: str
    moved: str
    state: str
    outcome: str
    consent: str
    means: str
    risk: str
    irreversible: bool
    by: str


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One thing that happened in a story; `line` is its number in the ledger, if it has one."""

    at: Timestamp
    what: str
    told: tuple[Fact, ...]
    line: int | None = None
    hash: str = ""


@dataclass(frozen=True, slots=True)
class WriteDetail:
    """One write from the question to the end."""

    row: HistoryRow
    held: bool
    ended: Timestamp | None
    receipt: tuple[Fact, ...]
    rows: tuple[Fact, ...]
    facts: tuple[Fact, ...]
    steps: tuple[HistoryEvent, ...]

    @property
    def reconcilable(self) -> bool:
        return self.row.state == "unknown" and not self.held


def make_row(entry: Mapping[str, Any]) -> HistoryRow:
    consent, state = str(entry["consent"]), str(entry["state"])
    return HistoryRow(
        intent=str(entry["intent"]),
        at=Timestamp(entry["at"]),
        what=_describe_operation(entry),
        target=_describe_target(entry),
        amount=_describe_amount(entry),
        moved=_MOVED.get(state, ""),
        state=state,
        outcome=OUTCOMES.get(state, display_value(state)),
        consent=consent,
        means=CONSENT_MEANINGS.get(consent, "-"),
        risk=display_value(entry["risk"], 20),
        irreversible=entry["risk"] == Risk.IRREVERSIBLE.label,
        by=", through ".join(display_value(entry[x], 80) for x in ("actor", "client") if entry[x]),
    )


def make_write_detail(entry: Mapping[str, Any], approval: Approval | None) -> WriteDetail:
    kept: Mapping[str, Any] = entry["facts"]
    return WriteDetail(
        row=make_row(entry),
        held=bool(entry["held"]),
        ended=None if entry["ended_at"] is None else Timestamp(entry["ended_at"]),
        receipt=_receipt_facts(entry),
        rows=_detail_facts(entry),
        facts=make_facts({name: kept[name] for name in kept if name not in _SAID_ABOVE}),
        steps=(*_approval_events(approval), *(_make_event(line) for line in entry["lines"])),
    )


def can_be_looked_up(entry: Mapping[str, Any]) -> bool:
    """Whether a look in the account can tell what became of it."""
    return entry["operation"] in {REFUND, CANCEL}


def _receipt_facts(entry: Mapping[str, Any]) -> tuple[Fact, ...]:
    """What was done to whom, and how it ended; its times stand beside."""
    state, consent = str(entry["state"]), str(entry["consent"])
    known = _describe_amount(entry)
    told = {
        "Lead": entry["lead"],
        _OF_MONEY.get(state, "Amount"): "" if known == "-" else known,
        "Was it done?": EXECUTED.get(str(entry["executed"]), entry["executed"]),
        "In Kartra now": _list_made(entry),
        "Why": _describe_detail(entry["detail"]),
        "Consent": f"{humanize(consent)}: {CONSENT_MEANINGS.get(consent, '-')}",
        "How to undo": entry["undo"],
    }
    return _make_facts(told)


def _detail_facts(entry: Mapping[str, Any]) -> tuple[Fact, ...]:
    told = {
        "Amount given": _format_amount(entry["amount"]),
        "Remained before": _format_amount(entry["remainder"]),
        "Meant as a repeat": entry["repeat"],
        "Can start mail": entry["mail"],
        "Asked by": entry["actor"],
        "Client": entry["client"],
        "Connection": entry["connection"],
        "Tool": entry["tool"],
        "Action run": entry["action_run_id"],
    }
    return _make_facts(told)


def _make_facts(told: Mapping[str, Any]) -> tuple[Fact, ...]:
    return tuple(
        Fact(name, name, format_values(v)) for name, v in told.items() if v not in _NOTHING
    )


def _format_amount(amount: Any) -> str:
    return format_money(amount) if amount else ""


def _list_made(entry: Mapping[str, Any]) -> list[str]:
    """What is new in the account by it, where a look found that."""
    found, kept = entry["evidence"], entry["facts"]
    seen: Any = found.get("evidence") if is_object(found) else None
    before: Any = kept.get("seen") if is_object(kept) else None
    if entry["state"] != "succeeded" or not is_array(seen):
        return []
    return [_describe_row(entry, row) for row in seen if not is_array(before) or row not in before]


def _describe_row(entry: Mapping[str, Any], row: Any) -> str:
    """`201 97.00` of a refund → `refund 201 of 97.00`."""
    number, _, amount = str(row).rpartition(" ")
    is_refund = entry["operation"] == REFUND and number
    return f"refund {number} of {amount}" if is_refund else str(row)


def _describe_detail(detail: Any) -> str:
    """Why it ended as it did, in words, with the code beside."""
    if not is_object(detail):
        return str(detail or "")
    told = {name: value for name, value in detail.items() if value not in _NOTHING}
    code = told.pop("code", None)
    said = [label_with_code(str(code))] if code else []
    said += [_as_sentence(told.pop("settled"))] if "settled" in told else []
    said += [f"{humanize(name)}: {display_value(value)}" for name, value in told.items()]
    return "; ".join(said)


def _as_sentence(text: Any) -> str:
    plain = str(text)
    return plain[:1].upper() + plain[1:]


_NOTHING: tuple[Any, ...] = (None, "", False, 0, [], {})


def _approval_events(found: Approval | None) -> tuple[HistoryEvent, ...]:
    """The question to the person and their answer, which stand beside the chain's lines."""
    if found is None:
        return ()
    asked = (Fact("by", "Asked by", format_values(found.asked_by)),)
    steps = [
        HistoryEvent(Timestamp(found.asked_at), f"Approval {found.number} was asked for", asked)
    ]
    if found.decided_at is not None:
        said = {"Decided by": found.who, "Why": found.reason}
        told = tuple(Fact(name, name, format_values(v)) for name, v in said.items() if v)
        what = f"A person with the PIN {found.state} it"
        steps.append(HistoryEvent(Timestamp(found.decided_at), what, told))
    return tuple(steps)


_STEPS: Mapping[str, str] = {
    "intent": "Recorded as begun, before anything was started",
    "outcome": "Recorded how it ended",
    "look": "Looked in the account: nothing to be seen, late enough to count",
    "reconcile": "Settled by what was seen in the account",
}
_TOLD_OF: Mapping[str, tuple[str, ...]] = {
    "intent": ("risk", "consent"),
    "outcome": ("state", "executed", "detail"),
    "look": ("why", "evidence"),
    "reconcile": ("state", "executed", "evidence"),
}
_NAMES: Mapping[str, str] = {
    "state": "Outcome",
    "executed": "Was it done?",
    "detail": "Why",
    "evidence": "Seen in the account",
}


def _make_event(line: Mapping[str, Any]) -> HistoryEvent:
    kind = str(line["kind"])
    names = [name for name in _TOLD_OF.get(kind, ()) if line.get(name) not in _NOTHING]
    told = tuple(
        Fact(name, _NAMES.get(name) or humanize(name), _format_entry_value(name, line[name]))
        for name in names
    )
    what = _STEPS.get(kind, humanize(kind))
    return HistoryEvent(Timestamp(line["at"]), what, told, line["n"], str(line["hash"])[:HASH])


def _format_entry_value(name: str, value: Any) -> tuple[str, ...]:
    if name == "evidence":
        return _describe_evidence(value)
    said = str(value)
    words: Mapping[str, str | None] = {
        "state": OUTCOMES.get(said),
        "executed": EXECUTED.get(said),
        "consent": f"{humanize(said)}: {CONSENT_MEANINGS.get(said, '-')}",
        "risk": humanize(said),
        "detail": display_value(_describe_detail(value)),
    }
    return format_values(words.get(name) or value)


def _describe_evidence(value: Any) -> tuple[str, ...]:
    """Sentences: why it counts, and each row that was seen."""
    if not is_object(value):
        return format_values(value)
    rows: Any = value.get("evidence")
    seen = [display_value(row) for row in rows] if is_array(rows) else []
    run = value.get("action_run_id")
    told = [display_value(value["why"])] if value.get("why") else []
    told += [f"Action run {display_value(run)}"] if run else []
    return (*told, *seen) or ("-",)


def _describe_operation(entry: Mapping[str, Any]) -> str:
    """A cancellation goes by one name, whichever of the two it was named by."""
    kind, operation = str(entry["target_kind"]), str(entry["operation"])
    return (
        f"Cancel {kind}"
        if operation == CANCEL and kind == "subscription"
        else make_tool_title(operation)
    )


def _describe_target(entry: Mapping[str, Any]) -> str:
    """`lead a**@e***.com`; of what the operation names already, the number alone."""
    kind, target = str(entry["target_kind"]), str(entry["target"] or "")
    if "@" in target:
        target = target.partition(" ")[0]  # the key that it is found by stands behind it
    is_named = target and kind and _describe_operation(entry).lower().endswith(kind.lower())
    return display_value(target if is_named else f"{kind} {target}".strip(), 120)


def _describe_amount(entry: Mapping[str, Any]) -> str:
    """What it is about, as far as it was known; Kartra does not name the currency."""
    return format_money(entry["known_amount"] or entry["amount"] or entry["remainder"])
