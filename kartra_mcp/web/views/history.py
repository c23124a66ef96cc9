"""View models of past writes: rows of the history, and the details of one write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.display import display_value
from kartra_mcp.core.json_types import as_list, is_array, is_object
from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.lead_state import HELD_BEFORE, find_object
from kartra_mcp.ledger.approval_records import Approval
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

HASH_CHARS = 16
"""Displayed part of a hash; the export contains all of it."""

OUTCOMES: Mapping[str, str] = {
    "running": "Running",
    "succeeded": "Succeeded",
    "failed": "Failed",
    "refused": "Refused",
    "unknown": "Unknown",
}
EXECUTED: Mapping[str, str] = {"yes": "Yes", "no": "No", "unknown": "Not known"}
_AMOUNT_LABELS: Mapping[str, str] = {
    "running": "Amount (not yet known)",
    "succeeded": "Amount",
    "failed": "Amount (not moved)",
    "refused": "Amount (not moved)",
    "unknown": "Amount (if it was done)",
}
"""Label of the amount by state: only a successful write has moved it."""

_AMOUNT_NOTES: Mapping[str, str] = {
    "running": "not yet known",
    "failed": "not moved",
    "refused": "not moved",
    "unknown": "if it was done",
}

_INTERNAL_FACTS = frozenset({"seen", HELD_BEFORE})
"""Facts that are not displayed: they are compared when reconciling, as part of the evidence."""


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One write in the table. `bulk` is the id of its bulk run, or ""."""

    intent: str
    at: Timestamp
    what: str
    target: str
    amount: str
    amount_note: str
    state: str
    outcome: str
    consent: str
    means: str
    risk: str
    irreversible: bool
    by: str
    bulk: str


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event of a write. `line` is its number in the ledger; approval events have none."""

    at: Timestamp
    title: str
    facts: tuple[Fact, ...]
    line: int | None = None
    hash: str = ""


@dataclass(frozen=True, slots=True)
class WriteDetail:
    """One write from the approval request to the outcome."""

    row: HistoryRow
    held: bool
    ended: Timestamp | None
    receipt: tuple[Fact, ...]
    rows: tuple[Fact, ...]
    facts: tuple[Fact, ...]
    events: tuple[HistoryEvent, ...]

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
        amount_note=_AMOUNT_NOTES.get(state, ""),
        state=state,
        outcome=OUTCOMES.get(state, display_value(state)),
        consent=consent,
        means=CONSENT_MEANINGS.get(consent, "-"),
        risk=display_value(entry["risk"], 20),
        irreversible=entry["risk"] == Risk.IRREVERSIBLE.label,
        by=", through ".join(display_value(entry[x], 80) for x in ("actor", "client") if entry[x]),
        bulk=str(entry.get("bulk") or ""),
    )


def make_write_detail(entry: Mapping[str, Any], approval: Approval | None) -> WriteDetail:
    facts: Mapping[str, Any] = entry["facts"]
    return WriteDetail(
        row=make_row(entry),
        held=bool(entry["held"]),
        ended=None if entry["ended_at"] is None else Timestamp(entry["ended_at"]),
        receipt=_receipt_facts(entry),
        rows=_detail_facts(entry),
        facts=make_facts({name: facts[name] for name in facts if name not in _INTERNAL_FACTS}),
        events=(*_approval_events(approval), *(_make_event(line) for line in entry["lines"])),
    )


def can_be_looked_up(entry: Mapping[str, Any]) -> bool:
    """Return True if reading the account can show the effect of the write."""
    operation = str(entry["operation"])
    return operation in {REFUND, CANCEL} or find_object(operation) is not None


def _receipt_facts(entry: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return target, amount and outcome; the times are shown separately."""
    state, consent = str(entry["state"]), str(entry["consent"])
    amount = _describe_amount(entry)
    values = {
        "Lead": entry["lead"],
        "Object": entry.get("object"),
        _AMOUNT_LABELS.get(state, "Amount"): "" if amount == "-" else amount,
        "Was it done?": EXECUTED.get(str(entry["executed"]), entry["executed"]),
        "In Kartra now": _list_added(entry),
        "Reason": _describe_detail(entry["detail"]),
        "Consent": f"{humanize(consent)}: {CONSENT_MEANINGS.get(consent, '-')}",
        "How to undo": entry["undo"],
    }
    return _make_facts(values)


def _detail_facts(entry: Mapping[str, Any]) -> tuple[Fact, ...]:
    values = {
        "Requested amount": _format_amount(entry["amount"]),
        "Remaining amount before": _format_amount(entry["remainder"]),
        "Intended repeat": entry["repeat"],
        "Can start mail": entry["mail"],
        "Requested by": entry["actor"],
        "Client": entry["client"],
        "Connection": entry["connection"],
        "Tool": entry["tool"],
        "Action run": entry["action_run_id"],
    }
    return _make_facts(values)


def _make_facts(values: Mapping[str, Any]) -> tuple[Fact, ...]:
    return tuple(
        Fact(name, name, format_values(v)) for name, v in values.items() if v not in _EMPTY
    )


def _format_amount(amount: Any) -> str:
    return format_money(amount) if amount else ""


def _list_added(entry: Mapping[str, Any]) -> list[str]:
    """Return the records that the write added to the account, as far as reconciling found them."""
    found, facts = entry["evidence"], entry["facts"]
    seen: Any = found.get("evidence") if is_object(found) else None
    before: Any = facts.get("seen") if is_object(facts) else None
    if entry["state"] != "succeeded" or not is_array(seen):
        return []
    return [_describe_row(entry, row) for row in seen if not is_array(before) or row not in before]


