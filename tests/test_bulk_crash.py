"""kill -9 of servers and programs in bulk runs: no item twice, none lost. `make soak` does many."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest
from bulk_crashes import (
    FIRST_LEAD,
    BulkAPIHouse,
    BulkHouse,
    BulkStory,
    Strike,
    judge_bulk,
    tell_bulk,
)
from harness import sandbox_served
from ledger_stores import TeamDatabase
from team_houses import BulkTeamHouse, TeamLedgers

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and descriptors"),
]

STORIES = {
    "while it is planned": [
        Strike("listed"),
        Strike("checked"),
        Strike("sealed"),
        Strike("agreed"),
    ],
    "while it runs": [
        Strike("claimed"),
        Strike("begin_committed", nth=2),
        Strike("finished", nth=2),
        Strike("started", nth=2, beside=True),
    ],
    "between an outcome and the next intent": [
        Strike("finish_uncommitted", nth=2),
        Strike("answered"),
        Strike("finish_committed", beside=True),
    ],
    "with its programs": [
        Strike("running", delay=0.3),
        Strike("program_first", delay=0.1, beside=True),
    ],
    "once its items have run": [
        Strike("noted"),
        Strike("ended"),
        Strike("answering"),
    ],
}
"""Name to the kills, each of which strikes: a server beside runs what is left at the last one."""
_GATED = {FIRST_LEAD + n: ("gated", 0.0) for n in range(6)}
PLANS = {
    "with its programs": {**_GATED, FIRST_LEAD + 1: ("late", 0.5)},
    "once its items have run": {FIRST_LEAD + 1: ("never", 0.0)},
}
"""Name to the programs of some leads: one that waits outlives its server."""
COUNT = 14
"""Items of a run: more than the servers of a story can begin before its last kill."""
PATIENT = {"TIMEOUT": "60"}
"""A call ends with its server or with the items, and not with its time before the kill."""


@pytest.mark.parametrize("name", STORIES)
async def test_a_run_whose_servers_are_killed_does_each_item_once(tmp_path: Path, name: str):
    """Bug: whether a kill struck was decided by the fastest of two servers."""
    strikes = STORIES[name]
    house = BulkHouse(tmp_path / "state", PATIENT).build_leads(COUNT)
    story = BulkStory(FIRST_LEAD, COUNT, 5, strikes, dict(PLANS.get(name, {})))
    with anyio.fail_after(240):
        await tell_bulk(house, story)
    assert judge_bulk(house, [story]) == []
    assert house.struck() == [strike.point for strike in strikes]


async def test_a_run_over_the_api_whose_servers_are_killed_does_each_item_once(tmp_path: Path):
    place = BulkHouse(tmp_path / "state", PATIENT).build_leads(COUNT)
    strikes = [Strike("agreed"), Strike("begun", nth=2), Strike("finished", beside=True)]
    with sandbox_served(place) as served:
        house = BulkAPIHouse(place.folder, place.settings, served.address)
        story = BulkStory(FIRST_LEAD, COUNT, 5, strikes)
        with anyio.fail_after(240):
            await tell_bulk(house, story)
        assert judge_bulk(house, [story]) == []
    assert house.struck() == [strike.point for strike in strikes]


async def test_a_run_of_a_team_whose_servers_are_killed_does_each_item_once(
    tmp_path: Path, team_database: TeamDatabase
):
    place = BulkHouse(tmp_path / "state", PATIENT).build_leads(COUNT)
    strikes = [Strike("agreed"), Strike("begin_sent", nth=2), Strike("finish_sent", beside=True)]
    with sandbox_served(place) as served:
        made = BulkTeamHouse(place.folder, place.settings, served.address)
        house = TeamLedgers(team_database.server).make(made)
        story = BulkStory(FIRST_LEAD, COUNT, 5, strikes)
        with anyio.fail_after(240):
            await tell_bulk(house, story)
        assert judge_bulk(house, [story]) == []
    assert house.struck() == [strike.point for strike in strikes]
