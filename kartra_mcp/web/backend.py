"""Requests of the page that need Membrane: the status, and reconciling an unknown write.

The server's objects are built on first use, so that approving never waits for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.abc import TaskGroup

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.settings import Settings

if TYPE_CHECKING:
    from kartra_mcp.app.composition import App

STATUS_TTL = 5.0
"""Seconds for which a status is cached."""


class Backend(Protocol):
    """Requests of the page to a server."""

    async def get_status(self) -> Mapping[str, Any]:
        """Return the answer of `kartra_status`."""
        ...

    async def reconcile(self, intent: str) -> Mapping[str, Any]:
        """Read the account to find out whether an unknown write was executed."""
        ...


@dataclass(slots=True)
class ServerBackend:
    """The server's objects with the settings of this process; requests run one at a time."""

    settings: Settings
    tasks: TaskGroup
    _app: App | None = None
    _status: Mapping[str, Any] | None = None
    _status_at: float = 0.0
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def get_status(self) -> Mapping[str, Any]:
        """Return the answer of `kartra_status`, cached for `STATUS_TTL`."""
        async with self._lock:
            if self._status is None or time.monotonic() - self._status_at > STATUS_TTL:
                app = await self._get_app()
                self._status = await app.tools.get_status(self._make_deadline())
                self._status_at = time.monotonic()
            return self._status

    async def reconcile(self, intent: str) -> Mapping[str, Any]:
        """Read the account to find out whether an unknown write was executed.

        Raises:
            KartraMCPError: the read failed or gave no result. Nothing was settled.
        """
        async with self._lock:
            app = await self._get_app()
            return await app.tools.gateway.reconcile(intent, self._make_deadline())

    async def end(self) -> None:
        if self._app is not None:
            await self._app.close()

    def _make_deadline(self) -> Deadline:
        return Deadline.after(self.settings.timeout)

    async def _get_app(self) -> App:
        if self._app is not None:
            return self._app
        build_app = await run_in_thread(_import_build_app)
        self._app = app = build_app(self.settings)
        app.tools.account.start(self.tasks)
        # The page runs no calls, so its policy must not be recorded as a policy in force.
        (await run_in_thread(app.tools.gateway.writes)).opened = True
        return app


def _import_build_app() -> Callable[[Settings], App]:
    from kartra_mcp.app.composition import build_app

    return build_app
