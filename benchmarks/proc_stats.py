"""Process statistics from Linux; on other systems the figures are left out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def peak_memory(process: int) -> int | None:
    """Return the peak memory of the process in bytes."""
    return _status(process, "VmHWM:")


def memory(process: int) -> int | None:
    """Return the current memory of the process in bytes."""
    return _status(process, "VmRSS:")


def forget_peak(process: int) -> None:
    """Reset the peak that `peak_memory` returns."""
    try:
        Path(f"/proc/{process}/clear_refs").write_text("5")
    except OSError:
        return


def processor_time(process: int) -> float | None:
    """Return the processor seconds of the process, without its children."""
    try:
        words = _stat(Path(f"/proc/{process}/stat"))
    except OSError:
        return None
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def open_files(process: int) -> int | None:
    return _entries(Path(f"/proc/{process}/fd"))


def threads(process: int) -> int | None:
    return _entries(Path(f"/proc/{process}/task"))


def children(process: int) -> int | None:
    """Count the child processes, zombies included."""
    if not Path("/proc/self/stat").exists():
        return None
    processes = Path("/proc").glob("[0-9]*")
    return sum(_parent(each / "stat") == process for each in processes)


def _parent(stat: Path) -> int:
    try:
        return int(_stat(stat)[1])
    except OSError:
        return 0


def _stat(file: Path) -> Sequence[str]:
    """Return the fields after the name (which may contain anything): state, parent and so on."""
    return file.read_text().rpartition(")")[2].split()


def _status(process: int, name: str) -> int | None:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _entries(folder: Path) -> int | None:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return None
