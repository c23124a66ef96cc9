"""Steps of the wall clock: nothing ages, expires or frees by one; a clock behind is reported."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from harness import SHORT, Sandbox, call, run_program
from mcp import Client

from kartra_mcp.app.composition import build_app
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed
from kartra_mcp.core.timings import Clocks
from kartra_mcp.ledger.approval_records import ApprovalRequest
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Answer
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.onboarding.doctor.checks import check_ledger_and_clock
from kartra_mcp.policy.limits import Limits
from kartra_mcp.settings import read_settings
from tests.ledger_intents import BINDING, LIMITS, attempt, code, intent, run, two_step
from tests.ledger_stores import Place

START = 1_800_000_000.0
HOUR, DAY = 3_600.0, 86_400.0
REFUND, SALE = "kartra_refund_transaction", {"transaction_id": 101}


class TwoClocks:
    """A wall clock that can be set, and a steady one that cannot."""

    def __init__(self, at: float = START) -> None:
        self.at, self.step = at, 0.0

    def wall(self) -> float:
        return self.at + self.step

    def steady(self) -> float:
        return self.at


@pytest.fixture
def clocks() -> TwoClocks:
    return TwoClocks()


@pytest.fixture
def ledger(ledger_place: Place, clocks: TwoClocks):
    with closing(ledger_place.open(clocks.wall, steady=clocks.steady)) as made:
        yield made


# Nothing waits shorter because the wall clock was set forward


def capped(ledger: Ledger) -> str:
    return code(lambda: ledger.begin(intent("2"), Limits(cap_day_count=1)))


def mails(ledger: Ledger) -> str:
    limits = Limits(cap_day_count=None, mail_per_hour=1)
    return code(lambda: ledger.begin(intent("2", mail=1), limits))


def locked(ledger: Ledger) -> str:
    return "runs" if ledger.pins.locked_until() is None else "locked"


def five_wrong_pins(ledger: Ledger) -> None:
    ledger.pins.set("123456", "me")
    for _ in range(5):
        ledger.pins.check("654321", "me")


WAITS: dict[str, tuple[Callable[[Ledger], Any], Callable[[Ledger], str], str, float]] = {
    "the daily number": (lambda x: run(x, intent("1")), capped, "cap_reached", DAY),
    "mail of an hour": (lambda x: run(x, intent("1", mail=1)), mails, "cap_reached", HOUR),
    "a decline": (
        lambda x: x.consents.block("c refund_transaction transaction 2", "declined"),
        lambda x: attempt(x, "2"),
        "declined",
        600.0,
    ),
    "the lock of the PIN": (five_wrong_pins, locked, "locked", 900.0),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_forward_step_ends_no_wait(name: str, ledger: Ledger, clocks: TwoClocks):
    arrange, check, refusal, seconds = WAITS[name]
    arrange(ledger)
    clocks.at += 3
    clocks.step = 100 * DAY
    assert check(ledger) == refusal
    clocks.at += seconds
    assert check(ledger) == "runs"


def test_a_forward_step_between_wrong_pins_does_not_prevent_the_lock(
    ledger: Ledger, clocks: TwoClocks
):
    ledger.pins.set("123456", "me")
    for _ in range(5):
        ledger.pins.check("654321", "me")
        clocks.step += HOUR
    assert ledger.pins.locked_until() is not None


# Nothing stays valid longer because the wall clock was set back


def test_a_step_back_within_a_minute_makes_no_confirmation_younger(
    ledger: Ledger, clocks: TwoClocks
):
    wanted = two_step(ledger)
    clocks.at += 630
    clocks.step = -59
    assert code(lambda: ledger.begin(wanted, LIMITS, BINDING)) == "confirmation_expired"


def test_a_wall_clock_that_stands_still_makes_no_confirmation_younger(
    ledger: Ledger, clocks: TwoClocks
):
    wanted = two_step(ledger)
    clocks.at, clocks.step = START + 601, -601
    assert code(lambda: ledger.begin(wanted, LIMITS, BINDING)) == "confirmation_expired"


def test_a_wall_clock_that_stands_still_makes_no_approval_younger(
    ledger: Ledger, clocks: TwoClocks
):
    asked = ApprovalRequest(BINDING, "Refund 97", {}, "facts", "claude 1")
    number = ledger.approvals.request(asked)
    clocks.at, clocks.step = START + DAY + 1, -DAY - 1
    found = ledger.approvals.get(number)
    assert found is not None
    assert found.state == "expired"


# A clock behind the newest entry


def behind(folder: Path, seconds: float) -> None:
    with closing(open_ledger(folder, lambda: time.time() + seconds)) as ledger:
        ledger.append_note("start", {})


@pytest.mark.parametrize(
    ("step", "refused"),
    [(-60.0, "runs"), (-61.0, "ledger_unavailable"), (-HOUR, "ledger_unavailable")],
)
def test_a_clock_behind_the_newest_line_by_a_minute_refuses_writes(
    step: float, refused: str, ledger: Ledger, clocks: TwoClocks
):
    running = intent("1")
    ledger.begin(running, LIMITS)
    clocks.step = step
    assert attempt(ledger, "2") == refused
    ledger.finish(running.id, Answer("succeeded", Executed.YES))
    found = ledger.get(running.id)
    assert found is not None
    assert found["state"] == "succeeded"
    clocks.step = 0.0
    assert attempt(ledger, "3") == "runs"


@pytest.mark.anyio
async def test_status_doctor_and_verify_report_a_clock_behind_alike(tmp_path: Path):
    place = Sandbox(tmp_path / "state")
    folder = tmp_path / "state" / "sandbox"
    behind(folder, 3 * HOUR)
    fault = "clock is 3 hours behind the newest line of the ledger"
    async with served(place) as client:
        status = (await call(client, "kartra_status")).result
        assert fault in status["ledger"]["problem"]
        assert (status["ledger"]["usable"], status["healthy"]) == (False, False)
        answer = await call(client, "kartra_assign_tag", lead_id=48129, tag_name="VIP")
        assert (answer.code, answer.executed) == ("ledger_unavailable", "no")
        assert fault in answer.error["message"]
        assert not (await call(client, "kartra_ledger")).failed
    settings = read_settings({}, place.environment)
    findings = check_ledger_and_clock(settings, time.time(), usable=True)
    assert [f.state for f in findings] == ["ok", "failed"]
    assert fault in findings[1].message
    assert "Writes are refused" in findings[1].message
    with closing(open_ledger(folder)) as ledger:
        report = ledger.verify()
        assert (report.ok, report.why, report.broken) == (False, "", None)
        assert fault in report.refused


@pytest.mark.parametrize(("ahead", "replaced"), [(2 * HOUR, "not_allowed"), (800 * DAY, "runs")])
def test_only_a_ledger_written_far_in_the_future_can_be_replaced(
    ahead: float, replaced: str, tmp_path: Path
):
    behind(tmp_path, ahead)
    with closing(open_ledger(tmp_path)) as ledger:
        assert code(ledger.replace_damaged) == replaced
        assert attempt(ledger) == ("runs" if replaced == "runs" else "ledger_unavailable")


@asynccontextmanager
async def served(place: Sandbox, clocks: TwoClocks | None = None):
    two = Clocks() if clocks is None else Clocks(clocks.wall, clocks.steady)
    settings = read_settings({}, place.environment)
    made = build_app(
        settings, two.wall, steady=two.steady, timings=SHORT, run_program=run_program()
    )
    try:
        async with Client(made.mcp.server, mode="2026-07-28") as connected:
            yield connected
    finally:
        await made.close()


# Two looks


@pytest.mark.anyio
async def test_one_step_forward_does_not_settle_a_refund_by_two_looks(tmp_path: Path):
    """Two refunds of one sale were paid within three seconds."""
    place, clocks = Sandbox(tmp_path / "state"), TwoClocks(time.time())
    place.arrange("fault", "set", "refund_transaction", "silent")
    async with served(place, clocks) as client:
        shown = (await call(client, REFUND, **SALE)).error["confirmation"]
        agreed = {"confirmation_id": shown["id"], "confirmation_summary": shown["summary"]}
        answer = await call(client, REFUND, confirm=True, **agreed, **SALE)
        assert answer.executed == "unknown"
        (line,) = (await call(client, "kartra_ledger")).result["lines"]
        clocks.step = HOUR

        async def look() -> str:
            told = await call(client, "kartra_reconcile", intent=line["intent"])
            return told.result["state"]

        for _ in range(3):
            clocks.at += 1
            assert await look() == "unknown"
        clocks.at += 900
        assert await look() == "unknown"
        clocks.step += HOUR
        assert await look() == "unknown"
        clocks.at += 300
        assert await look() == "failed"


def test_refusals_by_the_clock_name_the_way_out(tmp_path: Path):
    behind(tmp_path, 800 * DAY)
    with closing(open_ledger(tmp_path)) as ledger, pytest.raises(RefusedError) as refused:
        ledger.require_writable()
    assert "kartra-mcp ledger new" in refused.value.remedy
