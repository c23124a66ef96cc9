"""Take over stdin and stdout; guarantee that the process exits."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from kartra_mcp.server.backlog import Backlog
from kartra_mcp.server.exit_watch import ExitWatch
from kartra_mcp.server.stdin import LineReader
from kartra_mcp.server.stdout import PipeWriter

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.server.models import InitializationOptions

INPUT_GRACE = 0.3
"""Seconds for the server to end by itself, with the answers that are ready, after the input."""
CALLS_GRACE = 1.0
SHUTDOWN_TIMEOUT = 1.45  # with the grace or the interval of the watch, 2 s at most

STDIN, STDOUT, STDERR = 0, 1, 2

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StdioTransport:
    """The claimed descriptors. `parent` is the process that started this one."""

    stdin: LineReader
    stdout: int
    parent: int

    @property
    def on_terminal(self) -> bool:
        """True if a user started the program by hand."""
        return os.isatty(self.stdin.fileno())


def claim_stdio() -> StdioTransport:
    """Take stdin and stdout for the protocol alone; the first statement of the program.

    From here on fd 0 is the null device and fd 1 is stderr, for this process and every child. They
    stay so: a `print` that is flushed at exit goes to stderr too and cannot corrupt the protocol.
    """
    for descriptor in (STDIN, STDOUT, STDERR):
        _fill_if_closed(descriptor)
    incoming, outgoing = _duplicate_private(STDIN), _duplicate_private(STDOUT)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, STDIN)
    os.close(null)
    os.dup2(STDERR, STDOUT)
    return StdioTransport(LineReader(io.FileIO(incoming)), outgoing, os.getppid())


def _fill_if_closed(descriptor: int) -> None:
    # Otherwise the next file that is opened, such as the ledger, would become stdout or stderr.
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)
        os.set_inheritable(descriptor, True)


def _duplicate_private(descriptor: int) -> int:
    """Return a duplicate that children do not inherit; it is above 2, as 0, 1 and 2 are taken."""
    duplicate = os.dup(descriptor)
    if sys.platform != "win32":
        # A launcher may have left the pipe non-blocking, which would look like EOF.
        os.set_blocking(duplicate, True)
    return duplicate


async def serve(
    wire: StdioTransport,
    server: Server[Any],
    options: InitializationOptions,
    *,
    make_oversized_result: Callable[[], dict[str, Any]],
    on_stop: Callable[[], None],
    on_end: Callable[[], Awaitable[None]],
) -> None:
    """Serve until the client is gone or a signal arrives, then end the process itself.

    EOF, SIGTERM, SIGINT, a closed stdout and a vanished parent cancel every call, which ends their
    programs. `on_stop` also ends what is shielded from cancellation. Then `on_end` runs, and within
    2 s the process exits with code 0. `make_oversized_result` makes the answer of a tool call that
    is too large to be read.
    """
    from kartra_mcp.server.streams import ReadStream, WriteStream

    _log_to_stderr()
    stop, ended, backlog = anyio.Event(), anyio.Event(), Backlog()
    outgoing = WriteStream(PipeWriter(wire.stdout), stop.set, make_oversized_result, backlog)
    incoming = ReadStream(wire.stdin, outgoing.refuse, backlog, ended.set)
    watch = ExitWatch(wire.stdin.fileno(), wire.stdout, wire.parent, stop.set, backlog.abandon)
    serving = _ServerRun(partial(server.run, incoming, outgoing, options), on_stop, stop, ended)
    watch.start()
    await _run_until_end(serving, on_end)


@dataclass(slots=True)
class _ServerRun:
    """One run of the server: the events that end it, and its state."""

    run: Callable[[], Awaitable[None]]
    on_stop: Callable[[], None]
    stop: anyio.Event
    input_ended: anyio.Event
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    over: anyio.Event = field(default_factory=anyio.Event)
    exit_code: int = 0

    async def __call__(self) -> None:
        try:
            with self.scope:
                await self.run()
        except Exception as problem:  # noqa: BLE001  the process must end after any error
            log.error("the server failed: %s", type(problem).__name__)  # noqa: TRY400
            self.exit_code = 1
        finally:
            self.over.set()
            self.stop.set()


async def _run_until_end(serving: _ServerRun, on_end: Callable[[], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as tasks:
        try:
            tasks.start_soon(_stop_after_input, serving)
            tasks.start_soon(serving)
            await serving.stop.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await _end(serving, on_end)


async def _stop_after_input(serving: _ServerRun) -> None:
    """Stop what the end of input does not: a shielded call, or an answer that is not read."""
    await serving.input_ended.wait()
    await anyio.sleep(INPUT_GRACE)
    serving.stop.set()


async def _end(serving: _ServerRun, on_end: Callable[[], Awaitable[None]]) -> None:
    """Cancel the calls, clean up and exit: a thread that reads or writes cannot be cancelled."""
    gone_by = anyio.current_time() + SHUTDOWN_TIMEOUT - 0.05
    # A thread: a call that blocks the event loop would block everything below.
    last_resort = threading.Timer(SHUTDOWN_TIMEOUT, os._exit, (serving.exit_code,))
    last_resort.daemon = True
    last_resort.start()
    serving.scope.cancel()
    serving.on_stop()
    with anyio.move_on_after(CALLS_GRACE):
        await serving.over.wait()
    with anyio.CancelScope(deadline=gone_by):
        await _tidy_up(on_end)
    os._exit(serving.exit_code)


async def _tidy_up(on_end: Callable[[], Awaitable[None]]) -> None:
    try:
        await on_end()
    except Exception as problem:  # noqa: BLE001  the process is ending anyway
        log.warning("tidying up failed: %s", type(problem).__name__)


class _RedactingFormatter(logging.Formatter):
    """Log this program's messages in full, and only place and exception type of all others.

    Messages of libraries can contain requests, and so secrets and customer data.
    """

    def format(self, record: logging.LogRecord) -> str:
        own = record.name.partition(".")[0] == "kartra_mcp"
        parts = [record.levelname, record.name]
        parts.append(record.getMessage() if own else f"line {record.lineno}")
        if record.exc_info and record.exc_info[0]:
            parts.append(record.exc_info[0].__name__)
        return " ".join(parts)


def _log_to_stderr() -> None:
    # Descriptor 2 itself: `sys.stderr` is None if it was closed at the start.
    stream = os.fdopen(STDERR, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_RedactingFormatter())
    logging.raiseExceptions = False
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
