"""The only bounded poll of the tests, for changes without an event: other processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import anyio


async def until(condition: Callable[[], bool], *, within: float = 30) -> None:
    with anyio.fail_after(within):
        while not condition():  # noqa: ASYNC110  processes of others have no event
            await anyio.sleep(0.01)


def wait_for(condition: Callable[[], object], *, within: float = 60, every: float = 0.02) -> None:
    """Do the same in a thread; raise `TimeoutError` where it does not come true."""
    ends = time.monotonic() + within
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError("what a test waited for did not happen in time")
        time.sleep(every)  # the condition is of another process, which sends no event


def gone(pid: int) -> bool:
    """Return true if this process has ended; an unreaped zombie counts as ended."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


PROMPTLY = 6.0
"""Seconds for what is promised within two: the machine that tests is busy with other tests."""
