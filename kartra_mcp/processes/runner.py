"""Runner of captured programs: bounds time and output, and ends the whole process group."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio
from anyio.abc import Process

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.processes.child import Child, WindowsChild

OUTPUT_LIMIT, STDERR_LIMIT = 32 * 1024 * 1024, 1024 * 1024
TERM_GRACE, KILL_GRACE, EOF_GRACE, POLL = 0.7, 0.5, 0.5, 0.02
LINUX_ARGUMENT, POSIX_COMMAND, WINDOWS_COMMAND = 128 * 1024, 900 * 1024, 32_000

if sys.platform == "win32":
    CREATION_FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
else:
    CREATION_FLAGS = 0


NO_PROGRAM = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ENOTDIR})

ALLOWED = frozenset(
    """
    HOME PATH LANG LC_ALL LC_CTYPE TMPDIR USER LOGNAME
    HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy
    SSL_CERT_FILE SSL_CERT_DIR NODE_EXTRA_CA_CERTS NODE_USE_ENV_PROXY NODE_USE_SYSTEM_CA
    REQUESTS_CA_BUNDLE
    XDG_CONFIG_HOME XDG_CACHE_HOME XDG_STATE_HOME XDG_DATA_HOME
    MEMBRANE_ACCESS_TOKEN MEMBRANE_WORKSPACE_KEY MEMBRANE_WORKSPACE_SECRET MEMBRANE_TENANT_KEY
    MEMBRANE_API_URI MEMBRANE_API_URL MEMBRANE_CONSOLE_URI MEMBRANE_TEST_CUSTOMER_ID MEMBRANE_TOKEN
    """.split()  # noqa: SIM905  shorter to read than a list of quoted names
)
"""Variables that a child gets from this environment, on every platform."""

ALLOWED_ON_WINDOWS = frozenset(
    """
    SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT APPDATA LOCALAPPDATA PROGRAMDATA PROGRAMFILES
    USERPROFILE HOMEDRIVE HOMEPATH TEMP TMP USERNAME
    """.split()  # noqa: SIM905  shorter to read than a list of quoted names
) | {name.upper() for name in ALLOWED}


# Without FORCE_COLOR: Node would warn on stderr that the two contradict each other.
EXTRA_ENV = {"NO_COLOR": "1", "NO_UPDATE_NOTIFIER": "1"}


class ProcessTimeout(TimeoutError):
    """The deadline passed; if the program had started, its group is gone."""


@dataclass(frozen=True, slots=True)
class CompletedProcess:
    """Result of a program. `overflow`: stdout exceeded the bound and the program was ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    overflow: bool


