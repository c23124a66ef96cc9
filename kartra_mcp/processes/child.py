"""A started program: its output as it arrives, and its exit.

asyncio's own subprocesses cost several times as much: a transport for each pipe, iterations of the
loop between start and exit, and before Python 3.12 a thread for each program. Here the loop reads
the pipes itself, and a task is woken only by the exit.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Protocol

import anyio
from anyio.abc import ByteReceiveStream, Process, TaskGroup

CHUNK = 256 * 1024

ChunkSink = Callable[[bytes], None]
"""Receives each chunk that was read."""


class PopenLike(Protocol):
    """The part of `subprocess.Popen` that is used."""

    pid: int
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None
    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...


class Child:
    """One running program on POSIX. `exited`: it exited. `drained`: all its output was read too."""

    def __init__(self, started: PopenLike) -> None:
        self._started = started
        self._loop = asyncio.get_running_loop()
        self._pipes: set[int] = set()
        self._end: int | None = None
        self.pid = started.pid
        self.exited, self.drained = anyio.Event(), anyio.Event()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None until the exit was seen."""
        return self._started.returncode

    def start_reading(self, out: ChunkSink, err: ChunkSink) -> None:
        """Start reading, and watching for the exit."""
        for pipe, keep in ((self._started.stdout, out), (self._started.stderr, err)):
            assert pipe is not None  # noqa: S101  both were opened as pipes
            self._pipes.add(pipe.fileno())
            self._loop.add_reader(pipe.fileno(), self._read, pipe.fileno(), keep)
        self._end = _end_of(self.pid)
        if self._end is None:
            threading.Thread(target=self._wait, daemon=True).start()
        else:
            self._loop.add_reader(self._end, self._reap)

    def has_ended(self) -> bool:
        """Return True if the program exited, even if nothing watches it; reap it then."""
        return self._started.poll() is not None

    def stop_reading(self) -> None:
        """Ignore further output."""
        for pipe in tuple(self._pipes):
            self._stop_watching(pipe)

    def close(self) -> None:
        """Close all descriptors."""
        self.stop_reading()
        for pipe in (self._started.stdout, self._started.stderr):
            if pipe is not None:
                pipe.close()
        if self._end is not None:
            self._loop.remove_reader(self._end)
            os.close(self._end)
            self._end = None

    def _read(self, pipe: int, keep: ChunkSink) -> None:
        if chunk := os.read(pipe, CHUNK):
            keep(chunk)
        else:
            self._stop_watching(pipe)

    def _stop_watching(self, pipe: int) -> None:
        self._loop.remove_reader(pipe)
        self._pipes.discard(pipe)
        self._look()

    def _wait(self) -> None:
        self._started.wait()
        with suppress(RuntimeError):  # the loop may be closed by now
            self._loop.call_soon_threadsafe(self._reap)

    def _reap(self) -> None:
        self._started.wait()  # reaps it: otherwise it stays a zombie
        if self._end is not None:
            self._loop.remove_reader(self._end)
        self.exited.set()
        self._look()

    def _look(self) -> None:
        if self.exited.is_set() and not self._pipes:
            self.drained.set()


class WindowsChild:
    """Like `Child`, for Windows, where no event loop watches a pipe: one task per pipe."""

    def __init__(self, process: Process, tasks: TaskGroup, out: ChunkSink, err: ChunkSink) -> None:
        self._left = 3
        self.exited, self.drained = anyio.Event(), anyio.Event()
        tasks.start_soon(self._drain, process.stdout, out)
        tasks.start_soon(self._drain, process.stderr, err)
        tasks.start_soon(self._reap, process)

    async def _drain(self, pipe: ByteReceiveStream | None, keep: ChunkSink) -> None:
        assert pipe is not None  # noqa: S101  both were opened as pipes
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for chunk in pipe:
                keep(chunk)
        self._count()

    async def _reap(self, process: Process) -> None:
        await process.wait()
        self.exited.set()
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            self.drained.set()


def _end_of(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the program exits, or None if unsupported."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
