"""Notices of requests for approval, sent behind the calls: none of them waits or fails for one."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import anyio

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.notice_log import SENT, NoticeLog
from kartra_mcp.service.observer import NoticeEvent
from kartra_mcp.team.loading import Team
from kartra_mcp.team.notice import Notice
from kartra_mcp.team.webhook import NoticeFailed, Webhook

MAX_WAITING = 1_000
"""Notices that wait for the webhook; one above it is not sent."""
MAX_KNOWN = 10_000
"""Requests of which is remembered that their notice was sent, to spare the database."""
END_SECONDS = 5.0
"""Seconds that the notices have which wait when the replica ends."""


@dataclass(slots=True)
class Notices:
    """The notices of one replica, sent one after another. Each is sent once by all replicas.

    A repeated call announces its request again, so that a notice which nobody claimed, e.g. because
    the database could not be reached, is sent then.
    """

    webhook: Webhook
    log: NoticeLog
    observe: Callable[[NoticeEvent], None]
    _waiting: deque[Notice] = field(default_factory=deque[Notice])
    _known: OrderedDict[tuple[str, int], None] = field(
        default_factory=OrderedDict[tuple[str, int], None]
    )
    _wake: anyio.Event = field(default_factory=anyio.Event)
    _ended: anyio.Event = field(default_factory=anyio.Event)
    _is_ending: bool = False

    @classmethod
    def of(
        cls, team: Team, connections: Connections, observe: Callable[[NoticeEvent], None]
    ) -> Notices | None:
        """Return the notices of a team file; None if it names no webhook.

        Raises:
            RefusedError: the file of the address cannot be used.
        """
        webhook = Webhook.of(team)
        return None if webhook is None else cls(webhook, NoticeLog(connections), observe)

    def add(self, notice: Notice) -> None:
        """Send a notice soon; return at once."""
        key = notice.account, notice.number
        if key in self._known:
            return
        if len(self._waiting) >= MAX_WAITING:
            self.observe(NoticeEvent(*key, "too many wait"))
            return
        self._remember(key)
        self._waiting.append(notice)
        self._wake.set()

    async def run(self) -> None:
        """Send what is added, until `end` or a cancel."""
        while self._waiting or not self._is_ending:
            if self._waiting:
                await self._send(self._waiting.popleft())
            else:
                self._wake = anyio.Event()
                await self._wake.wait()
        self._ended.set()

    async def end(self) -> None:
        """Wait until what waits was sent, for a bounded time. `run` ends."""
        self._is_ending = True
        self._wake.set()
        with anyio.move_on_after(END_SECONDS):
            await self._ended.wait()

    async def _send(self, notice: Notice) -> None:
        """Claim and send a notice. Its fault is logged and ends nothing else."""
        key = notice.account, notice.number
        try:
            if not await run_in_thread(self.log.claim, *key):
                return
        except KartraMCPError as problem:
            self._known.pop(key, None)
            self.observe(NoticeEvent(*key, problem.code))
            return
        reason = await self._deliver(notice)
        self.observe(NoticeEvent(*key, reason))
        with suppress(KartraMCPError):  # `team check` then shows that no outcome is known
            await run_in_thread(self.log.record, *key, reason or SENT)

    async def _deliver(self, notice: Notice) -> str:
        """Return why a notice was not delivered, or ""."""
        try:
            await self.webhook.send(notice)
        except NoticeFailed as problem:
            return problem.reason
        except Exception as error:  # noqa: BLE001  of a library: it must not end the replica
            return type(error).__name__
        return ""

    def _remember(self, key: tuple[str, int]) -> None:
        while len(self._known) >= MAX_KNOWN:
            self._known.popitem(last=False)
        self._known[key] = None
