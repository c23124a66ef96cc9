"""Group commit: writes that wait together share a commit, and each gets its own result."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import anyio
import pytest

from kartra_mcp.calls.joined_commits import JoinedCommits
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.file_locks import exclusive_lock
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger import group_commit
from kartra_mcp.ledger.group_commit import PendingWrite
from kartra_mcp.ledger.records import Answer, Intent, make_intent_id
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.policy.limits import Limits
from tests.ledger_stores import Place

pytestmark = pytest.mark.anyio

MANY = 24
PATIENCE = 60.0


def intent(number: int) -> Intent:
    return Intent(
        id=make_intent_id(),
        tool="kartra_assign_tag",
        operation="assign_tag",
        risk=Risk.WRITE,
        connection="c",
        target_kind="lead",
        target=str(number),
        arguments_digest=f"{number:064x}",
    )


def test_more_writes_than_one_group_holds_are_all_recorded(
    ledger_place: Place, monkeypatch: pytest.MonkeyPatch
):
    """Bug: a write behind a full group had no result."""
    monkeypatch.setattr(group_commit, "MAX_GROUP", 1)
    intents = [intent(number) for number in range(MANY)]
    ready = Barrier(MANY + 1)
    with closing(ledger_place.open(wait=20.0)) as ledger:
        ledger.require_writable()

        def begin(number: int) -> str:
            ready.wait(20)
            running = ledger.begin(intents[number], Limits())
            running.close()
            return running.intent_id

        with ThreadPoolExecutor(MANY) as pool:
            with ledger_place.hold_turn():
                begun = [pool.submit(begin, number) for number in range(MANY)]
                ready.wait(20)
            ids = [one.result(30) for one in begun]
        kept = {entry["intent"] for entry in ledger.export()}
    assert set(ids) == kept == {one.id for one in intents}


class Shrinking(deque[PendingWrite[None]]):
    """Writes of which one is withdrawn between a look at their number and the end of a group."""

    def __len__(self) -> int:
        return super().__len__() + 1


def test_a_write_that_is_withdrawn_meanwhile_costs_no_other_its_commit(ledger_place: Place):
    with closing(ledger_place.open()) as ledger:
        commits = group_commit.GroupCommit(ledger.approvals.store)
        commits._waiting = Shrinking()
        write = PendingWrite[None](lambda transaction: None, lambda problem: None)
        commits.run([write])
        assert write.done.is_set()
        assert write.error is None


def test_a_refused_write_undoes_itself_and_no_other_of_its_group(ledger_place: Place):
    equal = intent(1)
    twin = replace(equal, id=make_intent_id())
    others = [intent(number) for number in range(2, 8)]
    ready = Barrier(len(others) + 2)
    with closing(ledger_place.open(wait=20.0)) as ledger:
        first = ledger.begin(equal, Limits())

        def begin(one: Intent) -> str:
            ready.wait(20)
            ledger.begin(one, Limits()).close()
            return one.id

        with ThreadPoolExecutor(len(others) + 1) as pool:
            with ledger_place.hold_turn():
                begun = [pool.submit(begin, one) for one in (*others, twin)]
                ready.wait(20)
            assert [one.result(30) for one in begun[:-1]] == [one.id for one in others]
            with pytest.raises(RefusedError) as refused:
                begun[-1].result(30)
        kept = {entry["intent"] for entry in ledger.export()}
        first.close()
    assert refused.value.code == "in_progress"
    assert kept == {equal.id, *(one.id for one in others)}


def first_of_newest_commit(folder: Path) -> int:
    """The number of the first line that the newest commit wrote."""
    with closing(sqlite3.connect(folder / "ledger.db")) as db:
        (before,) = db.execute("SELECT value FROM meta WHERE key = 'before'").fetchone()
    return json.loads(before)[0] + 1


async def test_calls_that_wait_together_are_committed_together(tmp_path: Path):
    intents = [intent(number) for number in range(MANY)]
    twin = replace(intents[0], id=make_intent_id())
    refusals: list[str] = []
    with closing(open_ledger(tmp_path, wait=20.0)) as ledger:
        commits = JoinedCommits(ledger)

        async def begin(one: Intent) -> None:
            try:
                (await commits.run(ledger.beginning(one, Limits()))).close()
            except RefusedError as refusal:
                refusals.append(refusal.code)

        async with anyio.create_task_group() as calls:
            for one in (*intents, twin):
                calls.start_soon(begin, one)
        kept = {entry["intent"] for entry in ledger.export()}
    assert kept == {one.id for one in intents}
    assert refusals == ["in_progress"]
    assert first_of_newest_commit(tmp_path) == 1


async def test_a_patient_outcome_shares_the_commit_of_the_next_intent(tmp_path: Path):
    first, second = intent(1), intent(2)
    with closing(open_ledger(tmp_path, wait=20.0)) as ledger:
        commits = JoinedCommits(ledger)
        ledger.begin(first, Limits())

        async def finish() -> None:
            end = ledger.finishing(first.id, Answer("succeeded", Executed.YES))
            await commits.run(end, patience=PATIENCE)

        async with anyio.create_task_group() as calls:
            calls.start_soon(finish)
            await anyio.wait_all_tasks_blocked()
            (await commits.run(ledger.beginning(second, Limits()))).close()
        states = {entry["intent"]: entry["state"] for entry in ledger.export()}
    assert states == {first.id: "succeeded", second.id: "running"}
    assert first_of_newest_commit(tmp_path) == 2


async def test_a_patient_outcome_is_committed_if_nothing_follows(tmp_path: Path):
    only = intent(1)
    with closing(open_ledger(tmp_path, wait=20.0)) as ledger:
        ledger.begin(only, Limits())
        end = ledger.finishing(only.id, Answer("succeeded", Executed.YES))
        await JoinedCommits(ledger).run(end, patience=0.001)
        (entry,) = ledger.export()
    assert entry["state"] == "succeeded"


async def test_a_call_whose_wait_is_over_takes_its_write_back(tmp_path: Path):
    with closing(open_ledger(tmp_path, wait=0.05)) as ledger:
        ledger.require_writable()
        commits = JoinedCommits(ledger)
        codes: list[str] = []

        async def begin(number: int) -> None:
            try:
                await commits.run(ledger.beginning(intent(number), Limits()))
            except RefusedError as refusal:
                codes.append(refusal.code)

        with exclusive_lock(tmp_path / "ledger.turn", 5.0):
            async with anyio.create_task_group() as calls:
                calls.start_soon(begin, 1)
                await anyio.wait_all_tasks_blocked()
                calls.start_soon(begin, 2)
        assert codes == ["ledger_unavailable"] * 2
        assert ledger.export() == []
        (await commits.run(ledger.beginning(intent(3), Limits()))).close()
