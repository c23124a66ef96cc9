"""A program that was started on POSIX: its pipes, and its end, which a descriptor tells of.

asyncio's own programs cost several times as much: a transport for each pipe, turns of the loop
between start and end, and before Python 3.12 a thread for each program.
"""

from __future__ import annotations

import os
from typing import IO, Protocol

import anyio
import anyio.to_thread

CHUNK = 256 * 1024


class Started(Protocol):
    """What is needed of a `subprocess.Popen`."""

    pid: int
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None
    returncode: int | None

    def wait(self) -> int: ...


class Child:
    """One running program, with as much of anyio's `Process` as `process.py` needs."""

    def __init__(self, started: Started) -> None:
        assert started.stdout is not None  # noqa: S101  both were asked for as pipes
        assert started.stderr is not None  # noqa: S101
        self._started = started
        self._end = _end_of(started.pid)
        self.pid = started.pid
        self.stdout, self.stderr = Pipe(started.stdout.fileno()), Pipe(started.stderr.fileno())

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None until `wait` saw the end."""
        return self._started.returncode

    async def wait(self) -> None:
        """Until the program is gone; it is no zombie then."""
        if self.returncode is not None:
            return
        if self._end is None:
            alone = anyio.CapacityLimiter(1)  # a place of its own: others wait as long as it
            await anyio.to_thread.run_sync(
                self._started.wait, abandon_on_cancel=True, limiter=alone
            )
        else:
            await anyio.wait_readable(self._end)
            self._started.wait()

    def close(self) -> None:
        """Give all descriptors back."""
        for pipe in (self._started.stdout, self._started.stderr):
            if pipe is not None:
                pipe.close()
        if self._end is not None:
            os.close(self._end)
            self._end = None


class Pipe:
    """The bytes of a pipe as they come."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __aiter__(self) -> Pipe:
        return self

    async def __anext__(self) -> bytes:
        await anyio.wait_readable(self._descriptor)
        if chunk := os.read(self._descriptor, CHUNK):
            return chunk
        raise StopAsyncIteration


def _end_of(pid: int) -> int | None:
    """A descriptor that is readable once the program is gone; None where Linux gives none."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
