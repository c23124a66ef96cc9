"""Runs a command of ours as a function of this process: words in, finished process out.

Same words, environment, bytes and exit status as `python -m kartra_mcp`, without the start of an
interpreter. Not for what only a process has: signals, a terminal of its own, an ending by force.
"""

from __future__ import annotations

import io
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from kartra_mcp.cli.main import run_named_command
from kartra_mcp.core.surroundings import Surroundings, surrounded

ROOT = Path(__file__).parent.parent

Command = Callable[[Sequence[str]], int]


def run(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    said: str = "",
    command: Command = run_named_command,
) -> subprocess.CompletedProcess[str]:
    """Run a command of the console script to its end.

    Args:
        words: after the program's name.
        env: all of its environment.
        cwd: where it is run.
        said: the content of its stdin, a pipe.
        command: instead of the console script's, where a runner of programs is given to it.
    """
    out, err = io.BytesIO(), io.BytesIO()
    stdin = io.TextIOWrapper(io.BytesIO(said.encode()), "utf-8", "surrogateescape")
    stdout = io.TextIOWrapper(out, "utf-8", "surrogateescape", write_through=True)
    stderr = io.TextIOWrapper(err, "utf-8", "backslashreplace", write_through=True)
    around = Surroundings(dict(env), stdin, stdout, stderr)
    with chdir(cwd), surrounded(around):
        code = _ended(command, words, stderr)
    texts = [stream.getvalue().decode("utf-8") for stream in (out, err)]
    return subprocess.CompletedProcess(["kartra-mcp", *words], code, *texts)


def run_process(
    words: Sequence[str], *, env: Mapping[str, str], cwd: Path = ROOT, said: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command as a process: a command's one real start, and what only a process has."""
    return subprocess.run(
        [sys.executable, "-m", "kartra_mcp", *words],
        input=said,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=dict(env),
        timeout=60,
    )


def _ended(command: Command, words: Sequence[str], stderr: Any) -> int:
    """The exit status, as the interpreter makes it of what comes out of `main`."""
    try:
        return command(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Exception:  # noqa: BLE001  as the interpreter ends
        traceback.print_exc(file=stderr)
        return 1
