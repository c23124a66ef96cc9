"""Client timeouts, measured with an answer that the wire holds back in silence.

The server itself ends a call after 50 seconds by default (KARTRA_MCP_TIMEOUT).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clients import trace
from clients.drive import Library, started
from clients.place import Place
from clients.record import Run

HOLD = 70
"""Seconds; above the 60 that are usual."""
AT_ONCE = 4
CALL = ("slow", "kartra_status", {})


def wait_out(libraries: Iterable[Library], runs: dict[str, Run]) -> None:
    """Fill `waits` of the runs that worked, a few clients at a time."""
    able = [one for one in libraries if one.name in runs and not runs[one.name].failed]
    able = [one for one in able if not runs[one.name].not_run]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for library, waits in zip(able, pool.map(patience, able), strict=True):
            runs[library.name].waits = waits


def patience(library: Library) -> str:
    """Return `at least 70 s`, or the seconds after which the client gave up."""
    with tempfile.TemporaryDirectory(prefix="kartra-mcp-client-") as folder:
        here = Place(f"{library.name}/slow", Path(folder) / "state", hold=HOLD).ready()
        started(library, library.environment, here, (CALL,))
        return told(trace.silence(trace.read(here.log), CALL[1]))


def told(seconds: float | None) -> str:
    """Format the timeout; None if the call never reached the server."""
    if seconds is None:
        return "not known"
    return f"at least {HOLD} s" if seconds > HOLD - 1 else f"{seconds:.0f} s"
