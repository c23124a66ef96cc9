"""Nothing but JSON-RPC reaches the wire, and the process ends whenever its client is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from kartra_mcp.server.stdin import decode_line
from tests.polling import PROMPTLY, gone, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and descriptors"),
]

SERVER = '''
from kartra_mcp.server import stdio as the_wire
wire = the_wire.claim_stdio()

import atexit, os, subprocess, sys, threading
from functools import partial
from pathlib import Path

import anyio
import mcp.types as t
from mcp.server.lowlevel import Server
from kartra_mcp.processes import runner

folder = Path(sys.argv[1])
the_wire.LINE_LIMIT = 1_000_000
atexit.register(print, "stray: at exit")
print("stray: a banner, buffered")
os.write(1, b"stray: raw banner\\n")

HANG = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(sys.argv[1] + ".new", "w") as f:
    f.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)
"""

async def list_tools(ctx, params):
    return t.ListToolsResult(tools=[t.Tool(name="noise", input_schema={"type": "object"})])

async def call_tool(ctx, params):
    if params.name == "hang":
        command = [sys.executable, "-c", HANG, str(folder / "pids")]
        deadline = anyio.current_time() + 60
        await runner.run(command, env=dict(os.environ), cwd=folder, deadline=deadline)
    if params.name == "shielded":
        (folder / "pids").write_text(str(os.getpid()))
        with anyio.CancelScope(shield=True):
            await anyio.sleep(60)
    if params.name == "large" and "no thread" in sys.argv:
        start = threading.Thread.start

        def refuse(thread):
            threading.Thread.start = start
            raise RuntimeError("can't start new thread")

        threading.Thread.start = refuse
    if params.name == "large":
        return t.CallToolResult(content=[t.TextContent(type="text", text="Zo\\u00eb " * 500_000)])
    if params.name == "touch":
        (folder / "touched").touch()
    if params.name == "raise":
        raise RuntimeError("canary-secret")
    print("stray: print")
    os.write(1, b"stray: raw\\n")
    subprocess.run([sys.executable, "-c", "print('stray: child')"], check=True)
    subprocess.run("cat; echo stray: shell", shell=True, check=True)
    return t.CallToolResult(content=[t.TextContent(type="text", text="Zo\\u00eb\\r\\n")])

async def tidy():
    (folder / "tidied").touch()
    if "slow tidying" in sys.argv:
        await anyio.sleep(60)

async def main():
    server = Server("tiny", on_list_tools=list_tools, on_call_tool=call_tool)
    (folder / "pid.new").write_text(str(os.getpid()))
    (folder / "pid.new").rename(folder / "pid")
    options = server.create_initialization_options()
    await the_wire.serve(wire, server, options, on_stop=lambda: None, on_end=tidy)

if "crash" in sys.argv:
    raise SystemExit("crashed before serving")
