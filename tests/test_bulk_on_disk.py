"""Bulk runs on disk: what was altered there does not run, and old data is removed."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from bulk_account import (
    CREATE,
    add_leads,
    agree,
    bulk,
    bulk_id,
    created,
    emails,
    new_leads,
    only_run,
    plan,
    resume,
)
from consent_actors import changed, ledger_folder, lines, sandbox
from harness import Answer, connect
from polling import until

from kartra_mcp.core.file_locks import exclusive_lock

pytestmark = pytest.mark.anyio


async def test_alterations_on_disk_stop_a_run(tmp_path: Path):
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    place.arrange("fault", "set", "create_lead", "244", "--times=3")
    async with connect(place, "legacy") as client:
        await bulk(client, CREATE, new_leads(6))
        id_ = only_run(place)
        changed(
            place,
            "UPDATE bulk_items SET arguments = ? WHERE number = 4",
            '{"email":"mallory@example.com"}',
        )
        answer = await resume(client, id_)
        assert (answer.code, answer.executed) == ("ledger_unavailable", "no")
    assert created(place) == 0


@pytest.mark.parametrize("state", ["running", "paused"])
async def test_a_run_that_is_marked_as_agreed_on_disk_does_not_run(tmp_path: Path, state: str):
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, new_leads(3))
        changed(place, "UPDATE bulk_runs SET state = ?, agreed_at = made_at", state)
        answer = await resume(client, bulk_id(preview))
        assert (answer.code, answer.executed) == ("ledger_unavailable", "no")
    assert created(place) == 0


UNGIVE = "kartra_remove_points_from_lead"
ALTERED: dict[str, str] = {
    "an argument": """UPDATE bulk_items SET arguments = '{"email":"mallory@example.com"}'""",
    "the amount of an item": "UPDATE bulk_items SET amount = '1.00'",
    "the risk of an item": "UPDATE bulk_items SET risk = 1",
    "the gate of an item": "UPDATE bulk_items SET gate = 'allow', mail = 0",
    "the risk of the run": "UPDATE bulk_runs SET risk = 1",
    "a write that is called a read": "UPDATE bulk_runs SET risk = 0, binding = NULL",
    "the facts that are shown": "UPDATE bulk_runs SET facts = json_set(facts, '$.count', 1)",
    "an option": "UPDATE bulk_runs SET options = json_set(options, '$.include_suppressed', 1)",
}


@pytest.mark.parametrize("name", ALTERED)
async def test_a_plan_that_is_altered_on_disk_is_not_agreed_to(tmp_path: Path, name: str):
    """Bug: only the arguments were noticed; a lower risk or gate asked for a lower consent."""
    place = sandbox(tmp_path, GATE_DESTRUCTIVE="human")
    who = add_leads(place, 2)
    async with connect(place, "legacy") as client:
        preview = await plan(client, UNGIVE, emails(who), arguments={"points": 1})
        assert preview.code == "approval_required"
        changed(place, ALTERED[name])
        answer = await resume(client, bulk_id(preview))
        assert (answer.code, answer.executed) == ("ledger_unavailable", "no"), answer.text
    assert lines(place, "intent") == []


async def test_the_data_of_old_runs_is_removed(tmp_path: Path):
    """Bug: a run that was never ended kept addresses for ever."""
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    place.arrange("fault", "set", "create_lead", "244", "--times=3")
    async with connect(place, "legacy") as client:
        await bulk(client, CREATE, new_leads(6))
        kept = "SELECT COUNT(*) FROM bulk_items WHERE arguments LIKE '%made%'"
        assert changed(place, kept) == [(6,)]
        changed(place, "UPDATE bulk_runs SET agreed_at = agreed_at - 31 * 86400")
        await plan(client, CREATE, emails(["other@example.org"]))
    assert changed(place, kept) == [(0,)]


async def test_a_ledger_that_is_busy_ends_a_call_and_not_the_run(tmp_path: Path):
    """An error of the ledger between two items is that of the ledger, not `internal_error`."""
    place = sandbox(tmp_path, MAX_CHILDREN="2", TIMEOUT="6")
    place.arrange("fault", "set", "create_lead", "slow", "--times=12", "--message=0.2")
    answers: list[Answer] = []
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, new_leads(12))

        async def run() -> None:
            answers.append(await agree(client, preview))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await until(lambda: created(place) >= 2)
            with exclusive_lock(ledger_folder(place) / "ledger.turn", 5):
                await until(lambda: bool(answers))
        assert answers[0].code == "ledger_unavailable", answers[0].text
        done = await resume(client, bulk_id(preview))
        while done.result["state"] == "running":
            done = await resume(client, bulk_id(preview))
    assert (done.result["state"], done.result["left"]) == ("done", 0)
    assert done.result["done"] + done.result["unknown"] == created(place) == 12
