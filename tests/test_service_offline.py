"""A replica that lost its database: its reads go on for a time, and then refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ledger_stores import APP
from polling import wait_for
from postgres_server import PostgresServer, running_postgres
from service_world import Caller, TeamWorld, team_world

from kartra_mcp.app.database_contact import OFFLINE_SECONDS

ADA = 48110


@dataclass
class Database:
    server: PostgresServer


@pytest.fixture(scope="module")
def world() -> Iterator[TeamWorld]:
    with (
        TemporaryDirectory() as folder,
        TemporaryDirectory(prefix="kartra-mcp-offline-") as data,
        running_postgres(Path(data) / "data") as server,
    ):
        server.run_sql(f"CREATE ROLE {APP} LOGIN")
        with team_world(Path(folder), Database(server)) as world:
            world.add_account("Main shop")
            yield world


def read(caller: Caller) -> str:
    return caller.call("kartra_get_lead", lead_id=ADA).code


@pytest.mark.parametrize("rate", ["0", "100"], ids=["without a rate limit", "with one"])
def test_reads_refuse_once_the_database_was_silent_for_too_long(world: TeamWorld, rate: str):
    """Bug: a replica that was cut off from the database served reads for ever."""
    world.offline_seconds = OFFLINE_SECONDS
    patient = world.start_replica(RATE=rate)
    world.offline_seconds = 1.0
    quick = world.start_replica(RATE=rate)
    (account,) = world.sandboxes
    there = world.caller(f"ann-{rate}", account, "viewer", replica=patient)
    here = there.at(quick)
    assert {read(there), read(here)} == {"done"}
    world.database.server.stop()
    try:
        wait_for(lambda: read(here) == "ledger_unavailable")
        refused = here.call("kartra_get_lead", lead_id=ADA).tool_error
        assert (refused["code"], refused["executed"]) == ("ledger_unavailable", "no")
        assert "has not answered for 1 seconds" in refused["message"]
        assert read(there) == "done"
    finally:
        world.database.server.start()
    wait_for(lambda: read(here) == "done")
