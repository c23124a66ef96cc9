"""A program that was started: its output as it comes, and its end.

asyncio's own programs cost several times as much: a transport for each pipe, turns of the loop
between start and end, and before Python 3.12 a thread for each program. Here the loop itself calls
for what comes, and a task is woken by the end alone.
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

Keep = Callable[[bytes], None]
"""Takes what was read."""


class Started(Protocol):
    """What is needed of a `subprocess.Popen`."""

    pid: int
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None
    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...


class Child:
    """One running program on POSIX. `gone`: it ended. `over`: all that it wrote is read, too."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self._loop = asyncio.get_running_loop()
        self._pipes: set[int] = set()
        self._end: int | None = None
        self.pid = started.pid
        self.gone, self.over = anyio.Event(), anyio.Event()

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None until the end was seen."""
        return self._started.returncode

    def watch(self, out: Keep, err: Keep) -> None:
        """Begin to read, and to look for the end."""
        for pipe, keep in ((self._started.stdout, out), (self._started.stderr, err)):
            assert pipe is not None  # noqa: S101  both were asked for as pipes
            self._pipes.add(pipe.fileno())
            self._loop.add_reader(pipe.fileno(), self._read, pipe.fileno(), keep)
        self._end = _end_of(self.pid)
        if self._end is None:
            threading.Thread(target=self._wait, daemon=True).start()
        else:
            self._loop.add_reader(self._end, self._reap)

    def ended(self) -> bool:
        """Whether it ended, also where nothing watches; it is no zombie then."""
        return self._started.poll() is not None

    def stop_reading(self) -> None:
        """Leave what else it writes where it is."""
        for pipe in tuple(self._pipes):
            self._unwatch(pipe)

    def close(self) -> None:
        """Give all descriptors back."""
        self.stop_reading()
        for pipe in (self._started.stdout, self._started.stderr):
            if pipe is not None:
                pipe.close()
        if self._end is not None:
            self._loop.remove_reader(self._end)
            os.close(self._end)
            self._end = None

    def _read(self, pipe: int, keep: Keep) -> None:
        if chunk := os.read(pipe, CHUNK):
            keep(chunk)
        else:
            self._unwatch(pipe)

    def _unwatch(self, pipe: int) -> None:
        self._loop.remove_reader(pipe)
        self._pipes.discard(pipe)
        self._look()

    def _wait(self) -> None:
        self._started.wait()
        with suppress(RuntimeError):  # the loop may be closed by now
            self._loop.call_soon_threadsafe(self._reap)

    def _reap(self) -> None:
        self._started.wait()  # it is no zombie then
        if self._end is not None:
            self._loop.remove_reader(self._end)
        self.gone.set()
        self._look()

    def _look(self) -> None:
        if self.gone.is_set() and not self._pipes:
            self.over.set()


class Drained:
    """The same of a program on Windows, where no loop watches a pipe: a task for each."""

    def __init__(self, process: Process, tasks: TaskGroup, out: Keep, err: Keep) -> None:
        self._left = 3
        self.gone, self.over = anyio.Event(), anyio.Event()
        tasks.start_soon(self._drain, process.stdout, out)
        tasks.start_soon(self._drain, process.stderr, err)
        tasks.start_soon(self._reap, process)

    async def _drain(self, pipe: ByteReceiveStream | None, keep: Keep) -> None:
        assert pipe is not None  # noqa: S101  both were asked for as pipes
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for chunk in pipe:
                keep(chunk)
        self._count()

    async def _reap(self, process: Process) -> None:
        await process.wait()
        self.gone.set()
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            self.over.set()


def _end_of(pid: int) -> int | None:
    """A descriptor that is readable once the program is gone; None where Linux gives none."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
