"""Temporary folders of tests in memory: a ledger syncs each write, and no test is about a disk."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

MEMORY = Path("/dev/shm")
PLACE = "PYTEST_DEBUG_TEMPROOT"
"""Pytest's variable for the parent of its temporary folders."""
MIN_FREE_BYTES = 2 << 30
"""A container's may have 64 MiB."""


def use_memory(environment: MutableMapping[str, str]) -> None:
    """Let pytest make its folders in memory, unless there is little or its place is named."""
    if {PLACE, "TMPDIR"}.isdisjoint(environment) and _is_usable():
        environment[PLACE] = str(MEMORY)


def _is_usable() -> bool:
    if sys.platform != "linux" or not os.access(MEMORY, os.W_OK):
        return False
    found = os.statvfs(MEMORY)
    runs_programs = not found.f_flag & os.ST_NOEXEC
    return runs_programs and found.f_bavail * found.f_frsize >= MIN_FREE_BYTES