class Run(Protocol):
    """Type of `run`, and of its replacements in tests."""

    async def __call__(  # noqa: PLR0913  what a program needs, each by its name
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        deadline: float,
        limit: int = OUTPUT_LIMIT,
        on_start: Callable[[], None] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> CompletedProcess: ...


async def run(  # noqa: PLR0913  what a program needs, each by its name
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    deadline: float,
    limit: int = OUTPUT_LIMIT,
    on_start: Callable[[], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> CompletedProcess:
    """Run a program to its end; no process of its group outlives this call.

    `on_start` is called once the program has started. Before that nothing can have been executed,
    whatever is raised; after it, any exception leaves the outcome unknown.

    Args:
        command: the program and its arguments.
        env: all its variables.
        cwd: its working directory.
        deadline: a value of `anyio.current_time()`.
        limit: bytes of stdout at which the program is ended.
        on_start: called once, directly after the start.
        pass_fds: descriptors that the program inherits, such as the lock of its intent.

    Raises:
        RefusedError: nothing was started.
        ProcessTimeout: the program, if it had started, was ended.
    """
    validate_command(command)
    await anyio.lowlevel.checkpoint_if_cancelled()
    if anyio.current_time() >= deadline:
        raise ProcessTimeout
    out, err = _OutputBuffer(limit), _OutputBuffer(STDERR_LIMIT)
    if sys.platform == "win32":
        process = await _start_on_windows(command, env, cwd)
    else:
        process = Child(_start(command, env, cwd, pass_fds))
    try:
        if on_start is not None:
            on_start()
        await _wait(process, out, err, deadline)
    finally:
        await _end(process, env)
    exit_code = -1 if process.returncode is None else process.returncode
    return CompletedProcess(exit_code, bytes(out.kept), bytes(err.kept), out.over)


def is_too_large(command: Sequence[str], platform: str = sys.platform) -> bool:
    """Return True if the operating system would reject this command line."""
    if platform == "win32":
        return len(subprocess.list2cmdline(command)) > WINDOWS_COMMAND
    sizes = [len(word) + 1 for word in _encode(command)]
    if platform == "linux":
        return max(sizes) > LINUX_ARGUMENT
    return sum(sizes) > POSIX_COMMAND


def make_child_env(environment: Mapping[str, str], platform: str = sys.platform) -> dict[str, str]:
    """Return the variables for a child: the allowed part of `environment`, and `EXTRA_ENV`.

    An allow list, because a client's environment can hold credentials of other services.
    """
    if platform == "win32":
        shown = {k: v for k, v in environment.items() if k.upper() in ALLOWED_ON_WINDOWS}
    else:
        shown = {k: v for k, v in environment.items() if k in ALLOWED}
    return {**shown, **EXTRA_ENV}


@dataclass(slots=True)
class _OutputBuffer:
    """The first `limit` bytes of a stream; `on_over` is called once if there are more."""

    limit: int
    kept: bytearray = field(default_factory=bytearray)
    over: bool = False
    on_over: Callable[[], None] = lambda: None

    def keep(self, chunk: bytes) -> None:
        room = self.limit - len(self.kept)
        self.kept += chunk[:room]
        if len(chunk) > room and not self.over:
            self.over = True
            self.on_over()


def validate_command(command: Sequence[str]) -> None:
    """Raise for words that the system would reject; nothing was started."""
    if not _is_text(command):
        raise RefusedError(
            "invalid_arguments",
            "The arguments contain a character that cannot be passed to a program. "
            "Nothing was started.",
            "Remove NUL characters and broken Unicode.",
        )
    if is_too_large(command):
        raise _input_too_large_error()


def _input_too_large_error() -> RefusedError:
    return RefusedError(
        "input_too_large",
        "The arguments exceed the operating system's limit. Nothing was started.",
        "Split the call into smaller ones.",
    )


def _is_text(command: Sequence[str]) -> bool:
    try:
        return not any(b"\0" in word for word in _encode(command))
    except UnicodeEncodeError:
        return False


def _encode(command: Sequence[str]) -> list[bytes]:
    # UTF-8 under every locale: Node reads its arguments as UTF-8 everywhere.
    return [word.encode("utf-8", "surrogateescape") for word in command]


def _start(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, pass_fds: Sequence[int]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  ours to start
            _encode(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=str(cwd),
            env=env,
            start_new_session=True,
            pass_fds=pass_fds,
            bufsize=0,
        )
    except OSError as problem:
        raise start_error(problem, command[0], str(cwd)) from problem


async def _start_on_windows(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Process:
    # Shielded: a cancellation between the start and `on_start` would report nothing as started.
    with _shielded():
        try:
            return await anyio.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=str(cwd),
                env=env,
                creationflags=CREATION_FLAGS,
            )
        except OSError as problem:
            raise start_error(problem, command[0], str(cwd)) from problem


@contextmanager
def _shielded() -> Generator[None]:
    with anyio.CancelScope(shield=True):
        yield


def start_error(problem: OSError, program: str, cwd: str) -> RefusedError:
    """Return the refusal for a program that could not be started, with a remedy."""
    if problem.errno == errno.E2BIG:
        return _input_too_large_error()
    if problem.errno in NO_PROGRAM and problem.filename != cwd:
        return RefusedError(
            "program_missing",
            f"The program {program} does not exist or is not executable.",
            "Install it (`npm install -g @membranehq/cli`) or set KARTRA_MCP_MEMBRANE to it.",
        )
    name = errno.errorcode.get(problem.errno or 0, "an unknown error")
    return RefusedError(
        "internal_error",
        f"The operating system did not start the program ({name}).",
        "Repeat the call; if the error persists, restart the server.",
    )


async def _wait(
    process: Process | Child, out: _OutputBuffer, err: _OutputBuffer, deadline: float
) -> None:
    """Wait until the program has exited and its output is read, or until it must be ended."""
    if isinstance(process, Child):
        process.start_reading(out.keep, err.keep)
        await _wait_for_end(process, out, deadline)
    else:
        async with anyio.create_task_group() as tasks:
            drained = WindowsChild(process, tasks, out.keep, err.keep)
            await _wait_for_end(drained, out, deadline)
            tasks.cancel_scope.cancel()
    if process.returncode is None and not out.over:
        raise ProcessTimeout


async def _wait_for_end(child: Child | WindowsChild, out: _OutputBuffer, deadline: float) -> None:
    with anyio.CancelScope(deadline=deadline) as waiting:
        out.on_over = waiting.cancel
        await child.exited.wait()
    # Bounded: a grandchild that inherited the pipes may keep them open without end.
    if child.exited.is_set() and not child.drained.is_set():
        with anyio.move_on_after(EOF_GRACE):
            await child.drained.wait()


async def _end(process: Process | Child, env: Mapping[str, str]) -> None:
    """End the rest of the program's group, even if the caller was cancelled meanwhile."""
    if (
        isinstance(process, Child)
        and process.drained.is_set()
        and not _signal_group(process.pid, 0)
    ):
        process.close()  # the usual case: nothing is left to end or to wait for
        return
    with _shielded():
        if isinstance(process, Child):
            await _end_child(process)
        else:
            await _end_on_windows(process, env)


async def _end_child(child: Child) -> None:
    try:
        child.stop_reading()
        await _end_group(child.pid)
        if not child.has_ended():
            with anyio.move_on_after(KILL_GRACE):
                await child.exited.wait()
    finally:
        child.close()


async def _end_group(group: int) -> None:
    for number, grace in ((signal.SIGTERM, TERM_GRACE), (signal.SIGKILL, KILL_GRACE)):
        if not _signal_group(group, number):
            return
        with anyio.move_on_after(grace):
            while _is_group_running(group):  # noqa: ASYNC110  no event exists for a group's end
                await anyio.sleep(POLL)


def _signal_group(group: int, number: int) -> bool:
    """Return True if the group existed. macOS reports EPERM for a group of dead processes."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _is_group_running(group: int) -> bool:
    """Return True if the group has a live process. Containers can keep zombies for long."""
    if not _signal_group(group, 0):
        return False
    # Not one glob: it looks at each file, and raises for a process that ends meanwhile (ESRCH).
    stats = [process / "stat" for process in Path("/proc").glob("[0-9]*")]
    return not stats or any(_is_running_in(group, stat) for stat in stats)


def _is_running_in(group: int, stat: Path) -> bool:
    try:
        state, _, its_group = stat.read_bytes().rpartition(b")")[2].split()[:3]
    except OSError:
        return False
    return int(its_group) == group and state != b"Z"


async def _end_on_windows(process: Process, env: Mapping[str, str]) -> None:
    if process.returncode is None:
        root = env.get("SYSTEMROOT", r"C:\Windows")
        command = [rf"{root}\System32\taskkill.exe", "/T", "/F", "/PID", str(process.pid)]
        with anyio.move_on_after(TERM_GRACE + KILL_GRACE):
            await anyio.run_process(command, stdin=subprocess.DEVNULL, check=False)
            await process.wait()
    # A process that survives this hangs in the kernel; `aclose` would wait for it forever.
    if process.returncode is not None:
        await process.aclose()
