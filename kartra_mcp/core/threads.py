"""Work off the event loop: blocking work to its end, and parsing of large output."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

P = ParamSpec("P")
T = TypeVar("T")

THREAD_PARSE_BYTES = 256 * 1024
"""Bytes of output above which it is parsed in a thread, so that the server stays responsive."""


async def run_in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a worker thread to its end, even if the caller is cancelled meanwhile."""
    results: list[T] = []
    with anyio.CancelScope(shield=True):
        results.append(await anyio.to_thread.run_sync(partial(work, *args, **kwargs)))
    return results[0]


async def parse_off_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Parse output of `size` bytes; in a thread if it is large."""
    if size <= THREAD_PARSE_BYTES:
        return work(*args, **kwargs)
    return await anyio.to_thread.run_sync(partial(work, *args, **kwargs))
