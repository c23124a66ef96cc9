"""Bulk runs whose servers and programs are killed, and what must hold after it all.

Used by `test_bulk_crash.py` for a sample and by `soak.py` for many. One `BulkStory` is one run that
gives points to leads. Servers plan it, agree to it and continue it, and die one after the other,
some of them while another server continues the same run. In the end servers without a fault finish
it.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from crash_scenarios import LATEST, PATIENCE, SETTLED, APIHouse, House
from fault_server import BULK_STEPS, GO_ON, IN_ITS_TIME, POINTS, WAITS
from harness import ERAS, Answer, call
from mcp import Client
from polling import gone, until

RUN, GIVE = "kartra_bulk_run", "kartra_give_points_to_lead"
FIRST_LEAD = 80_001
BULK_POINTS = [*(point for point in POINTS if point != "preview"), *BULK_STEPS]
IN_A_PLAN = frozenset({"minted", "listed", "checked", "sealed", "agreed"})
AT_THE_END = frozenset({"noted", "ended", "answering"})
OF_A_PROGRAM = frozenset({*IN_ITS_TIME, "before_start", "started", "answered"})
API_POINTS = [point for point in BULK_POINTS if point not in OF_A_PROGRAM]
"""Points that a raw request over the API reaches: it carries no intent."""
HOWS = ("slow", "lost", "late", "killed", "hangs", "never")
GOES_ON = frozenset(
    {"confirmation_required", "not_enough_time", "bulk_paused", "in_progress", "timed_out"}
)
MAX_CALLS = 200
"""Calls after which a run that is not done counts as stuck."""


@dataclass(frozen=True)
class Strike:
    """One kill: at the `nth` time that a point is reached.

    `beside`: another server continues the same run. It runs one item at least, and what is left
    once this server has ended: however fast it is, it leaves items to reach the point with.
    """

    point: str
    nth: int = 1
    delay: float = 0.2
    beside: bool = False


@dataclass
class BulkStory:
    """One run: the leads `first` to `first + count - 1` get `points`.

    `plans` is the behavior of the program for some leads.
    """

    first: int
    count: int
    points: int
    strikes: list[Strike]
    plans: dict[int, tuple[str, float]] = field(default_factory=dict)
    seed: int = 0
    bulk_id: str = ""
    answers: list[Answer] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    @property
    def leads(self) -> range:
        return range(self.first, self.first + self.count)

    def __str__(self) -> str:
        strikes = [f"{s.point}:{s.nth}" + (" beside" if s.beside else "") for s in self.strikes]
        codes = Counter(a.code if a.failed else a.result["state"] for a in self.answers)
        return f"run {self.bulk_id} of {self.count}, kills {strikes}, answers {dict(codes)}"


class BulkHouse(House):
    """The account with leads to give points to; a call has little time, so that many are made."""

    def build_leads(self, count: int) -> BulkHouse:
        self.settings = {"TIMEOUT": "8", "MAX_CHILDREN": "2", **self.settings}
        (self.folder / "plans").mkdir(parents=True)
        self.arrange("reset")
        for number in range(FIRST_LEAD, FIRST_LEAD + count):
            self.rows(
                "INSERT INTO leads (id, email, first_name, date_joined, gdpr_lead_status)"
                " VALUES (?, ?, 'Soak', '2026-01-01 00:00:00', 1)",
                *(number, f"soak{number}@example.com"),
            )
        return self

    def given(self, lead: int) -> int:
        """Return the number of times that this lead got points."""
        return self.rows("SELECT COUNT(*) FROM points WHERE lead_id = ?", lead)[0][0]


class BulkAPIHouse(APIHouse, BulkHouse):
    """The same account behind Membrane's API, where no program is started."""


