"""A runner of programs that calls the sandbox and the stand-in as functions of this process.

Argv in, finished process out, as `processes.runner.run`: same words, bytes and exit status, each
start in a thread of its own. What only a process can do (hang, die, print without end, hold a
gate) is given to the real runner, and so is every other program.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from uuid import uuid4

import anyio
import anyio.to_thread
import fake_membrane

from kartra_mcp.processes import runner
from kartra_mcp.processes.runner import CompletedProcess, ProcessTimeout
from kartra_mcp.sandbox.cli import main as sandbox_main
from kartra_mcp.sandbox.program.surroundings import Surroundings
from kartra_mcp.sandbox.store.database import Account

STAND_IN = Path(fake_membrane.__file__)
TEMPLATE_SECONDS = 60
PROCESS_FAULTS = ("hang", "killed", "slow")
PROCESS_STEPS = frozenset({"hang", "child", "gate", "flood", "signal"})

SCRIPT = re.compile(
    rf'#!/bin/sh\nexec "{re.escape(sys.executable)}" -m kartra_mcp.sandbox '
    r'"--account=(?P<account>[^"$`\\]+)" "\$@"\n'
)
"""A script that only starts the sandbox on an account."""

Main = Callable[[Surroundings], int]


@dataclass
class Streams:
    """Output of a program as bytes: UTF-8, as a process prints under the tests' locale."""

    out: io.BytesIO = field(default_factory=io.BytesIO)
    err: io.BytesIO = field(default_factory=io.BytesIO)

    def run(self, main: Main, env: Mapping[str, str]) -> int:
        stdin = io.StringIO()
        stdout = io.TextIOWrapper(self.out, "utf-8", "surrogateescape")
        stderr = io.TextIOWrapper(self.err, "utf-8", "backslashreplace")
        try:
            return main(Surroundings(env, stdin, stdout, stderr))
        except Exception:  # noqa: BLE001  as the interpreter ends
            traceback.print_exc(file=stderr)
            return 1
        finally:
            for stream in (stdout, stderr):
                stream.flush()
                stream.detach()


