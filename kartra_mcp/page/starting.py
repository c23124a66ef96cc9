"""An address of the page for a call that waits for a person; the page is started where none runs.

It is a process of its own and outlives the chat: a person may come to it hours later.
"""

from __future__ import annotations

import sys
import time

from kartra_mcp.errors import KartraMCPError
from kartra_mcp.page.address import Page, found
from kartra_mcp.process import start_apart
from kartra_mcp.settings import Settings

PATIENCE, POLL = 5.0, 0.05
"""Seconds that a call waits for a page to begin: without it there is still the terminal."""


def link(settings: Settings) -> str:
    """An address that lets somebody in once; "" where there is no page, for whatever reason."""
    if not settings.page:
        return ""
    try:
        page = found(settings.state_dir) or _started(settings)
    except (KartraMCPError, OSError):  # a folder that cannot be written, a program that is gone
        return ""
    return page.address(time.time()) if page else ""


def _started(settings: Settings) -> Page | None:
    """The same settings, as environment. Of two that begin at once, one serves and both find it."""
    command = (sys.executable, "-P", "-m", "kartra_mcp", "page", "--no-browser")
    runs = start_apart(command, env={**settings.environment, **settings.said})
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ended = not runs()
        page = found(settings.state_dir)
        if page is not None or ended:
            return page
        time.sleep(POLL)
    return None
