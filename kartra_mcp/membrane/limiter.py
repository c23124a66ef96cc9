"""Concurrency and rate limits for Membrane calls, in order of arrival, bounded by the deadline."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import RefusedError


@dataclass(slots=True)
class RunningCalls:
    """Running calls; some of them finish even if their caller is cancelled."""

    _scopes: set[anyio.CancelScope] = field(default_factory=set[anyio.CancelScope])

    @contextmanager
    def track(self, finish: bool) -> Generator[None]:  # noqa: FBT001
        """Track one call. The block ends early, without an error, if `cancel_all` ended it."""
        with anyio.CancelScope(shield=finish) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    def cancel_all(self) -> None:
        for scope in tuple(self._scopes):
            scope.cancel()


class TokenBucket:
    """Token bucket: limits the calls a second, with a burst of one second, in order of arrival.

    Args:
        rate: calls a second; 0: no limit.
    """

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._bucket = max(rate, 1.0) * self._interval
        self._empty_at = 0.0

    def reserve(self, now: float) -> float:
        """Reserve the next call; return the seconds to wait for it."""
        self._empty_at = max(self._empty_at, now) + self._interval
        return max(0.0, self._empty_at - now - self._bucket)

    def release(self) -> None:
        """Release a reservation that was not used."""
        self._empty_at -= self._interval


class CallLimiter:
    """Limits of concurrent programs and of calls a second; others wait in order."""

    def __init__(self, places: int, rate: float = 0.0) -> None:
        self._places = anyio.CapacityLimiter(places)
        self._pace = TokenBucket(rate)

    @asynccontextmanager
    async def slot(
        self, deadline: Deadline, *, write: bool, paced: bool = False
    ) -> AsyncGenerator[None]:
        """Hold a slot; `paced` calls are rate limited.

        Raises:
            RefusedError: nothing was started.
        """
        token = object()
        held = False
        try:
            held = await self._acquire_slot(token, deadline)
            if not held:
                raise _no_slot_error(write=write)
            await self._throttle(deadline, write=write, paced=paced)
            yield
        finally:
            if held:
                self._places.release_on_behalf_of(token)

    async def _acquire_slot(self, token: object, deadline: Deadline) -> bool:
        """Return whether a slot was free in time; a free one costs no iteration of the loop."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            self._places.acquire_on_behalf_of_nowait(token)
        except anyio.WouldBlock:
            with anyio.move_on_at(deadline.at) as waiting:
                await self._places.acquire_on_behalf_of(token)
            return not waiting.cancelled_caught
        return True

    async def _throttle(self, deadline: Deadline, *, write: bool, paced: bool) -> None:
        wait = self._pace.reserve(anyio.current_time()) if paced else 0.0
        if not deadline.allows_start(write, after=wait):
            if paced:
                self._pace.release()
            raise _no_slot_error(write=write)
        if wait:
            await anyio.sleep(wait)


def _no_slot_error(*, write: bool) -> RefusedError:
    return RefusedError(
        "not_enough_time" if write else "timed_out",
        "Timed out waiting for a free slot. Nothing was started.",
        "Repeat the call when fewer calls are running, or raise KARTRA_MCP_TIMEOUT.",
    )
