"""A hunt in a process of its own: the watchdog sees an input that never ends, or kills it."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fuzz.hunt import Found, Hunt, Kind, Target, hunt
from fuzz.inputs import MAX_BYTES

INPUT_SECONDS = 5.0
"""Time of the processor for one input; the largest takes a few hundred milliseconds."""
_LATEST = 12
"""Times as much by the clock: for an input that waits, and where there is no such timer."""
_MORE_MEMORY = 1024**3
"""Bytes that a process may take on top of what it has at its start."""
_LOOK_EVERY = 0.1
_TIMER = 0 if sys.platform == "win32" else signal.SIGPROF


class _Running(ctypes.Structure):
    """The input that runs: memory that outlives its process. `since` is 0 between two inputs."""

    _fields_ = (
        ("since", ctypes.c_double),
        ("tried", ctypes.c_uint64),
        ("length", ctypes.c_uint32),
        ("input", ctypes.c_char * MAX_BYTES),
    )


def hunt_apart(
    target: Target,
    seconds: float,
    input_seconds: float = INPUT_SECONDS,
    first: int | None = None,
) -> Hunt:
    """Hunt in a new process; an input that takes too long, or ends the process, is found too."""
    context = multiprocessing.get_context("spawn")
    running: Any = context.RawValue(_Running)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(target, seconds, input_seconds, first, running, sender), daemon=True
    )
    process.start()
    sender.close()
    try:
        result = _watch(receiver, running, input_seconds)
        if result is not None:
            return result
        process.join()
        kind: Kind = "hang" if process.exitcode == -_TIMER else "death"
        report = f"The process ended in this input, with {process.exitcode}."
        return Hunt(running.tried, Found(kind, _get_input(running), report))
    finally:
        process.kill()
        process.join()
        receiver.close()


def _watch(receiver: Connection, running: Any, input_seconds: float) -> Hunt | None:
    """Return the result; None if the process ended without one."""
    while not receiver.poll(_LOOK_EVERY):
        since = running.since
        if since and time.monotonic() - since > _LATEST * input_seconds:
            return Hunt(running.tried, Found("hang", _get_input(running), "The input never ends."))
    try:
        return receiver.recv()
    except EOFError:
        return None


def _get_input(running: Any) -> bytes:
    return ctypes.string_at(ctypes.addressof(running) + _Running.input.offset, running.length)


def _work(
    target: Target,
    seconds: float,
    input_seconds: float,
    first: int | None,
    running: Any,
    sender: Connection,
) -> None:
    place = ctypes.addressof(running) + _Running.input.offset

    def check(raw: bytes) -> None:
        ctypes.memmove(place, raw, len(raw))
        running.length = len(raw)
        running.tried += 1
        running.since = time.monotonic()
        _set_timer(input_seconds)
        try:
            target.check(raw)
        finally:
            _set_timer(0.0)
            running.since = 0.0

    _limit_memory()
    sender.send(hunt(target, seconds, check, first))


def _set_timer(seconds: float) -> None:
    """Let the system end this process after so much time of the processor; 0 is never."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory() -> None:
    """Let an input that takes far more memory than others fail (on Linux alone)."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
