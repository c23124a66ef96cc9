"""Effects that run logs and Kartra's refunds show and the ledger lacks: decisions over data."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.membrane.logged_runs import (
    MAX_LOG_PAGES,
    LoggedRuns,
    list_logged_runs,
    parse_logged_run,
)
from kartra_mcp.team.refund_drift import (
    KartraRefund,
    LedgerRefund,
    compare_refunds,
    parse_evidence,
    parse_ledger_refund,
)
from kartra_mcp.team.run_log_sweep import compare_runs

SALE = "101"


def row(id_: str, amount: str) -> KartraRefund:
    return KartraRefund(id_, SALE, Decimal(amount))


def entry(
    intent: str, amount: str | None, state: str = "succeeded", seen: tuple[str, ...] = ()
) -> LedgerRefund:
    at = float(intent[1:])
    return LedgerRefund(intent, SALE, state, at, None if amount is None else Decimal(amount), seen)


@pytest.mark.parametrize(
    ("rows", "entries", "expected"),
    [
        ([], [], []),
        ([row("9", "30.00")], [entry("i1", "30")], []),
        ([row("9", "30.00")], [], [("unexplained", "9", "")]),
        ([row("9", "30.00"), row("10", "30.00")], [entry("i1", "30")], [("unexplained", "10", "")]),
        (
            [row("9", "30.00")],
            [entry("i1", "40")],
            [("unexplained", "9", ""), ("absent", "", "i1")],
        ),
        ([row("9", "30.00")], [entry("i1", "30", "failed")], [("unexplained", "9", "")]),
        ([row("9", "30.00")], [entry("i1", "30", "unknown")], [("perhaps", "9", "i1")]),
        ([], [entry("i1", "30", "unknown")], []),
        ([row("9", "67.00")], [entry("i1", None)], []),
        ([row("9", "67.00"), row("8", "30.00")], [entry("i1", None), entry("i2", "67")], []),
        (
            [row("7", "5.00"), row("9", "30.00")],
            [entry("i1", "30", seen=("7 5.00",))],
            [("before", "7", "")],
        ),
    ],
)
def test_refunds_of_a_sale_are_compared_row_by_row(rows: Any, entries: Any, expected: Any):
    found = compare_refunds(rows, entries)
    assert [(one.kind, one.row, one.intent) for one in found] == expected


def test_evidence_and_entries_are_parsed_as_the_ledger_has_them():
    assert parse_evidence(SALE, ["9 30.00", "x y"]) == [row("9", "30.00")]
    body = {"intent": "i1", "target": SALE, "state": "unknown", "at": 1, "known_amount": "30"}
    facts = {"facts": {"seen": ["7 5.00"]}}
    assert parse_ledger_refund({**body, **facts}) == entry("i1", "30", "unknown", ("7 5.00",))


def log(number: int, intent: str = "", **more: Any) -> dict[str, Any]:
    meta = {"kartra_mcp_intent": intent} if intent else {}
    return {
        "id": f"run{number}",
        "status": "success",
        "output": {"ok": True},
        "createdAt": f"2026-11-30T00:00:{number:02d}.000Z",
        "connectionId": "c",
        "action": {"id": "a1", "input": {"id": 1}, "connectionId": "c"},
        "meta": {**meta, **more},
    }


def list_all(*pages: Any) -> tuple[LoggedRuns, list[dict[str, str]]]:
    asked: list[dict[str, str]] = []

    async def fetch(query: Any) -> Any:
        asked.append(dict(query))
        return pages[min(len(asked), len(pages)) - 1]

    return anyio.run(list_logged_runs, fetch, "c", 1_793_880_000.0), asked


def test_every_page_of_run_logs_of_the_connection_is_read():
    other = {**log(2), "connectionId": "another"}
    found, asked = list_all({"items": [log(3), other], "cursor": "x"}, {"items": [log(1, "i1")]})
    assert found.complete
    assert [run.id for run in found.runs] == ["run3", "run1"]
    assert [query.get("cursor") for query in asked] == [None, "x"]
    run = found.runs[1]
    assert (run.action, run.arguments, run.meta["kartra_mcp_intent"]) == ("a1", {"id": 1}, "i1")
    assert run.created_at == parse_logged_run(log(1)).created_at is not None


def test_a_run_is_kept_without_its_output():
    """Bug: each sweep held the answers of a day in memory, so that idle replicas grew."""
    run = parse_logged_run({**log(1, "i1"), "output": {"secret": "answer"}})
    assert "answer" not in repr(run)


def test_logs_without_an_end_are_reported_as_incomplete():
    found, asked = list_all({"items": [], "cursor": "x"})
    assert not found.complete
    assert len(asked) == MAX_LOG_PAGES


def test_a_page_that_is_no_list_is_an_error():
    with pytest.raises(KartraMCPError):
        list_all({"message": "?"})


def test_a_log_with_other_fields_is_still_read():
    run = parse_logged_run({"id": "r", "createdAt": "?", "integrationActionId": "a", "input": []})
    assert (run.action, run.arguments, run.created_at) == ("a", {}, None)


def sweep(*logs: dict[str, Any], known: dict[str, bool] | None = None):
    lines = {4: "h4"}
    runs = [parse_logged_run(one) for one in logs]
    return compare_runs(runs, (known or {}).get, lines.get)


def test_a_run_whose_intent_the_ledger_has_is_no_finding():
    mark = {"kartra_mcp_line": 4, "kartra_mcp_hash": "h4"}
    found = sweep(log(2), log(1, "i1", **mark), known={"i1": False})
    assert (found.runs, found.lost, found.altered) == (1, (), ())


def test_the_runs_of_a_lost_intent_are_found_oldest_first():
    found = sweep(log(5, "i2"), log(4, "i1"), log(2, "i2"), log(1, "i0"), known={"i0": False})
    assert [(name, [run.id for run in runs]) for name, runs in found.lost] == [
        ("i2", ["run2", "run5"]),
        ("i1", ["run4"]),
    ]


@pytest.mark.parametrize("line", [4, 9])
def test_an_entry_that_had_another_hash_when_it_was_sent_is_found(line: int):
    mark = {"kartra_mcp_line": line, "kartra_mcp_hash": "other"}
    assert sweep(log(1, "i1", **mark), known={"i1": False}).altered == (("i1", line),)


def test_an_adopted_intent_has_another_entry_than_its_run_names():
    mark = {"kartra_mcp_line": 4, "kartra_mcp_hash": "other"}
    assert sweep(log(1, "i1", **mark), known={"i1": True}).altered == ()