anyio.run(main)
'''

BETWEEN = """
import subprocess, sys, time
subprocess.Popen([sys.executable, *sys.argv[1:]])
time.sleep(60)
"""

MODERN = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
LEGACY: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


INITIALIZE: dict[str, Any] = {"jsonrpc": "2.0", "id": 0, "method": "initialize"}


def _sockets() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


WAYS: dict[str, Callable[[], tuple[int, int]]] = {"pipe": os.pipe, "socket": _sockets}
"""Kinds of stdout that a client may pass to a server; Node.js passes sockets."""


@dataclass
class Host:
    """The server's parent: it holds only the other ends of the two pipes."""

    process: Process
    folder: Path
    to_server: int
    from_server: int
    received: bytearray = field(default_factory=bytearray)

    def send(self, method: str, request_id: int | None = None, **params: Any) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if request_id is not None:
            message["id"] = request_id
        self.send_line(json.dumps(message).encode())

    def send_line(self, line: bytes) -> None:
        os.write(self.to_server, line + b"\n")

    async def answer(self, request_id: int) -> dict[str, Any]:
        with anyio.fail_after(30):
            while True:
                for message in self.messages():
                    if message.get("id") == request_id:
                        return message
                assert await self.read(), "the server closed its stdout"

    async def read(self) -> bytes:
        await anyio.wait_readable(self.from_server)
        chunk = os.read(self.from_server, 65536)
        self.received += chunk
        return chunk

    def messages(self) -> list[dict[str, Any]]:
        """Everything that came is whole lines of JSON-RPC, or this fails."""
        *lines, _ = bytes(self.received).split(b"\n")
        messages = [json.loads(line) for line in lines]
        assert all(message["jsonrpc"] == "2.0" for message in messages)
        return messages

    async def open(self) -> None:
        self.send("initialize", 0, **LEGACY)
        await self.answer(0)
        self.send("notifications/initialized")

    async def hang(self) -> list[int]:
        """A call that runs a program with a child; their pids."""
        await self.open()
        self.send("tools/call", 1, name="hang", arguments={})
        await until((self.folder / "pids").exists)
        return [int(pid) for pid in self.file("pids").split()]

    async def server_pid(self) -> int:
        await until((self.folder / "pid").exists)
        return int(self.file("pid"))

    def file(self, name: str) -> str:
        return (self.folder / name).read_text()

    def close(self, name: str) -> None:
        os.close(getattr(self, name))
        setattr(self, name, -1)


@asynccontextmanager
async def hosting(
    folder: Path, *arguments: str, between: bool = False, way: str = "pipe"
) -> AsyncGenerator[Host]:
    script = folder / "server.py"
    await anyio.Path(script).write_text(SERVER)
    command = [str(script), str(folder), *arguments]
    (stdin, to_server), (from_server, stdout) = os.pipe(), WAYS[way]()
    with (folder / "stderr").open("wb") as stderr:
        process = await anyio.open_process(
            [sys.executable, "-c", BETWEEN, *command] if between else [sys.executable, *command],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={"PATH": os.defpath},
        )
    os.close(stdin)
    os.close(stdout)
    host = Host(process, folder, to_server, from_server)
    try:
        yield host
    finally:
        for descriptor in {host.to_server, host.from_server} - {-1}:
            os.close(descriptor)
        if process.returncode is None:
            process.kill()
        await process.wait()


async def exit_code(host: Host) -> int:
    """The exit code, which has to come within two seconds."""
    with anyio.fail_after(PROMPTLY):
        return await host.process.wait()


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


async def test_broken_lines_cost_nothing_but_themselves(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        for line in (b"garbage", b"\xff\xfe", b"", b"[]", b"null", b'{"jsonrpc":"2.0"}'):
            host.send_line(line)
        await host.open()


async def test_a_line_over_the_bound_is_dropped_and_the_next_one_answered(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        await anyio.to_thread.run_sync(host.send_line, b'"' + b"x" * 3_000_000 + b'"')
        await host.open()

    assert "was dropped" in host.file("stderr")


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_reads_late_holds_nothing_up_and_gets_all(
    tmp_path: Path, way: str
) -> None:
    async with hosting(tmp_path, way=way) as host:
        await host.open()
        host.send("tools/call", 1, name="large", arguments={})
        await anyio.wait_readable(host.from_server)
        host.send("tools/call", 2, name="touch", arguments={})
        await until((tmp_path / "touched").exists)

        large, small = await host.answer(1), await host.answer(2)

    assert large["result"]["content"][0]["text"] == "Zoë " * 500_000
    assert small["result"]["content"][0]["text"] == "Zoë\r\n"


async def test_nothing_follows_a_line_that_could_not_be_written_whole(tmp_path: Path) -> None:
    async with hosting(tmp_path, "no thread") as host:
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
    async with hosting(tmp_path) as host:
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
    async with hosting(tmp_path) as host:
        await until((host.folder / "pid").exists)
        await host.open()
        end(host)

        assert await exit_code(host) == 0
        assert_tidied(host)


async def test_an_answer_to_a_closed_stdout_ends_quietly(tmp_path: Path) -> None:
    async with hosting(tmp_path) as host:
        await host.open()
        host.close("from_server")
        host.send("tools/list", 1)

        assert await exit_code(host) == 0
        assert_tidied(host)


@pytest.mark.parametrize("end", [end_of_file, sigterm])
async def test_neither_a_shielded_call_nor_slow_tidying_holds_up_the_end(
    tmp_path: Path, end: Callable[[Host], None]
) -> None:
    async with hosting(tmp_path, "slow tidying") as host:
        await host.open()
        host.send("tools/call", 1, name="shielded", arguments={})
        await until((tmp_path / "pids").exists)
        end(host)

        assert await exit_code(host) == 0
        assert_tidied(host)


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
