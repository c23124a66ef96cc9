"""The real server that stops itself: `paused_server.py POINT SECONDS`, until a test continues it.

POINT is one of `fault_server.py`; SECONDS is how long a write may be sent. The server appends its
process id to `paused` in the state folder before it stops.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import fault_server

from kartra_mcp.app import composition
from kartra_mcp.cli.main import main
from kartra_mcp.core.timings import CallTimings, WriteTimings


class Pause(fault_server.Fault):
    """A fault that stops the process instead of killing it."""

    def die(self) -> None:
        with (self.folder / "paused").open("a") as file:
            file.write(f"{os.getpid()}\n")
        os.kill(os.getpid(), signal.SIGSTOP)


def with_timings(real: Any, seconds: float) -> Any:
    return partial(real, timings=CallTimings(writes=WriteTimings(send_seconds=seconds)))


if __name__ == "__main__":
    fault_server.install(Pause(sys.argv[1], 1, 0.0))
    send_seconds = float(sys.argv[2])
    fault_server.wrap(composition, "build_app", lambda real: with_timings(real, send_seconds))
    main(["serve"])
