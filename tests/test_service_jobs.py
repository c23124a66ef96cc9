"""Jobs of the service: one replica of all settles and anchors, and a fault ends none of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ledger_stores import APP
from polling import wait_for
from service_world import team_world

from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.job_turns import JobTurns
from kartra_mcp.ledger.postgres.migrations import migrate_service
from kartra_mcp.sandbox.store.seed import CONNECTION
from kartra_mcp.service.jobs import ServiceJobs
from kartra_mcp.service.logs import EVENTS
from kartra_mcp.service.server import Replica

ADA = "ada@example.com"


async def run_often(turns: JobTurns, replica: Replica) -> None:
    await ServiceJobs(replica, turns, poll=0.1, settle=0).run()


@pytest.fixture
def connections(team_database: Any) -> Iterator[Connections]:
    migrate_service(team_database.server.dsn(), APP)
    with closing(Connections(team_database.server.dsn(APP))) as found:
        yield found


def test_a_turn_is_taken_by_one_replica_until_its_time_is_over(connections: Connections, tmp_path):
    first, second = JobTurns(connections), JobTurns(connections)
    job = f"settle {tmp_path.name}"
    assert first.claim(job, 3600)
    assert not second.claim(job, 3600)
    assert second.claim(job, 0)
    assert first.claim(f"anchor {tmp_path.name}", 3600)


def test_a_write_whose_answer_was_lost_is_settled_by_the_service(
    connections: Connections, team_database: Any, tmp_path: Path
):
    turns = JobTurns(connections)
    with team_world(tmp_path, team_database) as world:
        world.jobs = partial(run_often, turns)
        account = world.add_account("Main shop")
        world.start_replica()
        world.sandboxes[account].arrange("fault", "set", "assign_tag", "killed", "--effect")
        ann = world.caller("ann", account, "operator")
        lost = ann.call("kartra_assign_tag", email=ADA, tag_name="VIP")
        assert lost.tool_error["executed"] == "unknown"

        def state() -> str:
            (line,) = ann.call("kartra_ledger", count=1).structured["result"]["lines"]
            return line["state"]

        wait_for(lambda: state() == "succeeded", within=30)


def test_a_job_that_fails_is_logged_and_tried_again(
    connections: Connections, team_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = StringIO()
    monkeypatch.setattr(EVENTS, "stream", text)
    turns = JobTurns(connections)
    with team_world(tmp_path, team_database) as world:
        world.jobs = partial(run_often, turns)
        account = world.add_account("Main shop")
        world.sandboxes[account].arrange(
            "connection", "set-state", CONNECTION, "READY", "--disconnected"
        )
        world.start_replica()

        def failures() -> int:
            return text.getvalue().count('"job_failed"')

        wait_for(lambda: failures() > 1, within=30)
