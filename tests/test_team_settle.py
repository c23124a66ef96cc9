"""The jobs that look into Kartra and Membrane: settle, and drift, on the sandbox's API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from harness import SHORT, APISandbox, Sandbox, call, connect, sandbox_served

from kartra_mcp.app.composition import build_app
from kartra_mcp.core.timings import Clocks
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.lost_intents import OVERLAP, LostIntents
from kartra_mcp.ledger.sqlite.store import SQLiteStore
from kartra_mcp.settings import read_settings
from kartra_mcp.team.account_tools import AccountTools, started
from kartra_mcp.team.drifting import find_drift
from kartra_mcp.team.settling import SettleReport, settle_account

pytestmark = pytest.mark.anyio
ERA = "2026-07-28"
REFUND = "kartra_refund_transaction"
FREE = {"GATE_IRREVERSIBLE": "allow", "GATE_DESTRUCTIVE": "allow"}


@pytest.fixture
def place(tmp_path: Path) -> Generator[APISandbox]:
    with sandbox_served(Sandbox(tmp_path, dict(FREE))) as served:
        yield served


async def refund(place: APISandbox, amount: str = "20", target: int = 101) -> Any:
    async with connect(place, ERA) as client:
        return await call(client, REFUND, transaction_id=target, refund_amount=amount)


@asynccontextmanager
async def opened(place: APISandbox, folder: Path) -> AsyncGenerator[AccountTools]:
    """The tools of jobs on the ledger of a folder, as if the database had been put back."""
    settings = read_settings({}, place.environment)
    with closing(SQLiteStore(folder, Clocks())) as store:
        ledger = Ledger(store)
        app = build_app(settings, timings=SHORT, open_ledger=lambda: ledger)
        try:
            gateway, rules = app.tools.gateway, app.tools.rules
            tools = AccountTools("main", ledger, LostIntents(store), gateway, rules)
            async with started(tools):
                yield tools
        finally:
            await app.close()


@pytest.fixture
def own(place: APISandbox) -> Path:
    return place.folder / "sandbox"


@pytest.fixture
def rolled_back(tmp_path: Path) -> Path:
    """A ledger that has none of the server's entries."""
    folder = tmp_path / "restored"
    with closing(SQLiteStore(folder, Clocks())) as store:
        Ledger(store).append_note("start", {})
    return folder


class Gate:
    """Records when writes would be opened."""

    def __init__(self) -> None:
        self.marks: list[str] = []

    def begin(self) -> None:
        assert self.marks == []

    def finish(self) -> None:
        self.marks.append("swept")


async def settle(place: APISandbox, folder: Path) -> tuple[SettleReport, list[str]]:
    gate = Gate()
    async with opened(place, folder) as tools:
        return await settle_account(tools, gate), gate.marks


async def test_an_intact_ledger_is_swept_and_nothing_is_found(place: APISandbox, own: Path):
    assert not (await refund(place)).failed
    report, marks = await settle(place, own)
    assert (report.problem, report.needs_people, report.runs, marks) == (None, False, 1, ["swept"])
    assert (report.swept, report.lost, report.adopted, report.altered) == (True, [], [], [])


async def test_a_lost_write_is_recorded_and_settled_by_its_run_log(
    place: APISandbox, rolled_back: Path
):
    assert not (await refund(place)).failed
    report, marks = await settle(place, rolled_back)
    (intent,) = report.adopted
    assert [(one["intent"], one["state"]) for one in report.settled] == [(intent, "succeeded")]
    assert (report.needs_people, report.swept, marks) == (True, True, ["swept"])
    with closing(SQLiteStore(rolled_back, Clocks())) as store:
        ledger = Ledger(store)
        entry = ledger.get(intent)
        assert entry is not None
        assert (entry["operation"], entry["target"]) == ("refund_transaction", "101")
        assert (entry["amount"], entry["state"], entry["risk"]) == (
            "20.00",
            "succeeded",
            "irreversible",
        )
        assert ledger.verify().ok
        count = ledger.entry_count()
    again, _ = await settle(place, rolled_back)
    assert (again.adopted, again.needs_people) == ([], False)
    with closing(SQLiteStore(rolled_back, Clocks())) as store:
        assert Ledger(store).entry_count() == count  # a job that finds nothing writes nothing


def test_a_sweep_that_finds_nothing_is_noted_once_an_hour(tmp_path: Path):
    """Bug: it was noted once a day, so that each sweep read all run logs of a day."""
    with closing(SQLiteStore(tmp_path, Clocks())) as store:
        ledger, lost = Ledger(store), LostIntents(store)
        for until in (10_000.0, 13_599.0, 13_601.0):
            lost.note_sweep({"since": 0.0, "until": until, "runs": 0, "adopted": []})
        assert ledger.entry_count() == 2
        assert lost.since() == 13_601.0 - OVERLAP


async def test_after_a_sweep_the_lost_refund_is_not_made_again(
    place: APISandbox, rolled_back: Path
):
    assert not (await refund(place)).failed
    await settle(place, rolled_back)
    place.settings["STATE_DIR"] = str(rolled_back)
    answer = await refund(place)
    assert answer.code == "already_done"


async def test_a_write_of_unknown_outcome_is_settled_by_its_run_log(place: APISandbox, own: Path):
    place.arrange("fault", "set", "POST /act", "cut", "--effect")
    answer = await refund(place)
    assert answer.executed == "unknown"
    report, _ = await settle(place, own)
    assert [one["state"] for one in report.settled] == ["succeeded"]
    assert (report.waiting, report.needs_people) == ([], False)


async def test_an_account_that_cannot_be_read_is_reported_and_not_swept(
    place: APISandbox, own: Path
):
    assert not (await refund(place)).failed
    place.arrange("logout")
    report, marks = await settle(place, own)
    assert report.problem is not None
    assert (report.swept, report.needs_people, marks) == (False, True, [])


async def test_a_lost_write_of_an_action_that_is_gone_counts_as_irreversible(
    place: APISandbox, rolled_back: Path, monkeypatch: pytest.MonkeyPatch
):
    assert not (await refund(place)).failed
    async with opened(place, rolled_back) as tools:
        connection = await tools.find_connection()
        (run,) = [
            one
            for one in (await tools.list_runs(connection, 0.0)).runs
            if "kartra_mcp_intent" in one.meta
        ]
        gone = type(run)(run.id, run.created_at, "gone", run.arguments, run.meta)
        draft = tools.draft_lost("i1", gone, connection)
    assert (draft.operation, draft.risk.label, draft.target) == ("gone", "irreversible", None)


# Drift


async def drift(place: APISandbox, folder: Path):
    async with opened(place, folder) as tools:
        return await find_drift(tools, 0.0)


async def test_a_refund_of_the_ledger_is_no_drift(place: APISandbox, own: Path):
    assert not (await refund(place)).failed
    report = await drift(place, own)
    assert (report.problem, report.drifts, report.foreign, report.unread) == (None, [], [], [])
    assert (report.sales, report.found) == (1, False)


async def test_a_refund_that_no_entry_explains_is_found(
    place: APISandbox, own: Path, tmp_path: Path
):
    """A second program with a ledger of its own refunds a sale that the first one knows."""
    assert not (await refund(place)).failed
    place.settings["STATE_DIR"] = str(tmp_path / "other")
    assert not (await refund(place, "15")).failed
    report = await drift(place, own)
    assert [(one.kind, one.sale, str(one.amount)) for one in report.drifts] == [
        ("unexplained", "101", "15.00")
    ]
    assert len(report.foreign) == 1
    assert report.found
