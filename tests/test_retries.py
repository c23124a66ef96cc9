"""Retries: which errors allow one, which never do; and the rate limit."""

from __future__ import annotations

import pytest
from harness import action, both_eras, call, connect, healthy
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.calls.retry import retry_delay
from kartra_mcp.core.errors import KartraMCPError, RefusedError, UpstreamError
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.membrane.limiter import TokenBucket

TURNED_AWAY = {"out": {"type": "connection", "key": "rate_limit_exceeded", "message": "slow"}}
SUCCESS = {"out": {"output": {"status": "Success"}, "actionRunId": "r"}}
SILENT = {"exit": 1}
GARBAGE = {"out": "<html>"}
KARTRA_429 = {"out": {"status": 429, "headers": {}, "body": "Too many requests"}}
ACTIONS = (action("get-lead"), action("assign-tag"), action("refund-transaction"))


def schema(*names: str) -> dict[str, object]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}}


async def starts(either_stand_in, tool: str, steps: list[object], **arguments: object):
    plan = healthy(
        action("get-lead", inputSchema=schema("email")),
        action("assign-tag", inputSchema=schema("email")),
        action("refund-transaction", inputSchema=schema("transaction_id")),
    )
    either_stand_in.plan(**plan | {"action run": steps, "request": steps})
    async with connect(either_stand_in, "legacy") as client:
        answer = await call(client, tool, **arguments)
    return answer, len(either_stand_in.runs())


LEAD = {"email": "ada@example.com"}
REFUND = {"transaction_id": "101", "confirm": True}
TAG = {"cmd": "assign_tag", "tag_name": "VIP"}
RAW = {"method": "POST", "path": "/api", "json": {"actions": [TAG], "lead": LEAD}}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "arguments", "steps", "times"),
    [
        ("kartra_get_lead", LEAD, [TURNED_AWAY, SUCCESS], 2),
        ("kartra_get_lead", LEAD, [SILENT, SUCCESS], 2),
        ("kartra_get_lead", LEAD, [GARBAGE, SUCCESS], 2),
        ("kartra_assign_tag", LEAD, [TURNED_AWAY, TURNED_AWAY, SUCCESS], 3),
        ("kartra_proxy_write", RAW, [KARTRA_429, SUCCESS], 2),
    ],
    ids=["read turned away", "read silent", "read garbage", "write turned away", "raw 429"],
)
async def test_what_was_not_executed_is_tried_again(
    any_transport_fake, tool, arguments, steps, times
):
    answer, started = await starts(any_transport_fake, tool, steps, **arguments)
    assert not answer.failed, answer.text
    assert started == times


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "arguments", "steps", "times", "code", "executed"),
    [
        ("kartra_refund_transaction", REFUND, [TURNED_AWAY, SUCCESS], 1, "rate_limited", "no"),
        ("kartra_refund_transaction", REFUND, [SILENT, SUCCESS], 1, "membrane_error", "unknown"),
        ("kartra_assign_tag", LEAD, [SILENT, SUCCESS], 1, "membrane_error", "unknown"),
        ("kartra_assign_tag", LEAD, [GARBAGE, SUCCESS], 1, "unreadable_answer", "unknown"),
        ("kartra_get_lead", LEAD, [SILENT], 2, "membrane_error", "no"),
        ("kartra_get_lead", LEAD, [TURNED_AWAY], 4, "rate_limited", "no"),
    ],
    ids=[
        "irreversible turned away",
        "irreversible silent",
        "write silent",
        "write garbage",
        "read silent twice",
        "read turned away for good",
    ],
)
async def test_nothing_else_is_tried_again(  # noqa: PLR0917
    any_transport_fake, tool, arguments, steps, times, code, executed
):
    answer, started = await starts(any_transport_fake, tool, steps, **arguments)
    assert (answer.code, answer.executed, started) == (code, executed, times)


LIMITED = UpstreamError("rate_limited", "m", "r", executed=Executed.NO)
LIMITED_UNKNOWN = UpstreamError("rate_limited", "m", "r")
LIMITED_UNREAD = UpstreamError("rate_limited", "m", "r", executed=Executed.NO, answered=False)
UNREAD = UpstreamError("membrane_error", "m", "r", answered=False)
UNREAD_NOT_EXECUTED = UpstreamError(
    "membrane_error", "m", "r", executed=Executed.NO, answered=False
)
REFUSED = RefusedError("read_only", "m", "r")
READ, WRITE, DESTRUCTIVE, IRREVERSIBLE = Risk
PAUSE = 0.75


@pytest.mark.parametrize(
    ("problem", "risk", "tries", "seconds"),
    [
        (LIMITED, READ, 0, PAUSE),
        (LIMITED, WRITE, 0, PAUSE),
        (LIMITED, DESTRUCTIVE, 0, PAUSE),
        (LIMITED, IRREVERSIBLE, 0, None),
        (LIMITED, WRITE, 2, PAUSE),
        (LIMITED, WRITE, 3, None),
        (LIMITED, READ, 3, None),
        (LIMITED_UNKNOWN, WRITE, 0, None),
        (LIMITED_UNKNOWN, READ, 0, None),
        (LIMITED_UNREAD, READ, 0, PAUSE),
        (LIMITED_UNREAD, READ, 3, None),
        (UNREAD, READ, 0, 0.0),
        (UNREAD, READ, 1, None),
        (UNREAD, WRITE, 0, None),
        (UNREAD_NOT_EXECUTED, WRITE, 0, None),
        (UNREAD_NOT_EXECUTED, IRREVERSIBLE, 0, None),
        (REFUSED, READ, 0, None),
    ],
)
def test_a_call_is_retried_only_if_it_was_certainly_not_executed(
    problem: KartraMCPError, risk: Risk, tries: int, seconds: float | None
):
    assert retry_delay(problem, risk, tries, PAUSE) == seconds


def test_a_bucket_of_one_second_goes_at_once_and_the_rest_in_step():
    pace = TokenBucket(4)
    assert [round(pace.reserve(0.0), 6) for _ in range(8)] == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1.0]


def test_without_a_rate_nothing_waits():
    pace = TokenBucket(0)
    assert [pace.reserve(0.0) for _ in range(50)] == [0.0] * 50


@given(
    st.floats(0.5, 50),
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_second_holds_more_than_the_bucket_and_the_rate(rate, gaps):
    pace, now, starts = TokenBucket(rate), 0.0, []
    for gap in gaps:
        now += gap
        starts.append(now + pace.reserve(now))
    assert starts == sorted(starts)
    for first in starts:
        within = [at for at in starts if first <= at < first + 1 - 1e-6]
        assert len(within) <= max(rate, 1) + rate + 1


@pytest.mark.anyio
@both_eras
async def test_a_waiting_client_receives_progress(any_transport_fake, protocol_version):
    signs: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        signs.append(progress)
        (any_transport_fake.folder / "go").touch()

    plan = healthy(action("get-lead", inputSchema=schema("email")))
    any_transport_fake.plan(**plan | {"action run": SUCCESS | {"gate": "go"}})
    async with connect(any_transport_fake, protocol_version) as client:
        result = await client.call_tool("kartra_get_lead", LEAD, progress_callback=on_progress)
    assert not result.is_error
    assert signs
