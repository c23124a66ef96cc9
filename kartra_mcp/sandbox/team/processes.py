"""Programs of a rehearsed team: the API of each account, and the replicas of the service."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO

START_SECONDS = 60.0
END_SECONDS = 10.0
_POLL_SECONDS = 0.05


class ProcessFailedError(Exception):
    """A program did not start; the text has the end of its log."""


@dataclass(slots=True)
class Program:
    """A running program of this Python, whose errors go into a file."""

    process: subprocess.Popen[str]
    log: Path

    def kill(self) -> None:
        """End it without warning, as a machine that fails."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ask it to end; kill it if it does not."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def read_end_of_log(self) -> str:
        return self.log.read_text("utf-8", "replace")[-2_000:]


@contextmanager
def running_program(
    words: Sequence[str], environment: Mapping[str, str], log: Path
) -> Generator[Program]:
    """Run `python -P -m WORDS` until the end of the block."""
    with log.open("ab") as errors:
        program = Program(_start(words, environment, errors), log)
    try:
        yield program
    finally:
        program.end()
        assert program.process.stdout is not None  # noqa: S101  it is a pipe
        program.process.stdout.close()


def _start(
    words: Sequence[str], environment: Mapping[str, str], errors: IO[bytes]
) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603  this Python, and our own modules
        # -P: a file in the current folder must not be imported as a module.
        [sys.executable, "-P", "-m", *words],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C ends the demo, which then ends them in order
    )


def read_first_line(program: Program) -> dict[str, str]:
    """Return the line of JSON that a program prints when it is ready.

    Raises:
        ProcessFailedError: it ended before.
    """
    assert program.process.stdout is not None  # noqa: S101  it is a pipe
    line = program.process.stdout.readline()
    try:
        return json.loads(line)
    except ValueError:
        raise ProcessFailedError(program.read_end_of_log()) from None


def wait_until_ready(program: Program, url: str) -> None:
    """Wait until an address answers with 200.

    Raises:
        ProcessFailedError: the program ended, or its time is over.
    """
    _wait_until(program, partial(_is_ready, url))


def wait_until_listening(program: Program, port: int) -> None:
    """Wait until a port of loopback accepts connections; raises as `wait_until_ready`."""
    _wait_until(program, partial(_is_listening, port))


def _wait_until(program: Program, check: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while not check():
        if program.process.poll() is not None or time.monotonic() > ends_at:
            raise ProcessFailedError(program.read_end_of_log())
        time.sleep(_POLL_SECONDS)


def _is_listening(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  loopback
            return answer.status == HTTPStatus.OK
    except (urllib.error.URLError, OSError):
        return False
