"""Programs for the user: one that takes over the terminal, and a browser."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kartra_mcp.processes.runner import (
    POLL,
    TERM_GRACE,
    ProcessTimeout,
    make_child_env,
    start_error,
    validate_command,
)
from kartra_mcp.processes.signals import termination_handler

INTERACTIVE_ENV_VARS = frozenset(
    """
    TERM COLORTERM NO_COLOR DISPLAY WAYLAND_DISPLAY XAUTHORITY XDG_RUNTIME_DIR XDG_CURRENT_DESKTOP
    DBUS_SESSION_BUS_ADDRESS BROWSER
    """.split()  # noqa: SIM905  shorter to read than a list of quoted names
)
"""Variables that an interactive program gets in addition."""


def interactive_env(environment: Mapping[str, str], platform: str = sys.platform) -> dict[str, str]:
    """Return the environment of an interactive program, with terminal and display variables."""
    more = {name: value for name, value in environment.items() if name in INTERACTIVE_ENV_VARS}
    allowed = make_child_env(environment, platform)
    del allowed["NO_COLOR"]
    return {**allowed, **more}


def filter_npm_env(environment: Mapping[str, str]) -> dict[str, str]:
    """Return npm's settings, for npm only: they may contain a registry's token."""
    return {n: v for n, v in environment.items() if n.lower().startswith("npm_config_")}


def run_interactive(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, seconds: float
) -> int:
    """Run a program on the user's terminal; return its exit status, negative for a signal.

    The program stays in this process group: Ctrl-C and a closed terminal reach both processes, and
    a browser that the program opened is not ended. A signal that stops this process ends the
    program, and the terminal is restored.

    Raises:
        RefusedError: nothing was started.
        ProcessTimeout: the program was ended after `seconds`.
        KeyboardInterrupt: a signal arrived; the program was ended.
    """
    validate_command(command)
    with _restore_terminal(), _record_signals() as stops:
        try:
            child = subprocess.Popen(command, env=env, cwd=str(cwd))  # noqa: S603  ours to start
        except OSError as problem:
            raise start_error(problem, command[0], str(cwd)) from problem
        try:
            in_time = _wait_for_child(child, stops, seconds) or bool(stops)
        finally:
            _end_child(child, stops)
    if stops:
        raise KeyboardInterrupt
    if not in_time:
        raise ProcessTimeout
    return child.returncode


def open_in_browser(address: str) -> bool:
    """Return True if a browser accepted the address; wait for a browser in the terminal."""
    import webbrowser

    try:
        return webbrowser.open(address)
    except (webbrowser.Error, OSError):
        return False


@contextmanager
def _restore_terminal() -> Generator[None]:
    """Restore the terminal: a killed program may leave it without echo."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    import termios

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        # The terminal may be closed by now.
        with suppress(termios.error, OSError):
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextmanager
def _record_signals() -> Generator[list[int]]:
    """Record signals instead of raising.

    An exception of a second signal would interrupt the ending of the program for the first one.
    """
    stops: list[int] = []
    with termination_handler(lambda number, _: stops.append(number)):
        yield stops


def _wait_for_child(child: subprocess.Popen[bytes], stops: list[int], seconds: float) -> bool:
    """Return whether the program exited within the time-out; a signal ends the wait."""
    end, so_far = time.monotonic() + seconds, len(stops)
    while child.poll() is None and len(stops) == so_far and time.monotonic() < end:
        with suppress(subprocess.TimeoutExpired):
            child.wait(POLL)
    return child.poll() is not None


def _end_child(child: subprocess.Popen[bytes], stops: list[int]) -> None:
    """End the program. Ctrl-C reached it too, so it first gets time to exit by itself.

    A further signal shortens that time.
    """
    for end, grace in ((lambda: None, TERM_GRACE), (child.terminate, TERM_GRACE), (child.kill, 5)):
        if child.poll() is not None:
            return
        end()
        _wait_for_child(child, stops, grace)
