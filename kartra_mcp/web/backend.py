"""What only Membrane can tell the page: status, and what became of an unknown write.

The server's objects are made when first asked for: who only approves never waits for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.settings import Settings

if TYPE_CHECKING:
    from kartra_mcp.app.composition import App

STATUS_TTL = 5.0
"""Seconds for which a status is told again instead of asking anew."""


@dataclass(slots=True)
class ServerBackend:
    """Membrane, by the settings of this process, asked one thing at a time."""

    settings: Settings
    tasks: TaskGroup
    _made: App | None = None
    _told: Mapping[str, Any] | None = None
    _told_at: float = 0.0
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    async def get_status(self) -> Mapping[str, Any]:
        """What `kartra_status` tells."""
        async with self._turn:
            if self._told is None or time.monotonic() - self._told_at > STATUS_TTL:
                made = await self._get_app()
                self._told = await made.tools.get_status(self._make_deadline())
                self._told_at = time.monotonic()
            return self._told

    async def reconcile(self, intent: str) -> Mapping[str, Any]:
        """Look in the account whether an unknown write was done.

        Raises:
            KartraMCPError: nothing was found out, and nothing settled.
        """
        async with self._turn:
            made = await self._get_app()
            return await made.tools.gateway.reconcile(intent, self._make_deadline())

    async def end(self) -> None:
        if self._made is not None:
            await self._made.close()

    def _make_deadline(self) -> Deadline:
        return Deadline.after(self.settings.timeout)

    async def _get_app(self) -> App:
        if self._made is not None:
            return self._made
        compose = await run_in_thread(_import_build_app)
        self._made = made = compose(self.settings)
        made.tools.account.start(self.tasks)
        # By these settings nothing is run: they are no policy that came into force.
        (await run_in_thread(made.tools.gateway.writes)).opened = True
        return made


def _import_build_app() -> Callable[[Settings], App]:
    from kartra_mcp.app.composition import build_app

    return build_app
