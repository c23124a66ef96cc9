"""Proof from the account or from run logs about a write with an unknown outcome."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from kartra_mcp.calls.reconciliation import (
    PastLooks,
    ReconcileFinding,
    evaluate_evidence,
    evaluate_run_logs,
    past_looks,
    require_fence,
)
from kartra_mcp.consent.facts import Facts
from kartra_mcp.core.errors import RefusedError, UpstreamError
from kartra_mcp.core.models import FENCED, ActionResult, OperationKind, Risk, Target
from kartra_mcp.core.timings import WriteTimings
from kartra_mcp.membrane.responses import RunLog

NOW = 1_800_000_000.0
QUARTER, FIVE = 15 * 60.0, 5 * 60.0
OLD, NEW, OTHER = "r1 2026-01-01 97.00", "r2 2026-02-01 97.00", "r3 2026-02-01 5.00"
REFUND = Facts(OperationKind.REFUND, Target("transaction", "101"), remaining=Decimal("97.00"))
CANCELLATION = Facts(
    OperationKind.CANCELLATION, Target("subscription", "201"), {"status": "active"}
)
CHANGE = replace(CANCELLATION, act=OperationKind.CHANGE)
CANCELLED = replace(
    CANCELLATION, shown={"status": "cancelled"}, already_done=True, evidence=("cancelled",)
)


def entry(
    seen: list[str] | None = None, age: float = QUARTER, amount: Any = "97", **more: Any
) -> dict[str, Any]:
    facts = {} if seen is None else {"seen": seen}
    return {"facts": facts, "at": NOW - age, "amount": amount, **more}


def refunds(*evidence: str, remaining: str | None = "97.00", **more: Any) -> Facts:
    left = None if remaining is None else Decimal(remaining)
    return replace(REFUND, evidence=evidence, remaining=left, **more)


# name → entry, facts, late looks before, state, whether it counts as a late look
LOOKS: dict[str, tuple[dict[str, Any], Facts, int, str, bool]] = {
    "a new refund of the sum": (entry([OLD]), refunds(OLD, NEW), 0, "succeeded", False),
    "a new refund at once": (entry([], age=0.0), refunds(NEW), 0, "succeeded", False),
    "a new refund of another sum": (entry([OLD]), refunds(OLD, OTHER), 1, "unknown", False),
    "two new ones, one of the sum": (entry([]), refunds(OTHER, NEW), 0, "succeeded", False),
    "a new refund where no sum was given": (
        entry([], amount=None),
        refunds(OTHER),
        0,
        "succeeded",
        False,
    ),
    "the sum that was read at the preview": (
        entry([], amount="5", known_amount="97"),
        refunds(NEW),
        0,
        "succeeded",
        False,
    ),
    "only a refund that was seen before": (entry([OLD]), refunds(OLD), 1, "failed", False),
    "a new refund, not everything read": (
        entry([]),
        refunds(NEW, missing=("the lead: no answer",)),
        1,
        "unknown",
        False,
    ),
    "nothing, not everything read": (
        entry([]),
        refunds(missing=("the lead: no answer",)),
        1,
        "unknown",
        False,
    ),
    "a refund, and nothing was read before": (entry(), refunds(NEW), 1, "unknown", False),
    "no refund, and nothing was read before": (entry(), refunds(), 1, "failed", False),
    "facts of another kind in the ledger": (
        {"at": NOW - QUARTER, "facts": None},
        refunds(NEW),
        1,
        "unknown",
        False,
    ),
    "the first late look": (entry([]), refunds(), 0, "unknown", True),
    "the second late look": (entry([]), refunds(), 1, "failed", False),
    "a third late look": (entry([]), refunds(), 2, "failed", False),
    "a second before a quarter of an hour": (
        entry([], age=QUARTER - 1),
        refunds(),
        1,
        "unknown",
        False,
    ),
    "an entry without a time": (
        {"facts": {"seen": []}, "at": None},
        refunds(),
        1,
        "unknown",
        False,
    ),
    "a remaining sum that was not read": (
        entry([]),
        refunds(remaining=None),
        1,
        "unknown",
        False,
    ),
    "nothing remains, and no refund is there": (
        entry([]),
        refunds(remaining="0"),
        1,
        "failed",
        False,
    ),
    "a cancellation that is new": (entry([]), CANCELLED, 0, "succeeded", False),
    "a cancellation that was seen before": (entry(["cancelled"]), CANCELLED, 1, "failed", False),
    "a cancellation, and nothing was read before": (entry(), CANCELLED, 1, "unknown", False),
    "a status that is new, but not a cancelled one": (
        entry([]),
        replace(CANCELLATION, evidence=("paused",)),
        0,
        "unknown",
        True,
    ),
    "an active subscription": (entry([]), CANCELLATION, 1, "failed", False),
    "a subscription without a status": (
        entry([]),
        replace(CANCELLATION, shown={}),
        1,
        "unknown",
        False,
    ),
    "another change, which leaves no evidence": (
        entry([]),
        replace(CHANGE, evidence=(NEW,)),
        0,
        "unknown",
        True,
    ),
    "a change that shows as done": (
        entry([]),
        replace(CHANGE, evidence=(NEW,), already_done=True),
        0,
        "unknown",
        True,
    ),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_in_the_account_proves(name: str):
    kept, facts, late_looks, state, late_look = LOOKS[name]
    age = NOW - (kept["at"] or NOW)
    found = evaluate_evidence(
        kept, facts, PastLooks(age, [FIVE * n for n in range(1, late_looks + 1)])
    )
    assert (found.state, found.late_look) == (state, late_look)


@pytest.mark.parametrize("since", [0.0, FIVE - 1])
def test_a_look_soon_after_another_one_does_not_count(since: float):
    found = evaluate_evidence(entry([]), refunds(), PastLooks(QUARTER + since, [since]))
    assert (found.state, found.late_look) == ("unknown", False)


REASONS: dict[str, tuple[Facts, str]] = {
    "the first thing that could not be read": (
        refunds(missing=("the lead: no answer", "x")),
        "the lead: no answer",
    ),
    "the refund of the sum": (refunds(OTHER, NEW), NEW),
    "the refund of another sum": (refunds(OTHER), OTHER),
    "the status": (CANCELLED, "cancelled"),
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_names(name: str):
    facts, text = REASONS[name]
    assert text in evaluate_evidence(entry([]), facts, PastLooks(QUARTER)).why


DONE = RunLog("done", ActionResult({"status": "Success"}))
EMPTY = RunLog("empty")
TURNED_AWAY = RunLog("away", error=RefusedError("rate_limited", "m", "r"))
UNKNOWN = RunLog("lost", error=UpstreamError("timed_out", "m", "r"))
KARTRA_ERROR = {"status": "Error", "message": "no", "type": "206"}
REFUSED_BY_KARTRA = RunLog("kartra", ActionResult(KARTRA_ERROR))

LOGS: dict[str, tuple[list[RunLog], Risk, tuple[str, str] | None]] = {
    "none": ([], Risk.IRREVERSIBLE, None),
    "one that was done": ([DONE], Risk.IRREVERSIBLE, ("succeeded", "done")),
    "one that was done, of a write": ([DONE], Risk.WRITE, ("succeeded", "done")),
    "one of many that was done": (
        [TURNED_AWAY, UNKNOWN, DONE],
        Risk.WRITE,
        ("succeeded", "done"),
    ),
    "the only one, turned away": ([TURNED_AWAY], Risk.IRREVERSIBLE, ("failed", "away")),
    "the only one, refused by Kartra": (
        [REFUSED_BY_KARTRA],
        Risk.IRREVERSIBLE,
        ("failed", "kartra"),
    ),
    "two that were turned away": ([TURNED_AWAY, TURNED_AWAY], Risk.IRREVERSIBLE, None),
    "one turned away beside an unknown one": ([TURNED_AWAY, UNKNOWN], Risk.IRREVERSIBLE, None),
    "one turned away, of a write that may be tried again": ([TURNED_AWAY], Risk.WRITE, None),
    "one turned away, of a destructive write": ([TURNED_AWAY], Risk.DESTRUCTIVE, None),
    "one that is unknown": ([UNKNOWN], Risk.IRREVERSIBLE, None),
    "one without an outcome": ([EMPTY], Risk.IRREVERSIBLE, None),
}


@pytest.mark.parametrize("name", LOGS)
def test_the_logs_of_runs_prove(name: str):
    logs, risk, expected = LOGS[name]
    found = evaluate_run_logs(logs, risk.label)
    assert (None if found is None else (found.state, found.run)) == expected


def test_an_undocumented_error_in_a_log_proves_nothing():
    log = RunLog("odd", ActionResult({"status": "Error", "message": "no", "type": "99999"}))
    assert evaluate_run_logs([log], Risk.IRREVERSIBLE.label) is None


FOUND = {x: ReconcileFinding(x, "found", check="found") for x in ("succeeded", "failed", "unknown")}
DENIED = {"intent": "i1", "attempt": "a1", "fence": FENCED}
STATED = "ledger settle i1 failed"

# name → entry, state that the looks found, whether the token ended, state, part of `check`
FENCES: dict[str, tuple[dict[str, Any], str, bool | None, str, str]] = {
    "its token ended": (DENIED, "failed", True, "failed", "found"),
    "its token is accepted": (DENIED, "failed", False, "unknown", STATED),
    "its token was not checked": (DENIED, "failed", None, "unknown", "kartra_reconcile"),
    "no fence, another token ended": (DENIED | {"fence": ""}, "failed", True, "unknown", STATED),
    "no fence, not checked": (DENIED | {"fence": ""}, "failed", None, "unknown", STATED),
    "of a program": ({"intent": "i1"}, "failed", None, "failed", "found"),
    "succeeded": (DENIED, "succeeded", False, "succeeded", "found"),
    "unknown": (DENIED, "unknown", False, "unknown", "found"),
}


@pytest.mark.parametrize("name", FENCES)
def test_a_write_failed_only_if_nothing_of_it_can_be_accepted(name: str):
    intent, state, token_ended, expected, check = FENCES[name]
    found = require_fence(intent, FOUND[state], token_ended=token_ended)
    assert found.state == expected
    assert check in found.check
    assert found.why
    assert found.late_look == (check != "found")


def test_a_look_counts_by_the_times_of_its_write():
    """Of a fenced write the delay begins where its right to be sent ends."""
    times = WriteTimings(settle_seconds=60, skew_seconds=5, look_seconds=7)
    fenced, plain = {"at": NOW, "send_until": NOW + 30}, {"at": NOW}
    assert past_looks(fenced, 200.0, (40.0,), times) == PastLooks(200.0, (40.0,), 30 + 5 + 60, 7)
    assert past_looks(plain, 200.0, (), times) == PastLooks(200.0, (), 60, 7)
