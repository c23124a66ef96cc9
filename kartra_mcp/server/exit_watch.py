"""Thread that notices when the client is gone, and ends the process if the event loop does not.

The event loop may be busy for a long time with one call. Nothing here waits for it.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  anyio's call into the event loop waits for the event loop
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from kartra_mcp.processes.signals import open_termination_pipe, received_termination

PARENT_INTERVAL = 0.5
EXIT_TIMEOUT = 1.9
"""Seconds from the event to the last resort: longer than the orderly end takes."""

_HANG_UP = 0 if sys.platform == "win32" else getattr(select, "POLLRDHUP", 0)
_CLOSED = 0 if sys.platform == "win32" else select.POLLERR | select.POLLHUP | _HANG_UP


@dataclass(frozen=True, slots=True)
class ExitWatch:
    """Watch for signals, closed descriptors and the end of the parent.

    A client that is killed may leave stdin open in another of its children, so that EOF never
    comes. `on_stop` and `on_hang_up` run in the event loop: the latter when the client has closed
    stdin, of which some input may not have been read.
    """

    stdin: int
    stdout: int
    parent: int
    on_stop: Callable[[], None]
    on_hang_up: Callable[[], None]

    def start(self) -> None:
        """Start the thread. Call this in the event loop of the main thread."""
        if sys.platform == "win32":
            return  # it has no poll, and its event loop receives no signals: Ctrl-C interrupts
        arguments = (asyncio.get_running_loop(), open_termination_pipe())
        threading.Thread(target=self._run, args=arguments, name="exit-watch", daemon=True).start()

    def _run(self, loop: asyncio.AbstractEventLoop, signals: int) -> None:
        callback = self._wait_for_event(signals)
        with suppress(RuntimeError):  # the event loop is closed already
            loop.call_soon_threadsafe(callback)
        time.sleep(EXIT_TIMEOUT)
        os._exit(0)

    def _wait_for_event(self, signals: int) -> Callable[[], None]:
        """Return the callback of the first event."""
        poll = select.poll()
        poll.register(signals, select.POLLIN)
        poll.register(self.stdout, 0)
        poll.register(self.stdin, _HANG_UP)
        while os.getppid() == self.parent:
            for descriptor, event in poll.poll(PARENT_INTERVAL * 1000):
                if descriptor == signals:
                    if received_termination(signals):
                        return self.on_stop
                elif event & _CLOSED:
                    return self.on_stop if descriptor == self.stdout else self.on_hang_up
                else:
                    poll.unregister(descriptor)  # macOS cannot poll some devices
        return self.on_stop
