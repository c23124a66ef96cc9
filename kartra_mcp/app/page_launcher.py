"""Login address of the page for a call that needs approval; starts the page if none runs.

The page is a process of its own and outlives the chat: the user may come to it hours later.
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
"""Seconds that a call waits for a page to start; without a page the user approves in a terminal."""

RETRY_SECONDS = 60.0
"""Seconds between a failed start and the next: each start delays a call and may leave a process."""


@dataclass(slots=True)
class PageLauncher:
    """Finder and starter of the page for one server's settings.

    Simultaneous calls start only one page.
    """

    settings: Settings
    _failed_at: float | None = None
    _alone: threading.Lock = field(default_factory=threading.Lock)

    def get_url(self, seconds: float) -> str:
        """Return an address that admits one browser, once; "" if no page can be reached.

        Args:
            seconds: time limit.
        """
        if not self.settings.page:
            return ""
        until = time.monotonic() + min(seconds, START_TIMEOUT)
        try:
            page = find_page(self.settings.state_dir) or self._start_or_wait(until)
        except (KartraMCPError, OSError):  # unwritable folder, missing program
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
        """Start a page with the same settings; two simultaneous starts find the same page."""
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
