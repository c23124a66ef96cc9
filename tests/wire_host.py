"""A tiny server on the real stdio transport, as a process, and the client at its raw pipes."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from fork_server import forked

from tests.polling import PROMPTLY, until

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
from kartra_mcp.server import exit_watch

folder = Path(sys.argv[1])
atexit.register(print, "stray: at exit")
print("stray: a banner, buffered")
os.write(1, b"stray: raw banner\\n")

# Both wait to be killed by the server, which is the subject; a minute bounds a failed test.
HANG = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(sys.argv[1] + ".new", "w") as f:
    f.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)
"""

os.mkfifo(folder / "go")
gate, turn = os.open(folder / "go", os.O_RDWR), anyio.Lock()

async def list_tools(ctx, params):
    return t.ListToolsResult(tools=[t.Tool(name="noise", input_schema={"type": "object"})])

async def call_tool(ctx, params):
    with (folder / "calls").open("ab") as calls:
        calls.write(b".")
    if params.name == "busy":
        (folder / "pids").write_text(str(os.getpid()))
        while True:
            pass
    if params.name == "wait":
        async with turn:
            await anyio.wait_readable(gate)
        return t.CallToolResult(content=[])
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
    await the_wire.serve(
        wire,
        server,
        options,
        make_oversized_result=lambda: {"content": [], "isError": True, "resultType": "complete"},
        on_stop=lambda: None,
        on_end=tidy,
    )

if "last resort soon" in sys.argv:
    exit_watch.EXIT_TIMEOUT = 0.2  # a busy event loop takes a whole core until then
if "crash" in sys.argv:
    raise SystemExit("crashed before serving")
anyio.run(main)
'''

# A parent that the test kills; a minute bounds a failed test.
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
        left = memoryview(line + b"\n")
        while left:
            left = left[os.write(self.to_server, left) :]

    async def answer(self, request_id: int | str | None) -> dict[str, Any]:
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

    def calls(self) -> int:
        """The number of calls that the server has started."""
        return (self.folder / "calls").stat().st_size if (self.folder / "calls").exists() else 0

    def file(self, name: str) -> str:
        return (self.folder / name).read_text()

    def close(self, name: str) -> None:
        os.close(getattr(self, name))
        setattr(self, name, -1)


@asynccontextmanager
async def hosting(
    folder: Path, *arguments: str, between: bool = False, way: str = "pipe", fork: bool = False
) -> AsyncGenerator[Host]:
    """Start the server; in the fork server if only its answers are the subject."""
    script = folder / "server.py"
    await anyio.Path(script).write_text(SERVER)
    words = [str(script), str(folder), *arguments]
    python = [sys.executable, "-c", BETWEEN] if between else [sys.executable]
    (stdin, to_server), (from_server, stdout) = os.pipe(), WAYS[way]()
    with (folder / "stderr").open("wb") as stderr:
        process = await anyio.open_process(
            forked(*words) if fork else [*python, *words],
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


def peak_memory(pid: int) -> int:
    """The most bytes of memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def idle(pid: int) -> None:
    """Return once a process has used no time of a CPU over several looks."""
    seen: list[list[str]] = []

    def is_idle() -> bool:
        seen.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        return seen[-40:].count(seen[-1]) == 40

    await until(is_idle)
