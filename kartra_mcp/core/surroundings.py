"""Environment and streams of one command: given ones, or those of this process.

They are a context variable instead of an argument of every function: about thirty modules print or
prompt, most of them called by functions that use no streams. The variable is set in one place,
where a command begins, and the command's tasks and threads inherit it.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Environment and streams of a command.

    Attributes:
        environment: the variables, also used to find the home folder.
        stdin: None if it was closed at the start.
        stdout: the requested output.
        stderr: problems and progress.
        read_line: shows a question and returns the typed line; EOFError at the end.
        read_secret: shows a question and returns a line that was typed without echo.
    """

    environment: Mapping[str, str]
    stdin: TextIO | None
    stdout: TextIO
    stderr: TextIO
    read_line: Callable[[str], str] = input
    read_secret: Callable[[str], str] = getpass.getpass

    @property
    def is_terminal(self) -> bool:
        """True if neither end is a pipe or a file."""
        return all(_is_terminal(stream) for stream in (self.stdin, self.stdout))


_GIVEN: ContextVar[Surroundings | None] = ContextVar("surroundings", default=None)


def surroundings() -> Surroundings:
    """Return the surroundings of the running command, else those of this process."""
    return _GIVEN.get() or Surroundings(os.environ, sys.stdin, sys.stdout, sys.stderr)


@contextmanager
def surrounded(by: Surroundings | None) -> Generator[None]:
    """Run the block with the given surroundings; None means those of this process."""
    before = _GIVEN.set(by)
    try:
        yield
    finally:
        _GIVEN.reset(before)


def expand_home(path: str) -> Path:
    """Return a typed path with `~` replaced by the home folder of the environment."""
    home = surroundings().environment.get("HOME")
    if home and sys.platform != "win32" and (path == "~" or path.startswith("~/")):
        return Path(home + path[1:])
    return Path(os.path.expanduser(path))  # noqa: PTH111  keeps `~name` of an unknown user


def _is_terminal(stream: TextIO | None) -> bool:
    # None if it was closed at the start.
    return stream is not None and not stream.closed and stream.isatty()
