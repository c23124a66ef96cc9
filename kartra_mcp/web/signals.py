"""What ends a page from outside: Ctrl-C, a signal; the first one counts, no other is heard.

A second one comes soon (`timeout` sends two, a person presses again), often while Python is already
shutting down. The event loop's own way would bring back by then what kills.
"""

from __future__ import annotations

import signal
import socket
from typing import Any, Protocol

import anyio


class StopWaiter(Protocol):
    """Tells a page to end."""

    async def wait_for_one(self) -> None:
        """Return once the page has to end."""

    def ignore(self) -> None:
        """Let nothing more end what is already ending."""


class SignalWaiter:
    """Heard from now on until this process ends. To be made in its main thread."""

    def __init__(self) -> None:
        self._ends = [signal.SIGTERM, signal.SIGINT]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._ends.append(signal.SIGHUP)
        self._heard, self._told = socket.socketpair()
        self._told.setblocking(False)
        signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)  # ends the loop's wait
        for number in self._ends:
            signal.signal(number, self._first)

    async def wait_for_one(self) -> None:
        await anyio.wait_readable(self._heard)

    def ignore(self) -> None:
        for number in self._ends:
            signal.signal(number, signal.SIG_IGN)

    def _first(self, *_: Any) -> None:
        self.ignore()
        self._told.send(b"!")  # where the loop took the other way of being woken, it is not told
