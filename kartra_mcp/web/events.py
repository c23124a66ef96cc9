"""Server-sent events of the ledger's changes; one poll of the ledger serves all open pages."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.web.sessions import Session
from kartra_mcp.web.timings import PageTimings

HEARTBEAT_SECONDS = 15.0
"""Interval of comments on a quiet stream, which reveal a dead connection."""

MAX_STREAMS = 4
"""Streams per session: a browser opens six connections to a host, and the page needs some."""

RETRY_MS = 5_000
"""Milliseconds after which a browser reconnects."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Numbers of the pending approvals, and a text that changes with the bulk runs."""

    pending: tuple[int, ...] = ()
    bulk: str = ""


def admit_every(_: Session) -> bool:
    return True


@dataclass(slots=True)
class PageEvents:
    """Pending approvals and bulk runs as last read, and the open streams.

    `stream_life` bounds a stream where its session may end elsewhere: it reconnects, or may not.
    `admits` is asked before each event: the access of its user may have been revoked.
    """

    ledger: Ledger
    poll_interval: float = PageTimings().event_poll
    stream_life: float = math.inf
    admits: Callable[[Session], bool] = admit_every
    listeners: int = 0
    ended: bool = False
    _state: LedgerState = LedgerState()
    _changed: anyio.Event = field(default_factory=anyio.Event)
    _wanted: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        """Poll the ledger while any stream is open."""
        while True:
            await self._wanted.wait()
            await self._poll()
            await anyio.sleep(self.poll_interval)

    def end(self) -> None:
        """End every stream."""
        self.ended = True
        self._wake_all()

    async def stream(self, session: Session, receive: Receive, send: Send) -> None:
        """Send the state to one page, now and after each change, until it disconnects."""
        with self._register_stream(session) as stream:
            await self._poll()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
                await self._send_changes(stream, session, send)
                tasks.cancel_scope.cancel()

    async def _send_changes(self, stream: object, session: Session, send: Send) -> None:
        await send(_body_part(f"retry: {RETRY_MS}\n\n"))
        sent: LedgerState | None = None
        ends_at = anyio.current_time() + self.stream_life
        while (
            stream in session.streams
            and self.admits(session)
            and not self.ended
            and anyio.current_time() < ends_at
        ):
            changed = self._changed
            if sent != self._state:
                before, sent = sent, self._state
                await send(_body_part(format_events(before, sent)))
            elif not await _wait_within(HEARTBEAT_SECONDS, changed):
                await send(_body_part(": still here\n\n"))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _poll(self) -> None:
        try:
            found = await run_in_thread(self._read_state)
        except KartraMCPError:  # the page itself shows this error
            return
        if found != self._state:
            self._state = found
            self._wake_all()

    def _read_state(self) -> LedgerState:
        pending = self.ledger.approvals.pending_numbers()
        return LedgerState(pending, self.ledger.bulk_lookup.change_marker())

    def _wake_all(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    @contextmanager
    def _register_stream(self, session: Session) -> Generator[object]:
        """Count a stream; above `MAX_STREAMS` end the session's oldest, which reconnects later."""
        stream = object()
        session.streams.append(stream)
        del session.streams[:-MAX_STREAMS]
        self.listeners += 1
        self._wanted.set()
        self._wake_all()
        try:
            yield stream
        finally:
            self.listeners -= 1
            if stream in session.streams:
                session.streams.remove(stream)
            if not self.listeners:
                self._wanted = anyio.Event()


def format_events(before: LedgerState | None, now: LedgerState) -> str:
    """Return one event for each part that changed; `waiting` always first on a new stream.

    `bulk` is sent on a new stream too: a run may have changed since the page was rendered.
    """
    events: list[str] = []
    if before is None or before.pending != now.pending:
        payload = {
            "count": len(now.pending),
            "numbers": list(now.pending),
            "newest": max(now.pending, default=None),
        }
        events.append(_format_event("waiting", payload))
    if now.bulk != (before.bulk if before else ""):
        events.append(_format_event("bulk", {"marker": now.bulk}))
    return "".join(events)


def _format_event(name: str, payload: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(payload)}\n\n"


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
