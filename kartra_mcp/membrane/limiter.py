"""Concurrency and rate limits for Membrane calls, in order of arrival, bounded by the deadline."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

import anyio

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.shared_number import SharedNumber
from kartra_mcp.core.timings import read_steady_clock

MAX_BACKLOG_SECONDS = 600.0
"""Longest wait that calls can have reserved: no call waits longer than its time."""


@dataclass(slots=True)
class RunningCalls:
    """Running calls; some of them finish even if their caller is cancelled."""

    _scopes: set[anyio.CancelScope] = field(default_factory=set[anyio.CancelScope])
    _is_over: bool = False

    def track(self, finish: bool, until: float = math.inf) -> TrackedCall:  # noqa: FBT001
        """Track one call, to `until` on anyio's clock.

        The block ends early, without an error, at that time or if `cancel_all` ended it.
        """
        return TrackedCall(self, anyio.CancelScope(deadline=until, shield=finish))

    def add(self, scope: anyio.CancelScope) -> None:
        self._scopes.add(scope)
        if self._is_over:
            scope.cancel()

    def remove(self, scope: anyio.CancelScope) -> None:
        self._scopes.discard(scope)

    def cancel_all(self) -> None:
        """End every call, and each one that begins later at its first wait."""
        self._is_over = True  # a write may be recorded now and start its program after this
        for scope in tuple(self._scopes):
            scope.cancel()


@dataclass(slots=True)
class TrackedCall:
    """One running call, inside its block. A class for the same reason as `Slot`."""

    running: RunningCalls
    scope: anyio.CancelScope

    def __enter__(self) -> None:
        self.scope.__enter__()
        self.running.add(self.scope)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.running.remove(self.scope)
        return self.scope.__exit__(kind, error, trace)


class CallPace(Protocol):
    """Rate limit of the calls of an account, in order of arrival."""

    async def reserve(self) -> float:
        """Reserve the next call; return the seconds to wait for it."""
        ...

    async def release(self) -> None:
        """Release a reservation that was not used."""
        ...


class TokenBucket:
    """Token bucket: limits the calls a second, with a burst of one second, in order of arrival.

    Args:
        rate: calls a second; 0: no limit.
        shared: the time at which the bucket is empty, for all processes of one state folder; None
            for this process alone. If it cannot be used, this process limits itself.
    """

    def __init__(self, rate: float, shared: SharedNumber | None = None) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._bucket = max(rate, 1.0) * self._interval
        self._shared = shared if rate else None
        self._empty_at = 0.0

    def reserve(self, now: float) -> float:
        """Reserve the next call; return the seconds to wait for it.

        Args:
            now: seconds of a clock that all processes of this machine share.
        """
        if not self._interval:
            return 0.0
        return max(
            0.0, self._change(lambda empty_at: self._add_call(empty_at, now)) - now - self._bucket
        )

    def release(self) -> None:
        """Release a reservation that was not used."""
        self._change(lambda empty_at: empty_at - self._interval)

    def _add_call(self, empty_at: float, now: float) -> float:
        # A time far ahead is of another boot, or was damaged.
        backlog = empty_at - now
        return (empty_at if 0 < backlog < MAX_BACKLOG_SECONDS else now) + self._interval

    def _change(self, new: Callable[[float], float]) -> float:
        found = self._shared.change(new) if self._shared is not None else None
        self._empty_at = new(self._empty_at) if found is None else found
        return self._empty_at


@dataclass(frozen=True, slots=True)
class LocalPace:
    """Rate limit of the processes of one machine."""

    bucket: TokenBucket

    async def reserve(self) -> float:
        return self.bucket.reserve(read_steady_clock())

    async def release(self) -> None:
        self.bucket.release()


class CallLimiter:
    """Limits of concurrent programs and of calls a second; others wait in order."""

    def __init__(self, places: int, pace: CallPace | None = None) -> None:
        self._places = anyio.CapacityLimiter(places)
        self._pace = pace or LocalPace(TokenBucket(0.0))

    def slot(self, deadline: Deadline, *, write: bool, paced: bool = False) -> Slot:
        """Return a slot to be held; `paced` calls are rate limited."""
        return Slot(self, deadline, write, paced)

    async def acquire(self, token: object, deadline: Deadline) -> bool:
        """Return whether a slot was free in time; a free one costs no iteration of the loop."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            self._places.acquire_on_behalf_of_nowait(token)
        except anyio.WouldBlock:
            with anyio.move_on_at(deadline.at) as waiting:
                await self._places.acquire_on_behalf_of(token)
            return not waiting.cancelled_caught
        return True

    def release(self, token: object) -> None:
        self._places.release_on_behalf_of(token)

    async def throttle(self, deadline: Deadline, *, write: bool, paced: bool) -> None:
        """Wait for the turn of a paced call.

        Raises:
            RefusedError: there is not enough time left.
        """
        wait = await self._pace.reserve() if paced else 0.0
        if not deadline.allows_start(write, after=wait):
            if paced:
                await self._pace.release()
            raise _no_slot_error(write=write)
        if wait:
            await anyio.sleep(wait)


@dataclass(slots=True, eq=False)
class Slot:
    """One slot of a limiter, held inside its block.

    A class, because each call enters one: a generator costs twice as much.

    Raises:
        RefusedError: nothing was started.
    """

    limiter: CallLimiter
    deadline: Deadline
    write: bool
    paced: bool

    async def __aenter__(self) -> None:
        if not await self.limiter.acquire(self, self.deadline):
            raise _no_slot_error(write=self.write)
        try:
            await self.limiter.throttle(self.deadline, write=self.write, paced=self.paced)
        except BaseException:
            self.limiter.release(self)
            raise

    async def __aexit__(self, *_: object) -> None:
        self.limiter.release(self)


def _no_slot_error(*, write: bool) -> RefusedError:
    return RefusedError(
        "not_enough_time" if write else "timed_out",
        "Timed out waiting for a free slot. Nothing was started.",
        "Repeat the call when fewer calls are running, or raise KARTRA_MCP_TIMEOUT.",
    )