def _describe_row(entry: Mapping[str, Any], row: Any) -> str:
    """Return `refund 201 of 97.00` for the record `201 97.00` of a refund."""
    number, _, amount = str(row).rpartition(" ")
    is_refund = entry["operation"] == REFUND and number
    return f"refund {number} of {amount}" if is_refund else str(row)


def _describe_detail(detail: Any) -> str:
    """Return the reason of the outcome in words, with its code."""
    if not is_object(detail):
        return str(detail or "")
    rest = {name: value for name, value in detail.items() if value not in _EMPTY}
    code = rest.pop("code", None)
    parts = [label_with_code(str(code))] if code else []
    parts += [_capitalize_first(rest.pop("settled"))] if "settled" in rest else []
    parts += [f"{humanize(name)}: {display_value(value)}" for name, value in rest.items()]
    return "; ".join(parts)


def _capitalize_first(value: Any) -> str:
    text = str(value)
    return text[:1].upper() + text[1:]


_EMPTY: tuple[Any, ...] = (None, "", False, 0, [], {})


def _approval_events(found: Approval | None) -> tuple[HistoryEvent, ...]:
    """Return the approval's request and decision, which are not lines of the write's own."""
    if found is None:
        return ()
    requested = (Fact("by", "Requested by", format_values(found.asked_by)),)
    events = [
        HistoryEvent(Timestamp(found.asked_at), f"Approval {found.number} requested", requested)
    ]
    if found.decided_at is not None:
        values = {"Decided by": found.who, "Reason": found.reason}
        facts = tuple(Fact(name, name, format_values(v)) for name, v in values.items() if v)
        title = f"{humanize(found.state)} with the PIN"
        events.append(HistoryEvent(Timestamp(found.decided_at), title, facts))
    return tuple(events)


_EVENT_TITLES: Mapping[str, str] = {
    "intent": "Intent recorded, before anything was started",
    "outcome": "Outcome recorded",
    "look": "Account read: no trace of the write, late enough to count",
    "reconcile": "Outcome settled",
    "statement": "Outcome stated by a user",
    "conflict": "A late answer contradicts the settled outcome; writes are stopped",
}
_EVENT_FIELDS: Mapping[str, tuple[str, ...]] = {
    "intent": ("risk", "consent"),
    "outcome": ("state", "executed", "detail"),
    "look": ("why", "evidence"),
    "reconcile": ("state", "executed", "evidence"),
    "statement": ("state", "person", "reason"),
    "conflict": ("settled", "state", "executed"),
}
_NAMES: Mapping[str, str] = {
    "state": "Outcome",
    "executed": "Was it done?",
    "detail": "Reason",
    "evidence": "Evidence",
    "person": "User",
    "reason": "Reason",
    "settled": "Settled before as",
}


def _make_event(line: Mapping[str, Any]) -> HistoryEvent:
    kind = str(line["kind"])
    names = [name for name in _EVENT_FIELDS.get(kind, ()) if line.get(name) not in _EMPTY]
    facts = tuple(
        Fact(name, _NAMES.get(name) or humanize(name), _format_entry_value(name, line[name]))
        for name in names
    )
    title = _EVENT_TITLES.get(kind, humanize(kind))
    return HistoryEvent(
        Timestamp(line["at"]), title, facts, line["n"], str(line["hash"])[:HASH_CHARS]
    )


def _format_entry_value(name: str, value: Any) -> tuple[str, ...]:
    if name == "evidence":
        return _describe_evidence(value)
    word = str(value)
    texts: Mapping[str, str | None] = {
        "state": OUTCOMES.get(word),
        "executed": EXECUTED.get(word),
        "consent": f"{humanize(word)}: {CONSENT_MEANINGS.get(word, '-')}",
        "risk": humanize(word),
        "detail": display_value(_describe_detail(value)),
    }
    return format_values(texts.get(name) or value)


def _describe_evidence(value: Any) -> tuple[str, ...]:
    """Return the reason why the evidence counts, and each record that was found."""
    if not is_object(value):
        return format_values(value)
    rows: Any = value.get("evidence")
    seen = [display_value(row) for row in as_list(rows)]
    run = value.get("action_run_id")
    basis = [display_value(value["why"])] if value.get("why") else []
    basis += [f"Action run {display_value(run)}"] if run else []
    return (*basis, *seen) or ("-",)


def _describe_operation(entry: Mapping[str, Any]) -> str:
    """Return the title of the operation; both kinds of cancellation have the same one."""
    kind, operation = str(entry["target_kind"]), str(entry["operation"])
    return (
        f"Cancel {kind}"
        if operation == CANCEL and kind == "subscription"
        else make_tool_title(operation)
    )


def _describe_target(entry: Mapping[str, Any]) -> str:
    """Return `tag "VIP", lead a**@e***.com`; only the number if the title names the kind."""
    kind, target = str(entry["target_kind"]), str(entry["target"] or "")
    if "@" in target:
        target = target.partition(" ")[0]  # the keyed hash follows the masked address
    is_named = target and kind and _describe_operation(entry).lower().endswith(kind.lower())
    place = target if is_named else f"{kind} {target}".strip()
    return display_value(", ".join(part for part in (_describe_object(entry), place) if part), 160)


def _describe_object(entry: Mapping[str, Any]) -> str:
    """Return the object; only its name if the operation's title ends with its kind."""
    text = str(entry.get("object") or "")
    kind, _, name = text.partition(" ")
    return name if _describe_operation(entry).lower().endswith(f" {kind}") else text


def _describe_amount(entry: Mapping[str, Any]) -> str:
    """Return the amount, as far as it was known; Kartra does not name the currency."""
    return format_money(entry["known_amount"] or entry["amount"] or entry["remainder"])
