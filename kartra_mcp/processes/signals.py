"""Termination signals: the ones that end a command, and their handlers.

Ctrl-C, SIGTERM and a closed terminal end every command in the same way. SIGINT and SIGHUP keep
being ignored where the parent ignores them: `nohup` and a shell's background jobs rely on that.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import anyio


def termination_signals() -> list[signal.Signals]:
    """Return the signals that end this process: SIGTERM, and SIGINT and SIGHUP unless ignored."""
    names = [name for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
    found = [signal.Signals[name] for name in names]
    return [signal.SIGTERM, *(n for n in found if signal.getsignal(n) is not signal.SIG_IGN)]


def set_termination_handler(handle: Callable[[int, FrameType | None], object]) -> None:
    """Call `handle` on each termination signal. Only the main thread can set it."""
    for number in termination_signals():
        signal.signal(number, handle)


raise_interrupt = signal.default_int_handler
"""Handler that treats a signal as Ctrl-C. asyncio cancels its work only if SIGINT has this one."""


@contextmanager
def termination_handler(handle: Callable[[int, FrameType | None], object]) -> Generator[None]:
    """Call `handle` on each termination signal; restore the former handlers at the end."""
    before = {number: signal.getsignal(number) for number in termination_signals()}
    set_termination_handler(handle)
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def ignore_termination() -> None:
    """Ignore further signals: a second one would interrupt the shutdown that the first began."""
    for number in termination_signals():
        signal.signal(number, signal.SIG_IGN)


def open_termination_pipe() -> int:
    """Return a descriptor that gets readable on a termination signal, even if Python is busy.

    The signal's C handler writes to it at once. A Python handler would wait for the call that the
    main thread executes. asyncio's signal handlers use the same hook, so use one or the other.
    """
    received, sent = os.pipe()
    os.set_blocking(sent, False)
    set_termination_handler(lambda _number, _frame: None)
    signal.set_wakeup_fd(sent, warn_on_full_buffer=False)
    return received


def received_termination(pipe: int) -> bool:
    """Return True if one of the signals in this readable pipe is a termination signal."""
    return not set(os.read(pipe, 256)).isdisjoint(termination_signals())


async def watch_termination(stop: Callable[[], object]) -> None:
    """Call `stop` on each termination signal, until cancelled."""
    # The event loop of Windows cannot receive signals; Ctrl-C raises KeyboardInterrupt there.
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(*termination_signals()) as received:
        async for _ in received:
            stop()
