"""What waits, told to open pages as it changes (server-sent events); one look serves them all."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.approvals import Approvals
from kartra_mcp.web.sessions import Session
from kartra_mcp.web.timings import PageTimings

HEARTBEAT = 15.0
"""Seconds after which a quiet stream says that it is still there."""

MAX_STREAMS = 4
"""Of one session: a browser opens only six connections, and some must be left for the page."""

RETRY_MS = 5_000
"""Milliseconds after which a browser asks anew."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(slots=True)
class ApprovalEvents:
    """The numbers that wait, as last seen, and who is told of them."""

    approvals: Approvals
    poll_interval: float = PageTimings().event_poll
    listeners: int = 0
    ended: bool = False
    _numbers: tuple[int, ...] = ()
    _changed: anyio.Event = field(default_factory=anyio.Event)
    _wanted: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        """Look again and again, for as long as anybody listens."""
        while True:
            await self._wanted.wait()
            await self._look()
            await anyio.sleep(self.poll_interval)

    def end(self) -> None:
        """Let every stream come to its end."""
        self.ended = True
        self._wake_all()

    async def stream(self, session: Session, receive: Receive, send: Send) -> None:
        """Tell one page, now and whenever it changes, until it is gone."""
        with self._register_stream(session) as stream:
            await self._look()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
                await self._tell(stream, session, send)
                tasks.cancel_scope.cancel()

    async def _tell(self, stream: object, session: Session, send: Send) -> None:
        await send(_body_part(f"retry: {RETRY_MS}\n\n"))
        told = None
        while stream in session.streams and not self.ended:
            changed = self._changed
            if told != self._numbers:
                told = self._numbers
                await send(_body_part(format_event(told)))
            elif not await _wait_within(HEARTBEAT, changed):
                await send(_body_part(": still here\n\n"))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _look(self) -> None:
        try:
            found = await run_in_thread(self.approvals.pending_numbers)
        except KartraMCPError:  # told where the page is asked for
            return
        if found != self._numbers:
            self._numbers = found
            self._wake_all()

    def _wake_all(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    @contextmanager
    def _register_stream(self, session: Session) -> Generator[object]:
        """Of too many of one session the oldest ends; it asks anew after a while."""
        stream = object()
        session.streams = [*session.streams, stream][-MAX_STREAMS:]
        self.listeners += 1
        self._wanted.set()
        self._wake_all()
        try:
            yield stream
        finally:
            self.listeners -= 1
            session.streams = [other for other in session.streams if other is not stream]
            if not self.listeners:
                self._wanted = anyio.Event()


def format_event(numbers: tuple[int, ...]) -> str:
    told = {
        "count": len(numbers),
        "numbers": list(numbers),
        "newest": max(numbers, default=None),
    }
    return f"event: waiting\ndata: {json.dumps(told)}\n\n"


def _body_part(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}


async def _wait_within(seconds: float, event: anyio.Event) -> bool:
    with anyio.move_on_after(seconds):
        await event.wait()
        return True
    return False


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
