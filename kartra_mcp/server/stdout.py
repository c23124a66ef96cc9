"""Writer to the client: writes at once as much as fits; only the rest waits in a thread."""

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
"""Writes as much as fits now, possibly nothing; returns the number of bytes."""


class PipeWriter:
    """Unbuffered writer to the client.

    A thread for every response would cost a good part of the response itself.
    """

    def __init__(self, descriptor: int, platform: str = sys.platform) -> None:
        self._descriptor = descriptor
        self._at_once = _pick_writer(descriptor, platform)

    async def write(self, text: str) -> None:
        """Write the whole text, in one piece even if the caller is cancelled; one caller at a time.

        Raises:
            Exception: the reader is gone, or no thread is free; half may be written.
        """
        whole = memoryview(text.encode())
        left = whole[self._at_once(whole) :]
        if left:
            with anyio.CancelScope(shield=True):  # half a line would corrupt the protocol
                await anyio.to_thread.run_sync(self._wait_and_write, left)

    def _wait_and_write(self, left: memoryview) -> None:
        while left:
            left = left[os.write(self._descriptor, left) :]


def _pick_writer(descriptor: int, platform: str) -> TryWrite:
    """Return a writer that never waits, although the descriptor is in blocking mode.

    The descriptor itself must stay blocking: the mode belongs to the open file, which other
    processes share.
    """
    mode = os.fstat(descriptor).st_mode
    if platform != "win32" and stat.S_ISFIFO(mode):
        return _nonblocking_writer(descriptor) or _pipe_writer(descriptor)
    if platform != "win32" and stat.S_ISSOCK(mode):
        return _socket_writer(descriptor)
    return lambda _: 0


def _nonblocking_writer(descriptor: int) -> TryWrite | None:
    """Open the pipe again (Linux), so that non-blocking mode applies to this end alone.

    It needs one system call instead of two for each PIPE_BUF, and wakes the client once.
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
    """Write PIPE_BUF bytes at a time (POSIX): a pipe that polls as writable takes them at once."""
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)

    def write(whole: memoryview) -> int:
        done = 0
        while done < len(whole) and ready.poll(0) == [(descriptor, select.POLLOUT)]:
            done += os.write(descriptor, whole[done : done + select.PIPE_BUF])
        return done

    return write


def _socket_writer(descriptor: int) -> TryWrite:
    """Write to a duplicate of a socket: Node.js gives its children sockets, not pipes."""
    end = socket.socket(fileno=os.dup(descriptor))

    def write(whole: memoryview) -> int:
        try:
            return end.send(whole, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    return write
