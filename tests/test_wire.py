"""Nothing but JSON-RPC reaches the wire, and the process ends whenever its client is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from kartra_mcp.server.message_lines import decode_line
from tests.polling import PROMPTLY, gone, until
from tests.wire_host import (
    INITIALIZE,
    LEGACY,
    MODERN,
    SERVER,
    WAYS,
    Host,
    exit_code,
    hosting,
    peak_memory,
)

MIB = 1024 * 1024

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and descriptors"),
]


def assert_tidied(host: Host) -> None:
    assert (host.folder / "tidied").exists()
    assert "Traceback" not in host.file("stderr")


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_only_json_rpc_reaches_stdout_in_either_era(tmp_path: Path, era: str) -> None:
    async with hosting(tmp_path) as host:
        if era == "legacy":
            await host.open()
        extra = MODERN if era == "modern" else {}
        host.send("tools/call", 1, name="noise", arguments={}, **extra)
        answer = await host.answer(1)
        host.close("to_server")
        code = await exit_code(host)
        while await host.read():
            pass

    assert answer["result"]["content"] == [{"type": "text", "text": "Zoë\r\n"}]
    assert code == 0
    assert b"\r" not in host.received
    assert b"stray" not in host.received
    assert all("method" not in message for message in host.messages())
    strays = host.file("stderr")
    assert all(f"stray: {kind}" in strays for kind in ("raw banner", "raw", "child", "shell"))


async def test_what_is_printed_by_a_crash_before_serving_misses_the_wire(tmp_path: Path) -> None:
    async with hosting(tmp_path, "crash") as host:
        code = await exit_code(host)
        rest = await host.read()

    assert (code, rest) == (1, b"")
    assert "stray: at exit" in host.file("stderr")


HELLO = json.dumps({**INITIALIZE, "params": LEGACY})
FIRST: dict[str, str] = {
    "a byte order mark": "\ufeff" + HELLO,
    "pretty-printed": json.dumps(json.loads(HELLO), indent=2),
    "a mark, pretty-printed, CRLF": "\ufeff"
    + json.dumps(json.loads(HELLO), indent=4).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
async def test_a_first_message_is_answered_however_it_is_written(
    tmp_path: Path, first: str
) -> None:
    async with hosting(tmp_path, fork=True) as host:
        host.send_line(first.encode())
        assert (await host.answer(0))["result"]["serverInfo"]["name"] == "tiny"


async def test_a_request_right_before_the_end_of_input_is_answered(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        host.send_line(HELLO.encode())
        host.close("to_server")
        assert (await host.answer(0))["result"]["serverInfo"]["name"] == "tiny"
        assert await exit_code(host) == 0


NO_MESSAGES: dict[str, tuple[str, int, Any]] = {
    "no JSON": ("garbage", -32700, None),
    "half a message, and then nothing": ('{"jsonrpc": "2.0", "id": 1,', -32700, None),
    "null": ("null", -32600, None),
    "a batch": (f"[{HELLO}]", -32600, None),
    "an object with an id": ('{"jsonrpc": "2.0", "id": 1}', -32600, 1),
    "an id that is null": ('{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600, None),
    "params that are a list": (
        '{"jsonrpc": "2.0", "id": "a", "method": "ping", "params": [1]}',
        -32600,
        "a",
    ),
    "a version that is not 2.0": ('{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600, 1),
    "an unreadable response": ('{"jsonrpc": "2.0", "id": 1, "result": []}', -32600, None),
    "nested deeply": ("[" * 5_000, -32700, None),
}


@pytest.mark.parametrize(("line", "code", "request_id"), NO_MESSAGES.values(), ids=NO_MESSAGES)
async def test_input_that_is_no_message_gets_an_error_and_costs_nothing_else(
    tmp_path: Path, line: str, code: int, request_id: Any
) -> None:
    async with hosting(tmp_path, fork=True) as host:
        host.send_line(line.encode())
        assert (await host.answer(request_id))["error"]["code"] == code
        await host.open()
        assert len(host.messages()) == 2


async def test_blank_lines_and_notifications_get_no_error(tmp_path: Path) -> None:
    async with hosting(tmp_path, fork=True) as host:
        for line in (b"", b" \r", b'{"jsonrpc": "2.0", "method": "notifications/none"}'):
            host.send_line(line)
        await host.open()
        assert len(host.messages()) == 1


async def test_an_oversized_line_is_answered_and_holds_no_memory(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        await host.open()
        before = peak_memory(host.process.pid)
        large = b"x" * (128 * MIB)
        call = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"a": "%s"}}'
        await anyio.to_thread.run_sync(host.send_line, call % large)
        assert (await host.answer(1))["result"]["isError"] is True
        await anyio.to_thread.run_sync(host.send_line, b'{"result": "%s", "id": 2}' % large)
        assert (await host.answer(None))["error"]["code"] == -32600
        assert peak_memory(host.process.pid) - before < 32 * MIB


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_reads_late_holds_nothing_up_and_gets_all(
    tmp_path: Path, way: str
) -> None:
    async with hosting(tmp_path, way=way, fork=True) as host:
        await host.open()
        host.send("tools/call", 1, name="large", arguments={})
        await anyio.wait_readable(host.from_server)
        host.send("tools/call", 2, name="touch", arguments={})
        await until((tmp_path / "touched").exists)

        large, small = await host.answer(1), await host.answer(2)

    assert large["result"]["content"][0]["text"] == "Zoë " * 500_000
    assert small["result"]["content"][0]["text"] == "Zoë\r\n"


async def test_nothing_follows_a_line_that_could_not_be_written_whole(tmp_path: Path) -> None:
    async with hosting(tmp_path, "no thread", fork=True) as host:
        await host.open()
        host.send("tools/call", 1, name="large", arguments={})
        code = await exit_code(host)
        while await host.read():
            pass

    *lines, rest = bytes(host.received).split(b"\n")
    assert code == 0
    assert len(lines) == 1  # the answer to `initialize`
    assert rest.startswith(b'{"jsonrpc":"2.0","id":1,')
    assert rest.count(b"jsonrpc") == 1


async def test_a_socket_that_is_reset_is_a_client_that_is_gone(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    await anyio.Path(script).write_text(SERVER)
    ours, theirs = socket.socketpair()
    with theirs, (tmp_path / "stderr").open("wb") as stderr:
        process = await anyio.open_process(
            [sys.executable, str(script), str(tmp_path)],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=stderr,
            env={"PATH": os.defpath},
        )
    with ours:
        ours.sendall(json.dumps({**INITIALIZE, "params": LEGACY}).encode() + b"\n")
        await anyio.wait_readable(ours)  # and what is there is not read: the end is a reset

    with anyio.fail_after(PROMPTLY):
        assert await process.wait() == 0
    assert "failed" not in (tmp_path / "stderr").read_text()


async def test_no_text_of_an_exception_reaches_stderr(tmp_path: Path) -> None:
    async with hosting(tmp_path, fork=True) as host:
        host.send("tools/call", 1, name="raise", arguments={}, **MODERN)
        await host.answer(1)

    assert "RuntimeError" in host.file("stderr")
    assert "canary-secret" not in host.file("stderr")


def end_of_file(host: Host) -> None:
    host.close("to_server")


def closed_stdout(host: Host) -> None:
    host.close("from_server")


def sigterm(host: Host) -> None:
    host.process.send_signal(signal.SIGTERM)


def sigint_twice(host: Host) -> None:
    host.process.send_signal(signal.SIGINT)
    host.process.send_signal(signal.SIGINT)


def sighup(host: Host) -> None:
    host.process.send_signal(signal.SIGHUP)


ENDS: list[Callable[[Host], None]] = [end_of_file, closed_stdout, sigterm, sigint_twice, sighup]


@pytest.mark.parametrize("end", ENDS)
async def test_each_end_takes_the_running_programs_along(
    tmp_path: Path, end: Callable[[Host], None]
) -> None:
    async with hosting(tmp_path) as host:
        pids = await host.hang()
        end(host)
        code = await exit_code(host)

        assert code == 0
        assert_tidied(host)
        assert [gone(pid) for pid in pids] == [True, True]


@pytest.mark.parametrize("end", ENDS)
async def test_each_end_ends_a_server_that_was_never_spoken_to(
    tmp_path: Path, end: Callable[[Host], None]
) -> None:
    async with hosting(tmp_path, fork=True) as host:
        await until((host.folder / "pid").exists)
        await host.open()
        end(host)

        assert await exit_code(host) == 0
        assert_tidied(host)


async def test_an_answer_to_a_closed_stdout_ends_quietly(tmp_path: Path) -> None:
    async with hosting(tmp_path, fork=True) as host:
        await host.open()
        host.close("from_server")
        host.send("tools/list", 1)

        assert await exit_code(host) == 0
        assert_tidied(host)


@pytest.mark.parametrize("end", [end_of_file, sigterm])
async def test_neither_a_shielded_call_nor_slow_tidying_holds_up_the_end(
    tmp_path: Path, end: Callable[[Host], None]
) -> None:
    async with hosting(tmp_path, "slow tidying", fork=True) as host:
        await host.open()
        host.send("tools/call", 1, name="shielded", arguments={})
        await until((tmp_path / "pids").exists)
        end(host)

        assert await exit_code(host) == 0
        assert_tidied(host)


@pytest.mark.parametrize("end", ENDS)
async def test_each_end_ends_a_server_whose_event_loop_is_busy(
    tmp_path: Path, end: Callable[[Host], None]
) -> None:
    async with hosting(tmp_path, "last resort soon", fork=True) as host:
        await host.open()
        host.send("tools/call", 1, name="busy", arguments={})
        await until((tmp_path / "pids").exists)
        end(host)

        assert await exit_code(host) == 0


async def test_a_killed_parent_ends_a_server_whose_event_loop_is_busy(tmp_path: Path) -> None:
    async with hosting(tmp_path, between=True) as host:
        await host.open()
        host.send("tools/call", 1, name="busy", arguments={})
        await until((tmp_path / "pids").exists)
        host.process.kill()

        await until(lambda: gone(int(host.file("pids"))), within=PROMPTLY)


async def test_a_killed_parent_ends_the_server_though_its_pipes_stay_open(tmp_path: Path) -> None:
    async with hosting(tmp_path, between=True) as host:
        pids = await host.hang()
        server = await host.server_pid()
        host.process.kill()

        await until(lambda: gone(server), within=PROMPTLY)
        assert_tidied(host)
        assert [gone(pid) for pid in pids] == [True, True]


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
async def test_closed_descriptors_at_the_start_are_no_crash(tmp_path: Path, closed: str) -> None:
    script = tmp_path / "server.py"
    await anyio.Path(script).write_text(SERVER)

    with anyio.fail_after(30):
        finished = await anyio.run_process(
            ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, script, tmp_path],
            stdin=subprocess.DEVNULL,
            check=False,
        )

    assert finished.returncode == 0
    assert b"stray" not in finished.stdout
    assert (tmp_path / "tidied").exists()


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        (r'{"a":"\ud800"}', r'{"a":"\ufffd"}'),
        (r'{"a":"\udc00x"}', r'{"a":"\ufffdx"}'),
        (r'{"a":"\ud83d\ude00"}', r'{"a":"\ud83d\ude00"}'),
        (r'{"a":"\\ud800"}', r'{"a":"\\ud800"}'),
        (r'{"a":"\uD800\uD83D\uDE00"}', r'{"a":"\ufffd\uD83D\uDE00"}'),
        ('{"a":1}', '{"a":1}'),
    ],
)
def test_half_a_character_does_not_cost_a_request_its_answer(line: str, whole: str):
    assert decode_line(line.encode()) == whole