async def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    deadline: float,
    limit: int = runner.OUTPUT_LIMIT,
    on_start: Callable[[], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> CompletedProcess:
    """Run a program to its end, in this process if that makes no difference."""
    main = function_of(command)
    if main is None:
        return await runner.run(
            command,
            env=env,
            cwd=cwd,
            deadline=deadline,
            limit=limit,
            on_start=on_start,
            pass_fds=pass_fds,
        )
    runner.validate_command(command)
    await anyio.lowlevel.checkpoint_if_cancelled()
    if anyio.current_time() >= deadline:
        raise ProcessTimeout
    if on_start is not None:
        on_start()
    streams = Streams()
    # Shielded: what was started is over when the call is, cancelled or not.
    with anyio.CancelScope(deadline=deadline, shield=True) as waiting:
        code = await anyio.to_thread.run_sync(
            streams.run, main, dict(env), abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
        )
        await anyio.lowlevel.checkpoint_if_cancelled()
        out, err = streams.out.getvalue(), streams.err.getvalue()[: runner.STDERR_LIMIT]
        return CompletedProcess(code, out[:limit], err, overflow=len(out) > limit)
    assert waiting.cancelled_caught
    raise ProcessTimeout


def function_of(command: Sequence[str]) -> Main | None:
    """The `main` that does what the command would; None where a process has to."""
    words = [*command]
    if words[:4] == [sys.executable, "-P", "-m", "kartra_mcp.sandbox"]:
        return _sandbox(words[4:])
    if words[:2] == [sys.executable, str(STAND_IN)]:
        return _stand_in(words[2:])
    account = SCRIPT.fullmatch(_text(words[0]))
    return _sandbox([f"--account={account['account']}", *words[1:]]) if account else None


def _text(program: str) -> str:
    """Return the text of a script; "" for any other file."""
    try:
        text = Path(program).read_bytes()[:2_000]
    except OSError:
        return ""
    return text.decode("utf-8", "replace") if text.startswith(b"#!") else ""


def _sandbox(argv: list[str]) -> Main | None:
    flag, _, account = (argv[0] if argv else "").partition("=")
    if flag != "--account":  # it is refused, or in an environment variable
        return None
    if argv[1:2] == ["serve"] or _ends_oddly(account):
        return None

    def main(around: Surroundings) -> int:
        _provide(Path(account))
        return sandbox_main(argv, around)

    return main


def _provide(account: Path) -> None:
    """Copy a new account to where the program would make it, which takes ten times as long."""
    if account.exists() or not account.parent.is_dir():
        return
    aside = account.with_name(f"{account.name}.{uuid4().hex}")
    aside.touch(0o600)
    aside.write_bytes(_new_account(int(time.time() / TEMPLATE_SECONDS)))
    try:
        with suppress(FileExistsError):
            account.hardlink_to(aside)
    finally:
        aside.unlink()


@lru_cache(maxsize=1)
def _new_account(_age: int) -> bytes:
    """Return the file of a new account. Its dates are counted back from when it was made."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "account.db")
        Account(str(file)).close()
        return file.read_bytes()


def _ends_oddly(account: str) -> bool:
    """An arranged fault would end or hold up the process that meets it."""
    if not Path(account).exists():
        return False
    marks = ", ".join("?" * len(PROCESS_FAULTS))
    sql = f"SELECT 1 FROM faults WHERE type IN ({marks})"
    try:
        with closing(sqlite3.connect(_as_uri(account), timeout=30, uri=True)) as database:
            return database.execute(sql, PROCESS_FAULTS).fetchone() is not None
    except sqlite3.Error:
        return True


def _as_uri(account: str) -> str:
    """Open a file without a log as it is: a log made for one question is half of its time."""
    has_log = Path(f"{account}-wal").exists()
    return Path(account).absolute().as_uri() + ("" if has_log else "?mode=ro&immutable=1")


def _stand_in(argv: list[str]) -> Main | None:
    planned = cast("Callable[[Path, list[str]], tuple[str, Any]]", fake_membrane.planned)
    try:
        _, steps = planned(Path(argv[0]), argv[1:])
    except (OSError, json.JSONDecodeError):
        return None
    listed = cast("list[Any]", steps) if isinstance(steps, list) else [steps]
    if any(PROCESS_STEPS & step.keys() for step in listed if isinstance(step, dict)):
        return None
    play = cast("Callable[..., int]", fake_membrane.main)
    return lambda around: play(argv, around.stdout, around.stderr, 0)


def sandbox(*argv: str) -> CompletedProcess:
    """The sandbox's program on a command line, in this process."""
    streams = Streams()
    if argv[0].startswith("--account="):
        _provide(Path(argv[0].removeprefix("--account=")))
    code = streams.run(lambda around: sandbox_main([*argv], around), {})
    return CompletedProcess(code, streams.out.getvalue(), streams.err.getvalue(), overflow=False)


@contextmanager
def served(file: Path) -> Generator[str]:
    """The address of the sandbox's API on an account, served by a thread of this process."""
    # Imported here: `setup_program.py` serves nothing, and starts in two thirds of the time.
    from kartra_mcp.sandbox.http import server as http

    listening = http.listen(http.HOST, 0)
    address = http.format_address(listening)
    loop, ending = asyncio.new_event_loop(), asyncio.Event()

    def serve() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_serve(file, listening, ending))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join()


async def _serve(file: Path, listening: socket.socket, ending: asyncio.Event) -> None:
    """Serve until `ending`, and end at once: uvicorn itself would look only ten times a second."""
    from kartra_mcp.sandbox.http import server as http

    with closing(Account(str(file))) as account:
        server = http.Serving(account, http.format_address(listening), io.StringIO())
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        await ending.wait()
        server.force_exit = True
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        if server.started:
            await server.shutdown(sockets=[listening])
        listening.close()
