"""View models of bulk runs: rows of the list, and one run with its items."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

from kartra_mcp.core.display import display_value
from kartra_mcp.ledger.bulk_records import CONSENT_LIFETIME, BulkItem, BulkRun, ItemCounts
from kartra_mcp.ledger.records import CONSENT_MEANINGS
from kartra_mcp.web.views.bulk_facts import count_noun, describe_arguments, make_bulk_facts
from kartra_mcp.web.views.error_labels import label_with_code
from kartra_mcp.web.views.formatting import Fact, Timestamp, humanize, make_tool_title

RUN_STATES: Mapping[str, str] = {
    "unchecked": "Being checked",
    "planned": "Waiting for consent",
    "running": "Running",
    "paused": "Paused",
    "done": "Done",
    "cancelled": "Cancelled",
}
ITEM_STATES: Mapping[str, str] = {
    "unknown": "Unknown",
    "failed": "Failed",
    "succeeded": "Succeeded",
    "skipped": "Left out",
    "running": "Running",
    "waiting": "Not run",
    "unchecked": "Not checked yet",
}
"""Labels of the items' states, in the order of their importance."""
PARTIAL = "Done in part"
"""Label of an item of several commands, of which some failed."""
_INKS: Mapping[str, str] = {"running": "running", "paused": "unknown", "done": "succeeded"}
_NEXT_STEPS: Mapping[str, str] = {
    "unchecked": "Every item is checked against the account. Nothing has run.",
    "planned": "Nothing has run. The run begins with your consent, or that of your client.",
    "running": (
        "Items run while a call of your client is open. If the numbers do not change, ask your "
        "assistant to continue this bulk run."
    ),
    "paused": (
        "Correct the cause, then ask your assistant to continue this bulk run. Items that ran are "
        "not repeated."
    ),
    "done": "",
    "cancelled": "No further item runs. Items that were done stay done.",
}


@dataclass(frozen=True, slots=True)
class BulkRunRow:
    """One run in the list. `ink` is the CSS class of a state's color."""

    id: str
    title: str
    state: str
    label: str
    ink: str
    made: Timestamp
    counts: str
    progress: str
    by: str


@dataclass(frozen=True, slots=True)
class BulkItemRow:
    """One item. `intent` is the id of its write, or ""."""

    item: str
    state: str
    label: str
    arguments: str
    reason: str
    intent: str


@dataclass(frozen=True, slots=True)
class BulkRunDetail:
    """One run: progress, times, facts of the consent, and what is to be done.

    Attributes:
        checked: items are being checked, so that `value` counts those.
        announcement: the state in one sentence, for a screen reader.
        next_step: what happens next, or "".
        approval: number of the pending approval that it waits for, or None.
    """

    row: BulkRunRow
    value: int
    total: int
    checked: bool
    announcement: str
    why: str
    next_step: str
    numbers: tuple[Fact, ...]
    times: tuple[tuple[str, Timestamp], ...]
    consent: str
    connection: str
    undoes: str
    facts: tuple[Fact, ...]
    approval: int | None
    can_cancel: bool


def make_run_row(run: BulkRun, counts: ItemCounts) -> BulkRunRow:
    state = _state_of(run)
    has_faults = counts.failed + counts.unknown > 0
    return BulkRunRow(
        id=run.id,
        title=make_tool_title(run.tool),
        state=state,
        label=RUN_STATES.get(state, display_value(state)),
        ink="unknown" if state == "done" and has_faults else _INKS.get(state, ""),
        made=Timestamp(run.made_at),
        counts=_describe_counts(counts),
        progress=_describe_progress(run, counts),
        by=", through ".join(display_value(x, 80) for x in (run.actor, run.client) if x),
    )


def make_run_detail(run: BulkRun, counts: ItemCounts, approval: int | None) -> BulkRunDetail:
    row = make_run_row(run, counts)
    checked = row.state == "unchecked"
    means = CONSENT_MEANINGS.get(run.consent, "-")
    return BulkRunDetail(
        row=row,
        value=run.total - (counts.unchecked if checked else counts.left),
        total=run.total,
        checked=checked,
        announcement=f"Bulk run: {row.label}. {row.progress}. {row.counts}.",
        why=display_value(run.why) if run.why else "",
        next_step=_NEXT_STEPS.get(row.state, ""),
        numbers=_count_facts(counts),
        times=_list_times(run),
        consent=f"{humanize(run.consent)}: {means}" if run.consent else "",
        connection=display_value(run.connection, 80),
        undoes=run.undoes,
        facts=make_bulk_facts(run.facts, run) if run.facts else (),
        approval=approval,
        can_cancel=not run.has_ended,
    )


def make_item_row(item: BulkItem, shared: Collection[str] = ()) -> BulkItemRow:
    """Return the row of an item; `shared` are the arguments that are equal in every item."""
    state = item.shown_state
    own = {name: value for name, value in item.arguments.items() if name not in shared}
    in_part = state == "succeeded" and bool(item.code)
    return BulkItemRow(
        item=str(item.source),
        state=state,
        label=PARTIAL if in_part else ITEM_STATES.get(state, display_value(state)),
        arguments=display_value(describe_arguments(own or item.arguments), 300),
        reason=_describe_reason(item),
        intent=item.intent,
    )


def list_choices(counts: ItemCounts) -> list[tuple[str, str, int]]:
    """Return the states that items have: value, label, number."""
    return [(name, ITEM_STATES[name], n) for name, n in _list_counts(counts)]


def _state_of(run: BulkRun) -> str:
    return "unchecked" if run.state == "planned" and not run.digest else run.state


def _describe_reason(item: BulkItem) -> str:
    code = label_with_code(item.code) if item.code else ""
    reason = display_value(item.reason) if item.reason else ""
    return ": ".join(part for part in (code, reason) if part)


def _list_counts(counts: ItemCounts) -> list[tuple[str, int]]:
    """Return the states that items have, and their numbers, in the order of `ITEM_STATES`."""
    known = {field.name: int(getattr(counts, field.name)) for field in fields(counts)}
    return [(name, known[name]) for name in ITEM_STATES if known.get(name)]


def _describe_counts(counts: ItemCounts) -> str:
    """Return `1 unknown, 38 succeeded`."""
    named = [f"{number:,} {ITEM_STATES[name].lower()}" for name, number in _list_counts(counts)]
    return ", ".join(named) or "no items"


def _describe_progress(run: BulkRun, counts: ItemCounts) -> str:
    if _state_of(run) == "unchecked":
        return f"{run.total - counts.unchecked:,} of {run.total:,} items checked"
    if run.agreed_at is None:
        return f"{count_noun(f'{run.total:,}' if run.total != 1 else 1, 'item')}, none has run"
    return f"{run.total - counts.left:,} of {run.total:,} items ended or left out"


def _count_facts(counts: ItemCounts) -> tuple[Fact, ...]:
    return tuple(
        Fact(name, ITEM_STATES[name], (f"{number:,}",)) for name, number in _list_counts(counts)
    )


def _list_times(run: BulkRun) -> tuple[tuple[str, Timestamp], ...]:
    begun = run.agreed_at
    until = begun + CONSENT_LIFETIME if begun is not None and not run.has_ended else None
    times: Sequence[tuple[str, float | None]] = (
        ("Planned", run.made_at),
        ("Began", begun),
        ("Can be continued until", until),
        ("Ended", run.ended_at),
    )
    return tuple((label, Timestamp(at)) for label, at in times if at is not None)
