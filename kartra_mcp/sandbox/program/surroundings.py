"""Inputs and outputs of one start of the program: environment and standard streams."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple, TextIO


class Surroundings(NamedTuple):
    """Environment and streams of one start.

    No dataclass: the import of `dataclasses` would be a fifth of each start of the program.
    """

    environment: Mapping[str, str]
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO

    def home(self) -> str:
        """The user's home folder."""
        name = "USERPROFILE" if os.name == "nt" else "HOME"
        return self.environment.get(name) or os.path.expanduser("~")  # noqa: PTH111


def of_this_process() -> Surroundings:
    return Surroundings(os.environ, sys.stdin, sys.stdout, sys.stderr)
