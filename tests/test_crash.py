"""kill -9 at every step of a refund: never two refunds, no intent lost. `make soak` does many."""

from __future__ import annotations

import sys
from contextlib import closing

import anyio
import pytest
from crash_scenarios import FIRST, APIHouse, House, Story, judge, tell
from harness import sandbox_served
from team_houses import TeamHouse, TeamLedgers

from kartra_mcp.ledger.sqlite.store import open_ledger

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and descriptors"),
]

BEFORE = ("begin_uncommitted", "begin_committed", "begin_torn", "before_start")
AFTER = (
    "started",
    "answered",
    "finish_uncommitted",
    "finish_committed",
    "finish_torn",
    "answering",
)
STORIES = {
    "before anything is recorded": [
        Story(FIRST, "preview", "preview", nth=2),
        Story(FIRST + 1, "preview", "minted"),
        Story(FIRST + 2, "flag", "before_begin", partial=True),
    ],
    "while it is recorded": [Story(FIRST + n, "preview", at) for n, at in enumerate(BEFORE)],
    "once it was started": [Story(FIRST + n, "preview", at) for n, at in enumerate(AFTER)],
    "in the program's own time": [
        Story(FIRST, "preview", "running", how="hangs", seconds=1),
        Story(FIRST + 1, "preview", "program_first", how="hangs", seconds=1, delay=0.8),
        Story(FIRST + 2, "preview", "program_alone", how="lost", seconds=2, delay=1.0),
        Story(FIRST + 3, "flag", "answered", how="killed", seconds=1, partial=True),
    ],
}


@pytest.mark.parametrize("name", STORIES)
async def test_a_killed_server_refunds_once_and_loses_nothing(tmp_path, name):
    stories = STORIES[name]
    house = House(tmp_path / "state").build(len(stories))
    for number, story in enumerate(stories):
        story.seed = number
    async with anyio.create_task_group() as tasks:
        for story in stories:
            tasks.start_soon(tell, house, story)
    assert judge(house, stories) == []
    assert sorted(house.struck()) == sorted(story.point for story in stories)


DONE, NOT_DONE = (["succeeded"], 1), (["unknown"], 0)
OVER_THE_API = {
    "before_start": NOT_DONE,
    "started": NOT_DONE,
    "running": DONE,
    "answered": DONE,
    "finish_uncommitted": DONE,
    "finish_committed": DONE,
    "answering": DONE,
}
"""Point of the kill → final state in the ledger, and the refunds in the account."""


@pytest.mark.parametrize("point", OVER_THE_API)
async def test_a_server_killed_in_a_request_refunds_once_and_membranes_log_settles_it(
    tmp_path, point
):
    place = House(tmp_path / "state").build(1)
    if point == "running":
        place.arrange("fault", "set", "refund_transaction", "hang", "--effect")
    with sandbox_served(place) as served:
        house = APIHouse(place.folder, address=served.address)
        story = Story(FIRST, "preview", point, delay=2.0)
        await tell(house, story)
    assert judge(house, [story]) == []
    assert house.struck() == [point]
    with closing(open_ledger(house.folder)) as ledger:
        states = [line["state"] for line in ledger.export()]
    assert (states, len(house.refunds(FIRST))) == OVER_THE_API[point]


async def test_a_killed_server_of_a_team_refunds_once_and_loses_nothing(tmp_path, team_database):
    points = ("begin_uncommitted", "begin_sent", "begun", "started", "answered", "finish_sent")
    stories = [Story(FIRST + n, "preview", at, seed=n) for n, at in enumerate(points)]
    place = House(tmp_path / "state").build(len(stories))
    with sandbox_served(place) as served:
        ledgers = TeamLedgers(team_database.server)
        house = ledgers.make(TeamHouse(place.folder, address=served.address))
        async with anyio.create_task_group() as tasks:
            for story in stories:
                tasks.start_soon(tell, house, story)
        assert judge(house, stories) == []
        assert sorted(house.struck()) == sorted(points)
