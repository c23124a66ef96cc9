"""Detached programs of this package, such as the approval page: started and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from kartra_mcp.processes.runner import start_error

if sys.platform == "win32":
    DETACHED_FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS


def start_detached(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path
) -> Callable[[], bool]:
    """Start a detached program; return a function that reports whether it still runs.

    It has its own session and inherits nothing: not stdio, and no lock of a running intent, which
    would keep that intent running for as long as it lives.

    Raises:
        RefusedError: nothing was started.
    """
    try:
        child = _popen_detached(command, dict(env), cwd)
    except OSError as problem:
        raise start_error(problem, command[0], "") from problem
    # Nothing else waits for the child, so that it would stay a zombie after its exit.
    threading.Thread(target=child.wait, daemon=True).start()
    return lambda: child.poll() is None


def _popen_detached(
    command: Sequence[str], env: dict[str, str], cwd: Path
) -> subprocess.Popen[bytes]:
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    start = partial(
        subprocess.Popen[bytes],
        command,
        env=env,
        cwd=cwd,
        stderr=subprocess.DEVNULL,
        **silent,
        close_fds=True,
    )
    if sys.platform != "win32":
        return start(start_new_session=True)
    try:  # leave the job object of the client, where allowed: its end would end the child
        return start(creationflags=DETACHED_FLAGS | subprocess.CREATE_BREAKAWAY_FROM_JOB)
    except OSError:
        return start(creationflags=DETACHED_FLAGS)


def stop_detached(process: int) -> None:
    """Stop a detached program; one that is gone is ignored."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, signal.SIGTERM)
