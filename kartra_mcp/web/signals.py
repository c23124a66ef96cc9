"""Shutdown of the page on a signal: the first one ends the page, all others are ignored.

A second signal often arrives while Python is shutting down: `timeout` sends two, and users press
Ctrl-C again. The event loop's own handlers would be gone by then, and the signal would kill the
process.
"""

from __future__ import annotations

import signal
import socket
from typing import Any, Protocol

import anyio

from kartra_mcp.processes.signals import ignore_termination, set_termination_handler


class StopWaiter(Protocol):
    """Source of the request to stop."""

    async def wait_for_one(self) -> None:
        """Return once the page has to end."""

    def ignore(self) -> None:
        """Ignore further requests: the page is already ending."""


class SignalWaiter:
    """Stop on a signal, from now until the process exits. Create it in the main thread."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        # A byte on this socket wakes the event loop at once.
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        set_termination_handler(self._on_signal)

    async def wait_for_one(self) -> None:
        await anyio.wait_readable(self._receiver)

    def ignore(self) -> None:
        ignore_termination()

    def _on_signal(self, *_: Any) -> None:
        self.ignore()
        self._sender.send(b"!")  # the event loop may have replaced the wake-up descriptor
