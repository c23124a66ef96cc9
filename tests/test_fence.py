"""A write over HTTP is sent under a token of its own, and never executed after its right to send.

The effects are read in the account, the decisions in the journal of the API.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from harness import SHORT, Answer, APISandbox, Sandbox, call, connect, sandbox_served
from mcp import Client, StdioServerParameters
from polling import until
from reconcile_clock import LATE, LATER, Clock, opened

from kartra_mcp.cli import ledger_settle
from kartra_mcp.cli.runner import LedgerContext
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.surroundings import Surroundings, surrounded
from kartra_mcp.core.timings import CallTimings, WriteTimings
from kartra_mcp.ledger.sqlite.store import open_ledger

pytestmark = pytest.mark.anyio

REFUND, TAG = "kartra_refund_transaction", "kartra_assign_tag"
SALE, OTHER_SALE = {"transaction_id": 101}, {"transaction_id": 102}
VIP = {"lead_id": 48110, "tag_name": "VIP"}
RAW = {
    "method": "POST",
    "path": "/api",
    "json": {
        "actions": [{"cmd": "assign_tag", "tag_name": "Webinar attended"}],
        "lead": {"id": 48110},
    },
    "confirm": True,
}
REFUNDED, TAGGED = "refund_transaction", "assign_tag"
FIXED = "pat-sandbox-of-the-tests"
PAUSED_SERVER = Path(__file__).with_name("paused_server.py")


@pytest.fixture
def place(tmp_path: Path) -> Generator[APISandbox]:
    with sandbox_served(Sandbox(tmp_path / "state")) as served:
        yield served


@pytest.fixture
def clock(place: APISandbox) -> Clock:
    return Clock(place)


def sending(seconds: float) -> CallTimings:
    return CallTimings(
        min_human=SHORT.min_human, retry=0.02, writes=WriteTimings(send_seconds=seconds)
    )


async def agreed(client: Client, **given: Any) -> Answer:
    shown = (await call(client, REFUND, **given)).error["confirmation"]
    said = {"confirmation_id": shown["id"], "confirmation_summary": shown["summary"]}
    return await call(client, REFUND, confirm=True, **said, **given)


async def lines(client: Client) -> list[dict[str, Any]]:
    return (await call(client, "kartra_ledger")).result["lines"]


def refunds(place: Sandbox, of: int = 101) -> list[tuple[Any, ...]]:
    return place.rows("SELECT cents FROM transactions WHERE parent_id = ?", of)


def intents(place: APISandbox) -> list[dict[str, Any]]:
    """Return every write in the ledger, oldest first."""
    with closing(open_ledger(place.folder / "sandbox")) as ledger:
        assert ledger.verify().why == ""
        return ledger.export()


# ── The token of a write ──


async def test_each_write_has_a_token_of_its_own_that_ends_with_its_right(place: APISandbox):
    async with connect(place, "legacy") as client:
        assert not (await call(client, TAG, **VIP)).failed
        assert not (await agreed(client, **SALE)).failed
        raw = await call(client, "kartra_proxy_write", **RAW)
        assert not raw.failed, raw.text
    tagged, refunded, raw = intents(place)
    writes = [row for row in place.requests() if row["effects"]]
    assert [row["token_id"] for row in writes] == [x["attempt"] for x in (tagged, refunded, raw)]
    for row, entry in zip(writes, intents(place), strict=True):
        assert entry["fence"] == "short_token"
        assert entry["send_until"] == pytest.approx(entry["at"] + 30, abs=0.01)
        assert entry["send_until"] - 1 < row["token_end"] <= entry["send_until"]
        intent, outcome = place.entries(entry["intent"])
        assert outcome["attempt"] == intent["attempt"] == entry["attempt"]
        assert intent["at"] <= row["received_at"] + 0.01
    marks = [row["meta"] for row in writes]
    assert [mark["kartra_mcp_attempt"] for mark in marks[:2]] == [
        tagged["attempt"],
        refunded["attempt"],
    ]
    assert marks[1]["kartra_mcp_hash"] == place.entries(refunded["intent"])[0]["hash"]
    assert marks[2] is None  # a raw request has no run log: its token alone names the attempt
    reads = {row["token_id"] for row in place.requests() if not row["effects"]}
    assert not reads & {row["token_id"] for row in writes}
    assert len(reads) == 1


async def test_a_write_that_arrives_after_its_end_is_not_executed_and_not_sent_again(
    place: APISandbox,
):
    async with connect(place, "2026-07-28", timings=sending(1)) as client:
        shown = (await call(client, REFUND, **SALE)).error["confirmation"]
        place.arrange("fault", "set", REFUNDED, "delayed", "--message=1.3")
        said = {"confirmation_id": shown["id"], "confirmation_summary": shown["summary"]}
        answer = await call(client, REFUND, confirm=True, **said, **SALE)
        assert (answer.code, answer.executed) == ("not_enough_time", "no")
        assert "Nothing was executed" in answer.error["message"]
        (line,) = await lines(client)
        assert (line["state"], line["executed"]) == ("failed", "no")
    (row,) = place.requests(REFUNDED)
    assert (row["decision"], row["reason"]) == ("refused", "Access token has expired")
    assert refunds(place) == []


async def test_a_write_that_was_turned_away_is_sent_again_under_the_same_right(place: APISandbox):
    async with connect(place, "legacy") as client:
        place.arrange("fault", "set", TAGGED, "rate_limit_exceeded")
        assert not (await call(client, TAG, **VIP)).failed
    first, second = place.requests(TAGGED)
    (entry,) = intents(place)
    assert first["token_id"] == second["token_id"] == entry["attempt"]
    assert first["token_end"] == second["token_end"]
    assert (first["effects"], len(second["effects"])) == ([], 1)


@asynccontextmanager
async def paused(place: APISandbox, point: str, seconds: float) -> AsyncGenerator[Client]:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=[str(PAUSED_SERVER), point, str(seconds)],
        env=place.environment,
    )
    async with Client(parameters, mode="2026-07-28") as client:
        yield client


@pytest.mark.parametrize(("point", "state"), [("before_start", "refused"), ("started", "failed")])
async def test_a_server_that_slept_past_the_end_executes_nothing(
    place: APISandbox, point: str, state: str
):
    """It stops after the intent is on disk: before the check of its clock, or right after it."""
    struck = place.folder / "sandbox" / "paused"
    answers: list[Answer] = []

    async def refund(client: Client) -> None:
        answers.append(await agreed(client, **SALE))

    async with paused(place, point, 1.5) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(refund, client)
        await until(struck.exists)
        (entry,) = intents(place)
        await until(lambda: time.time() > entry["send_until"])
        os.kill(int(struck.read_text()), signal.SIGCONT)
    (answer,) = answers
    assert (answer.code, answer.executed) == ("not_enough_time", "no")
    (entry,) = intents(place)
    assert (entry["state"], entry["executed"]) == (state, "no")
    decisions = [row["decision"] for row in place.requests(REFUNDED)]
    assert decisions == (["refused"] if point == "started" else [])
    assert refunds(place) == []
    async with connect(place, "legacy") as client:
        assert not (await agreed(client, **SALE)).failed
    assert refunds(place) == [(9700,)]


# ── Looking ──


async def lost(client: Client, place: APISandbox) -> str:
    place.arrange("fault", "set", REFUNDED, "silent")
    assert (await agreed(client, **SALE)).executed == "unknown"
    (line,) = await lines(client)
    return line["intent"]


async def look(client: Client, intent: str) -> dict[str, Any]:
    return (await call(client, "kartra_reconcile", intent=intent)).result


async def test_a_look_counts_only_after_send_skew_and_settle_time(place: APISandbox, clock: Clock):
    async with opened(place, clock) as client:
        intent = await lost(client, place)
        clock.ahead = 900 + 30 + 10 - 8
        assert (await look(client, intent))["state"] == "unknown"
        assert [x["kind"] for x in place.entries(intent)] == ["intent", "outcome"]
        clock.ahead = LATE
        assert (await look(client, intent))["state"] == "unknown"
        assert [x["kind"] for x in place.entries(intent)] == ["intent", "outcome", "look"]


async def test_failed_needs_a_token_that_membrane_refuses(place: APISandbox, clock: Clock):
    async with opened(place, clock) as client:
        intent = await lost(client, place)
        for clock.ahead in (LATE, LATER):
            found = await look(client, intent)
        assert found["state"] == "failed"
    probe = place.requests()[-1]
    (write,) = place.requests(REFUNDED)
    assert (probe["method"], probe["decision"]) == ("GET", "refused")
    assert probe["token_end"] == write["token_end"]


async def test_a_workspace_that_ignores_the_end_leaves_it_to_the_user(
    place: APISandbox, clock: Clock
):
    place.arrange("tokens", "--leeway=any")
    async with opened(place, clock) as client:
        intent = await lost(client, place)
        for clock.ahead in (LATE, LATER):
            found = await look(client, intent)
        assert found["state"] == "unknown"
        assert f"kartra-mcp ledger settle {intent} failed" in found["check"]
        assert settle(place, clock, intent, "failed", "failed", "no refund there") == 0
        assert not (await agreed(client, **SALE)).failed
    assert refunds(place) == [(9700,)]


async def test_a_look_that_could_not_try_the_token_settles_nothing(place: APISandbox, clock: Clock):
    place.settings["TIMEOUT"] = "3"
    async with opened(place, clock) as client:
        intent = await lost(client, place)
        clock.ahead = LATE
        await look(client, intent)
        clock.ahead = LATER
        place.arrange("fault", "set", "GET /connections", "delayed", "--message=9", "--times=9")
        assert (await look(client, intent))["state"] == "unknown"
        place.arrange("fault", "clear")
        clock.ahead = LATER + 400
        assert (await look(client, intent))["state"] == "failed"


# ── A fixed access token ──


async def test_under_a_fixed_token_looks_do_not_prove_a_failure(tmp_path: Path):
    with sandbox_served(Sandbox(tmp_path / "state")) as place:
        place.token = FIXED
        clock = Clock(place)
        async with opened(place, clock) as client:
            intent = await lost(client, place)
            assert place.entries(intent)[0]["fence"] == "fixed_token"
            refused = settle(place, clock, intent, "failed", "failed", "none")
            assert refused == 1
            for clock.ahead in (LATE, LATER):
                found = await look(client, intent)
            assert found["state"] == "unknown"
            assert f"kartra-mcp ledger settle {intent} failed" in found["check"]
            assert (await call(client, REFUND, **SALE)).code == "outcome_unknown"
            assert settle(place, clock, intent, "failed", "no", "") == 1
            assert (await lines(client))[0]["state"] == "unknown"
            assert settle(place, clock, intent, "failed", "failed", "no refund there") == 0
            assert (await lines(client))[0]["state"] == "failed"
            assert not (await agreed(client, **SALE)).failed
    assert refunds(place) == [(9700,)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def settle(place: APISandbox, clock: Clock, intent: str, outcome: str, *typed: str) -> int:
    """Run `ledger settle` at a terminal where a user types these lines; return its exit status.

    Its clock is that of the test: the console script's would be behind the looks.
    """
    rest, screen, folder = iter(typed), Terminal(), place.folder / "sandbox"
    given = Namespace(intent=intent, outcome=outcome)
    at = Surroundings(place.environment, Terminal(), screen, screen, lambda _: next(rest))
    with closing(open_ledger(folder, clock, steady=clock)) as ledger, surrounded(at):
        try:
            return ledger_settle.settle(given, LedgerContext(ledger, folder, ""))
        except RefusedError:
            return 1


# ── A late answer ──


async def contradict(place: APISandbox, clock: Clock, first: Client, second: Client) -> Answer:
    """Settle a running refund as failed; return its answer, which comes later.

    Its lock was removed, so that another server takes it for lost.
    """
    answers: list[Answer] = []

    async def refund(client: Client) -> None:
        answers.append(await agreed(client, **SALE))

    await call(first, "kartra_status")
    place.arrange("fault", "set", REFUNDED, "queued", "--message=6")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refund, first)
        await until(lambda: bool(place.requests(REFUNDED)))
        (entry,) = intents(place)
        (place.folder / "sandbox" / "locks" / f"{entry['intent']}.lock").unlink()
        for clock.ahead in (LATE, LATER):
            found = await look(second, entry["intent"])
        assert found["state"] == "failed"
    return answers[0]


async def test_an_answer_against_a_settled_outcome_stops_all_writes(
    place: APISandbox, clock: Clock
):
    async with opened(place, Clock()) as first, opened(place, clock) as second:
        answer = await contradict(place, clock, first, second)
        (entry,) = intents(place)
        assert answer.result["status"] == "Success"
        assert answer.structured is not None
        assert "contradicts" in answer.structured["receipt"]["note"]
        kinds = [x["kind"] for x in place.entries(entry["intent"])]
        assert kinds == ["intent", "outcome", "look", "reconcile", "conflict"]
        for tool, given in ((REFUND, OTHER_SALE), (TAG, VIP)):
            refused = await call(second, tool, **given)
            assert (refused.code, refused.executed) == ("writes_stopped", "no")
            assert entry["intent"] in refused.error["message"]
        status = (await call(second, "kartra_status")).result["ledger"]
        assert not status["usable"]
        assert "ledger settle" in status["remedy"]
        assert (await call(second, "kartra_reconcile", intent=entry["intent"])).failed
        assert settle(place, clock, entry["intent"], "succeeded", "succeeded", "it is there") == 0
        assert not (await call(second, TAG, **VIP)).failed
        assert (await call(second, REFUND, **SALE)).code == "already_done"
    assert refunds(place) == [(9700,)]


# ── Clocks ──


@pytest.mark.parametrize("ahead", [-20, 20])
async def test_no_irreversible_write_begins_while_the_clocks_differ(
    place: APISandbox, ahead: float
):
    place.arrange("clock", f"--ahead={ahead}")
    async with connect(place, "legacy") as client:
        refused = await agreed(client, **SALE)
        assert (refused.code, refused.executed) == ("writes_stopped", "no")
        assert "clock and Membrane's differ by at least 1" in refused.error["message"]
        assert not (await call(client, TAG, **VIP)).failed
        place.arrange("clock", "--ahead=0")
        await call(client, "kartra_get_lead", lead_id=48110)
        assert not (await agreed(client, **SALE)).failed
    assert refunds(place) == [(9700,)]


async def test_a_clock_that_is_behind_is_named_where_a_write_is_rejected(place: APISandbox):
    place.arrange("clock", "--ahead=60")
    async with connect(place, "legacy") as client:
        answer = await call(client, TAG, **VIP)
    assert (answer.code, answer.executed) == ("not_logged_in", "no")
    assert answer.error["detail"]["clock_skew_seconds"] >= 58
    assert "Set the clock" in answer.error["remedy"]
    assert [row["decision"] for row in place.requests(TAGGED)] == ["refused"]
