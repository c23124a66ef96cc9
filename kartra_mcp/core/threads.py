"""Work off the event loop: blocking work to its end, and whatever takes longer for larger input."""

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

THREAD_ARGUMENTS_BYTES = 16 * 1024
"""Bytes of arguments above which they are validated in a thread: each value takes time."""


async def run_in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a worker thread to its end, even if the caller is cancelled meanwhile."""
    results: list[T] = []
    with anyio.CancelScope(shield=True):
        results.append(await anyio.to_thread.run_sync(partial(work, *args, **kwargs)))
    return results[0]


async def validate_off_loop(
    size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Validate arguments of this many bytes; large ones in a thread."""
    if size <= THREAD_ARGUMENTS_BYTES:
        return work(*args, **kwargs)
    return await anyio.to_thread.run_sync(partial(work, *args, **kwargs))


async def parse_off_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Parse output of `size` bytes; in a thread if it is large."""
    if size <= THREAD_PARSE_BYTES:
        return work(*args, **kwargs)
    return await anyio.to_thread.run_sync(partial(work, *args, **kwargs))
