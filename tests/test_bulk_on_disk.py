"""Bulk runs on disk: what was altered there does not run, and old data is removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from bulk_account import (
    CREATE,
    RUN,
    bulk,
    bulk_id,
    created,
    emails,
    new_leads,
    only_run,
    plan,
    resume,
)
from consent_actors import changed, confirmed, sandbox
from harness import call, connect

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


async def test_a_plan_that_is_altered_on_disk_is_not_agreed_to(tmp_path: Path):
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, new_leads(3))
        changed(
            place,
            "UPDATE bulk_items SET arguments = ? WHERE number = 1",
            '{"email":"mallory@example.com"}',
        )
        answer = await call(client, RUN, bulk_id=bulk_id(preview), **confirmed(preview))
        assert (answer.code, answer.executed) == ("ledger_unavailable", "no")
    assert place.rows("SELECT 1 FROM leads WHERE email LIKE 'mallory%'") == []


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