async def tell_bulk(house: BulkHouse, story: BulkStory) -> None:
    """The whole of one run, until it is done and nothing more can happen to it."""
    dice = random.Random(story.seed)
    for lead, (how, seconds) in story.plans.items():
        house.plan(lead, how, seconds)
    for strike in story.strikes:
        (house.folder / GO_ON).unlink(missing_ok=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_strike, house, story, strike, dice)
            if strike.beside and story.bulk_id:
                tasks.start_soon(_continue_beside, house, story, dice)
    async with house.server(dice.choice(ERAS), "preview") as client:
        await _finish(client, story, house)
        await _end_programs(house, story)
        await _finish(client, story, house)


async def _strike(house: BulkHouse, story: BulkStory, strike: Strike, dice: random.Random) -> None:
    """Continue the run with a server that dies of it, or that does all that is left."""
    fault = (strike.point, str(strike.nth), str(strike.delay))
    with suppress(Exception):
        async with house.server(dice.choice(ERAS), "preview", *fault) as client:
            await _ask(client, story)
            _go_on(house, story, strike)  # with this call's time over, or nothing left for it
            await _finish(client, story, house)
    _go_on(house, story, strike)


def _go_on(house: BulkHouse, story: BulkStory, strike: Strike) -> None:
    """Let the server beside go on, and after the last strike the programs that wait."""
    (house.folder / GO_ON).touch()
    if strike is story.strikes[-1]:
        for lead, (how, _) in story.plans.items():
            if how == "gated":
                house.go(lead)


async def _continue_beside(house: BulkHouse, story: BulkStory, dice: random.Random) -> None:
    async with house.server(dice.choice(ERAS), "preview", WAITS, "2", "0") as client:
        await _ask(client, story)


async def _finish(client: Client, story: BulkStory, house: BulkHouse) -> None:
    for _ in range(MAX_CALLS):
        answer = await _ask(client, story)
        if not answer.failed and answer.result["state"] != "running":
            return
        if answer.failed and answer.code not in GOES_ON:
            story.trouble.append(f"an answer that does not fit: {answer.text[:400]}")
            return
        if not answer.failed or answer.code == "in_progress":
            await _end_hanging(house, story)
            await house.await_ends()
    story.trouble.append("it does not end")


async def _ask(client: Client, story: BulkStory) -> Answer:
    """One call, with the consent that it wants."""
    answer = await _call(client, story, _request(story))
    while answer.failed and answer.code in {"confirmation_required", "facts_changed"}:
        shown = answer.error["confirmation"]
        story.bulk_id = shown["bulk_id"]
        words = {"confirmation_id": shown["id"], "confirmation_summary": shown["summary"]}
        answer = await _call(client, story, {"bulk_id": story.bulk_id, "confirm": True, **words})
    return answer


def _request(story: BulkStory) -> dict[str, Any]:
    if story.bulk_id:
        return {"bulk_id": story.bulk_id}
    items = [{"lead_id": lead} for lead in story.leads]
    return {"tool": GIVE, "arguments": {"points": story.points}, "items": items}


async def _call(client: Client, story: BulkStory, given: dict[str, Any]) -> Answer:
    with anyio.fail_after(PATIENCE):
        answer = await call(client, RUN, **given)
    story.answers.append(answer)
    return answer


async def _end_hanging(house: BulkHouse, story: BulkStory) -> None:
    """Kill programs that never end and whose server is dead: their items run until then."""
    for lead, (how, _) in story.plans.items():
        for pid in house.pids(lead) if how == "hangs" else ():
            with suppress(ProcessLookupError):
                if not gone(pid) and os.getsid(pid) == pid:
                    os.kill(pid, signal.SIGKILL)


async def _end_programs(house: BulkHouse, story: BulkStory) -> None:
    """Until what comes late has come, and no program of the run is left."""
    await _end_hanging(house, story)
    for lead, (how, seconds) in story.plans.items():
        if house.pids(lead) and how in {"late", "killed", "hangs"}:
            with suppress(TimeoutError):
                await until(lambda lead=lead: house.came(lead), within=seconds + LATEST)
    for lead in story.leads:
        for pid in house.pids(lead):
            await until(lambda pid=pid: gone(pid), within=LATEST)


