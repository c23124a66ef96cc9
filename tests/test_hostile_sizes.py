"""Input that is large: judged before it is walked, and never on the event loop."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from harness import Sandbox, StandIn, action, call, connect, healthy

from kartra_mcp.calls.pagination import make_first_page, read_page

pytestmark = pytest.mark.anyio

MANY = 150_000
"""Values of one call: above the bound, far below 4 MiB."""
FEWER = 60_000
"""Values of one call below the bound: validated in a thread."""
LARGE: dict[str, tuple[str, dict[str, Any]]] = {
    "a list of numbers for a text": ("kartra_get_lead", {"email": list(range(MANY))}),
    "a list of lists": ("kartra_get_lead", {"email": [[]] * MANY}),
    "a list of objects": ("kartra_create_lead", {"custom_fields": [{}] * MANY}),
    "fields to read on": ("kartra_read_more", {"result_id": "x", "fields": ["a"] * MANY}),
    "an argument that does not exist": ("kartra_status", {"x": list(range(MANY))}),
    "arguments of an action by name": (
        "kartra_run_read",
        {"action": "kartra_get_lead", "arguments": {"email": list(range(MANY))}},
    ),
    "the actions of a raw request": (
        "kartra_proxy_read",
        {"path": "/api", "method": "POST", "json": {"actions": [{}] * MANY}},
    ),
    "one text of more than 4 MiB": ("kartra_get_lead", {"email": "x" * (4 * 1024 * 1024)}),
    "a text that has 4 MiB only in bytes": ("kartra_get_lead", {"email": "é" * (3 * 1024 * 1024)}),
}


@pytest.mark.parametrize(("tool", "arguments"), LARGE.values(), ids=LARGE)
async def test_arguments_that_are_too_large_are_refused_before_they_are_walked(
    sandbox: Sandbox, tool: str, arguments: dict[str, Any]
):
    async with connect(sandbox, "legacy") as client:
        answer = await call(client, tool, **arguments)
    assert (answer.code, answer.executed) == ("input_too_large", "no")
    assert not sandbox.runs()


WALKED: dict[str, tuple[str, dict[str, Any]]] = {
    "an action": ("kartra_create_lead", {"custom_fields": list(range(FEWER))}),
    "an action by name": (
        "kartra_run_read",
        {"action": "kartra_get_lead", "arguments": {"email": list(range(FEWER))}},
    ),
    "a built-in tool": ("kartra_ledger", {"count": list(range(FEWER))}),
    "reading on": ("kartra_read_more", {"result_id": "x", "fields": list(range(FEWER))}),
    "a raw request": ("kartra_proxy_read", {"path": "/api", "query": {"a": ["x"] * FEWER}}),
}


@pytest.mark.parametrize(("tool", "arguments"), WALKED.values(), ids=WALKED)
async def test_validating_many_values_leaves_the_event_loop_free(
    sandbox: Sandbox, tool: str, arguments: dict[str, Any]
):
    ticks = [0]

    async def tick():
        while True:
            await anyio.sleep(0.001)
            ticks[0] += 1

    async with connect(sandbox, "legacy") as client, anyio.create_task_group() as tasks:
        await call(client, "kartra_status")
        tasks.start_soon(tick)
        assert (await call(client, tool, **arguments)).failed
        tasks.cancel_scope.cancel()
    assert ticks[0] > 5


async def test_twenty_thousand_fields_do_not_freeze_reading_on(fake_membrane: StandIn):
    rows = [{"a": n, "b": "x"} for n in range(100_000)]
    fake_membrane.plan(**healthy(action("get-lead")))
    fake_membrane.plan(action_run={"out": {"output": rows, "actionRunId": "run-1"}})
    async with connect(fake_membrane, "legacy") as client:
        first = await call(client, "kartra_get_lead")
        assert first.structured
        found = first.structured["truncated"]["result_id"]
        fields = [f"field {n}" for n in range(20_000)]
        with anyio.fail_after(20):  # it took longer than a minute
            for given in (fields, ["b", *fields]):
                more = await call(client, "kartra_read_more", result_id=found, fields=given)
                assert more.error["detail"]["known"] == ["a", "b"]
            more = await call(client, "kartra_read_more", result_id=found, fields=["b"] * 20_000)
    assert more.result[0] == {"b": "x"}


SCRIPTS = {"Latin": "é", "Chinese": "字", "pictures": "😀", "quotes": '"'}


@pytest.mark.parametrize("character", SCRIPTS.values(), ids=SCRIPTS)
def test_a_page_is_bounded_in_bytes_whatever_the_script(character: str):
    for result in ([character * 40] * 1_000, character * 40_000, {"text": character * 40_000}):
        room, seen = 6_000, make_first_page(result, 6_000)
        assert len(json.dumps(seen.shown, ensure_ascii=False).encode()) <= room * 1.2
        assert seen.has_more
    page = read_page(character * 40_000, 6_000, path="", offset=10)
    assert len(json.dumps(page.shown, ensure_ascii=False).encode()) <= 6_000
    assert page.next_offset == 10 + len(page.shown)
