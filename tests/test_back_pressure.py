"""A client that sends and does not read: the server holds little, loses nothing, and ends."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anyio
import pytest

from kartra_mcp.server.backlog import MAX_BACKLOG_BYTES, MAX_OPEN_REQUESTS
from tests.wire_host import WAYS, Host, exit_code, hosting, idle, peak_memory

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

LARGE_ANSWER = 2_000_000
"""Characters of the answer of the tool `large`."""
FITTING = MAX_BACKLOG_BYTES // LARGE_ANSWER + 1
MANY = 60


async def open_quietly(host: Host) -> None:
    await host.open()
    host.received.clear()


async def flood(host: Host, tool: str, count: int) -> None:
    for number in range(1, count + 1):
        host.send("tools/call", number, name=tool, arguments={})
    await idle(host.process.pid)


async def answered(host: Host, count: int) -> list[int]:
    """Read until this many answers have come; return their ids."""
    found: list[int] = []
    line: list[bytes] = []
    with anyio.fail_after(30):
        while len(found) < count:
            first, *rest = (await host.read()).split(b"\n")
            line.append(first)
            for part in rest:
                match = re.match(rb'{"jsonrpc":"2.0","id":(\d+),"result"', b"".join(line))
                assert match
                found.append(int(match[1]))
                line = [part]
            host.received.clear()
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_answers_that_are_not_read_stop_the_reading_and_all_come_later(
    tmp_path: Path, way: str
) -> None:
    async with hosting(tmp_path, way=way) as host:
        await open_quietly(host)
        before = peak_memory(host.process.pid)
        await flood(host, "large", MANY)
        assert 1 < host.calls() <= FITTING + 2
        assert sorted(await answered(host, MANY)) == list(range(1, MANY + 1))
        assert host.calls() == MANY
        assert peak_memory(host.process.pid) - before < 6 * MAX_BACKLOG_BYTES


async def test_requests_that_wait_are_bounded_and_all_answered_later(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        await open_quietly(host)
        await flood(host, "wait", 700)
        assert host.calls() == MAX_OPEN_REQUESTS
        (tmp_path / "go").write_text(".")
        assert sorted(await answered(host, 700)) == list(range(1, 701))


async def test_cancelled_requests_make_room(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        await open_quietly(host)
        for number in range(1, 2 * MAX_OPEN_REQUESTS):
            host.send("tools/call", number, name="wait", arguments={})
            host.send("notifications/cancelled", requestId=number)
        host.send("ping", 0)
        assert await answered(host, 1) == [0]


async def test_end_of_input_ends_a_server_whose_answers_are_not_read(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        await open_quietly(host)
        await flood(host, "large", MANY)
        host.close("to_server")
        assert await exit_code(host) == 0
        assert host.calls() <= FITTING + 2
        assert (tmp_path / "tidied").exists()