def judge_bulk(house: BulkHouse, stories: list[BulkStory]) -> list[str]:
    """Every violation, over the whole account and the whole ledger."""
    with closing(house.open_ledger()) as ledger:
        ledger.mark_orphans_unknown()
        report, lines = ledger.verify(), ledger.export()
        for story in stories:
            items = ledger.bulk.list_items(story.bulk_id)
            run = ledger.bulk.get(story.bulk_id)
            state = run.state if run else "lost"
            _require(story, state == "done", f"the run is {state}")
            _require(story, len(items) == story.count, f"{len(items)} items of {story.count}")
            of_run = [line for line in lines if line.get("bulk") == story.bulk_id]
            for item in items:
                own = [line for line in of_run if line["item"] == item.number]
                _judge_item(house, story, int(item.arguments["lead_id"]), own)
            _judge_last_answer(story, of_run)
    found = [f"{what}: {story}" for story in stories for what in story.trouble]
    return found + ([] if report.ok else [f"the chain does not hold: {report.why}"])


def _judge_item(
    house: BulkHouse, story: BulkStory, lead: int, intents: list[dict[str, Any]]
) -> None:
    given, starts = house.given(lead), len(house.pids(lead))
    states = [line["state"] for line in intents]
    _require(story, given <= 1, f"lead {lead} got points {given} times")
    _require(story, starts <= 1, f"lead {lead}: {starts} starts")
    _require(story, len(states) == 1, f"lead {lead} has {len(states)} intents")
    _require(story, set(states) <= SETTLED, f"lead {lead} is not settled: {states}")
    may_be_done = given == 0 or bool({"succeeded", "unknown"} & set(states))
    _require(story, may_be_done, f"lead {lead} got points, and the ledger has {states}")
    _require(story, given == 1 or "succeeded" not in states, f"lead {lead} got none, but {states}")


def _judge_last_answer(story: BulkStory, of_run: list[dict[str, Any]]) -> None:
    """The last answer counts what the ledger has."""
    counted = Counter(line["state"] for line in of_run)
    last = story.answers[-1]
    told = last.result if not last.failed else {}
    same = (told.get("done"), told.get("unknown")) == (counted["succeeded"], counted["unknown"])
    _require(story, same, f"the last answer is {told}, and the ledger has {dict(counted)}")


def _require(story: BulkStory, holds: object, what: str) -> None:
    if not holds:
        story.trouble.append(what)


def make_story(
    first: int, kills: int, dice: random.Random, points: Sequence[str] = BULK_POINTS
) -> BulkStory:
    """A random run, with some items for each kill, each at one of these points."""
    count = 6 * kills
    within = [point for point in points if point not in IN_A_PLAN | AT_THE_END]
    strikes = [
        make_strike(dice, dice.choice(sorted((IN_A_PLAN | {"fsync"}) & {*points}))),
        *(make_strike(dice, dice.choice(within)) for _ in range(kills - 2)),
        make_strike(dice, dice.choice([*within, *AT_THE_END])),
    ]
    odd = dice.sample(range(first, first + count), count // 6)
    plans = {lead: (dice.choice(HOWS), dice.uniform(0.1, 1.5)) for lead in odd}
    return BulkStory(first, count, dice.randint(1, 50), strikes, plans, dice.getrandbits(32))


def make_strike(dice: random.Random, point: str) -> Strike:
    once = point in IN_ITS_TIME or point in IN_A_PLAN or point in AT_THE_END
    most = {"fsync": 12, "claimed": 2}.get(point, 1 if once else 3)
    beside = point not in IN_A_PLAN and dice.random() < 0.25
    return Strike(point, dice.randint(1, most), dice.uniform(0.0, 0.6), beside)
