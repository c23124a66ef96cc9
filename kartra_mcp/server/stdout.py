"""Writes to the client at once what it has room for; only what it has not waits in a thread."""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
from collections.abc import Callable

import anyio
import anyio.to_thread

TryWrite = Callable[[memoryview], int]
"""Writes as much as there is room for now, perhaps nothing; how many bytes."""


class PipeWriter:
    """The wire's end towards the client. What is written is on its way: nothing is to be flushed.

    A thread for every answer would cost a good part of what the answer does.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at_once = _pick_writer(descriptor)

    async def write(self, text: str) -> None:
        """The whole text, in one piece even for who is cancelled; one caller at a time.

        Raises:
            Exception: nobody can read it, or no thread waits for room; it may be there by half.
        """
        whole = memoryview(text.encode())
        left = whole[self._at_once(whole) :]
        if left:
            with anyio.CancelScope(shield=True):  # the line has begun
                await anyio.to_thread.run_sync(self._wait_and_write, left)

    def _wait_and_write(self, left: memoryview) -> None:
        while left:
            left = left[os.write(self._descriptor, left) :]


def _pick_writer(descriptor: int) -> TryWrite:
    """How to write without ever waiting, although the descriptor is one that waits."""
    mode = os.fstat(descriptor).st_mode
    if sys.platform != "win32" and stat.S_ISFIFO(mode):
        return _nonblocking_writer(descriptor) or _pipe_writer(descriptor)
    if sys.platform != "win32" and stat.S_ISSOCK(mode):
        return _socket_writer(descriptor)
    return lambda _: 0


def _nonblocking_writer(descriptor: int) -> TryWrite | None:
    """Linux: the pipe opened once more, so that not waiting is a matter of this end alone.

    One call for what would otherwise be two for each PIPE_BUF, and one waking of the client.
    """
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None

    def write(whole: memoryview) -> int:
        try:
            return os.write(own, whole)
        except BlockingIOError:
            return 0

    return write


def _pipe_writer(descriptor: int) -> TryWrite:
    """POSIX: a pipe that is ready takes PIPE_BUF bytes without waiting."""
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)

    def write(whole: memoryview) -> int:
        done = 0
        while done < len(whole) and ready.poll(0) == [(descriptor, select.POLLOUT)]:
            done += os.write(descriptor, whole[done : done + select.PIPE_BUF])
        return done

    return write


def _socket_writer(descriptor: int) -> TryWrite:
    """Node.js gives its children sockets; this one is a duplicate of the same."""
    end = socket.socket(fileno=os.dup(descriptor))

    def write(whole: memoryview) -> int:
        try:
            return end.send(whole, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    return write
