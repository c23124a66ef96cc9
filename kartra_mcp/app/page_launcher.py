"""An address of the page for a call that waits for a person; the page is started where none runs.

It is a process of its own and outlives the chat: a person may come to it hours later.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field

from kartra_mcp.app.page_discovery import PageEndpoint, find_page
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.processes.detached import start_detached
from kartra_mcp.settings import Settings

START_TIMEOUT, POLL = 15.0, 0.05
"""Seconds that a call waits for a page to begin: without it there is still the terminal."""

RETRY_SECONDS = 60.0
"""Seconds after a start in vain before the next: a call would wait, and leave one more process."""


@dataclass(slots=True)
class PageLauncher:
    """The page of one server's settings; calls at the same time start one."""

    settings: Settings
    _failed_at: float | None = None
    _alone: threading.Lock = field(default_factory=threading.Lock)

    def get_url(self, seconds: float) -> str:
        """An address that lets somebody in once; "" where there is no page, for whatever reason.

        Args:
            seconds: that this may take.
        """
        if not self.settings.page:
            return ""
        until = time.monotonic() + min(seconds, START_TIMEOUT)
        try:
            page = find_page(self.settings.state_dir) or self._start_or_wait(until)
        except (KartraMCPError, OSError):  # a folder that cannot be written, a program that is gone
            return ""
        return page.make_login_url(time.time()) if page else ""

    def _start_or_wait(self, until: float) -> PageEndpoint | None:
        if not self._alone.acquire(timeout=max(until - time.monotonic(), 0)):
            return None
        try:
            page = find_page(self.settings.state_dir)
            if page is None and not self._has_failed_recently():
                page = self._start(until)
                self._failed_at = None if page else time.monotonic()
            return page
        finally:
            self._alone.release()

    def _has_failed_recently(self) -> bool:
        return self._failed_at is not None and time.monotonic() - self._failed_at < RETRY_SECONDS

    def _start(self, until: float) -> PageEndpoint | None:
        """With the same settings, as environment; where two begin at once both find the one."""
        command = (sys.executable, "-P", "-m", "kartra_mcp", "page", "--no-browser")
        env = {**self.settings.environment, **self.settings.explicit}
        runs = start_detached(command, env=env, cwd=self.settings.state_dir)
        while time.monotonic() < until:
            ended = not runs()
            page = find_page(self.settings.state_dir)
            if page is not None or ended:
                return page
            time.sleep(POLL)
        return None
