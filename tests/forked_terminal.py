"""Programs of the fork server on a terminal of their own, for pexpect.

Each is a process that leads its session and is controlled by its terminal: Ctrl-C, end of input and
hang-up reach it as in a user's window. Only its imports were made before.
"""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect
from fork_server import request
from polling import wait_for
from ptyprocess import PtyProcess


class ForkedTerminal(PtyProcess):
    """The parent's end of the terminal, and the connection that tells the end of the program."""

    def __init__(
        self, words: Sequence[str], env: Mapping[str, str], folder: Path, size: tuple[int, int]
    ) -> None:
        ours, theirs = os.openpty()
        termios.tcsetwinsize(theirs, size)
        self._start = request(words, env, str(folder), [theirs] * 3)
        wait_for(lambda: os.tcgetpgrp(ours) > 0, within=60)
        os.close(theirs)
        super().__init__(os.tcgetpgrp(ours), ours)

    def isalive(self) -> bool:
        return self._is_alive(wait=False)

    def wait(self) -> int | None:
        self._is_alive(wait=True)
        return self.exitstatus

    def kill(self, sig: int) -> None:
        """Send a signal by the fork server, whose child it is."""
        if self.isalive():
            self._start.send(bytes([sig]))

    def _is_alive(self, *, wait: bool) -> bool:
        if self.terminated:
            return False
        self._start.setblocking(wait)
        try:
            told = self._start.recv(8)
        except BlockingIOError:
            return True
        self._start.close()
        code = int(told or -signal.SIGKILL)
        self.terminated = True
        self.exitstatus, self.signalstatus = (code, None) if code >= 0 else (None, -code)
        return False


class ForkedSpawn(pexpect.spawn):  # pyright: ignore[reportMissingTypeArgument]  no generic at run time
    """`pexpect.spawn` of a program of Python; the first word is Python itself."""

    def _spawnpty(self, args: list[bytes], **given: Any) -> ForkedTerminal:
        words = [word.decode() for word in args[1:]]
        size = given["dimensions"] or (24, 80)
        return ForkedTerminal(words, given["env"], given["cwd"], size)
