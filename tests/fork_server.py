"""Processes of the server that need not import everything again: most of a start is imports.

One process for each worker of the tests imports the server and forks at each request. What it
forks is a process as any other, with its own id, session, descriptors, environment and locks, and
it can be killed. `start_forked.py` makes the request. Tests whose subject is the start itself, or
what is printed or held in memory then, start Python instead.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import marshal
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FrameType

TESTS = Path(__file__).parent
START = TESTS / "start_forked.py"
IMPORTED = (
    "in_process",
    "aiohttp",
    "anyio._backends._asyncio",
    "jsonschema",
    "kartra_mcp.app.composition",
    "kartra_mcp.app.page_launcher",
    "kartra_mcp.argument_parser",
    "kartra_mcp.bulk.service",
    "kartra_mcp.calls.argument_checks",
    "kartra_mcp.calls.writes",
    "kartra_mcp.cli.approve",
    "kartra_mcp.cli.bulk",
    "kartra_mcp.cli.main",
    "kartra_mcp.cli.page",
    "kartra_mcp.cli.serve",
    "kartra_mcp.cli.setup",
    "kartra_mcp.core.secret_patterns",
    "kartra_mcp.kartra.request_guard",
    "kartra_mcp.ledger.postgres.store",
    "kartra_mcp.ledger.sqlite.store",
    "kartra_mcp.membrane.http_transport",
    "kartra_mcp.onboarding.doctor.command",
    "kartra_mcp.sandbox.cli",
    "kartra_mcp.server.stdio",
    "kartra_mcp.server.streams",
    "kartra_mcp.settings",
    "kartra_mcp.web.server",
)
"""Modules that a server, the doctor or the sandbox imports, in the fork server once.

What a server imports at its first call is most of its time too.
"""


def forked(*words: str) -> list[str]:
    """Return a command that runs Python with these words, forked where processes can be."""
    if sys.platform == "win32":
        return [sys.executable, *words]
    return [sys.executable, "-I", "-S", str(START), _address(), *words]


def request(
    words: Sequence[str], environment: Mapping[str, str], folder: str, descriptors: Sequence[int]
) -> socket.socket:
    """Start a program with these descriptors as its first; return what tells its end.

    That connection takes numbers of signals for the program, and kills it when it is closed.
    """
    start = socket.socket(socket.AF_UNIX)
    start.connect(_address())
    body = marshal.dumps(([*words], {**environment}, folder))
    socket.send_fds(start, [len(body).to_bytes(4, "big")], [*descriptors])
    start.sendall(body)
    return start


@cache
def _address() -> str:
    """Return the socket of this process's fork server, which ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="forks-")
    address = f"{folder.name}/socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        process = subprocess.Popen(
            [sys.executable, __file__, str(listening.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=TESTS.parent,
            env={"PATH": os.defpath},
            pass_fds=[listening.fileno()],
        )

    def end() -> None:
        process.communicate()
        folder.cleanup()

    atexit.register(end)
    return address


@dataclass
class Request:
    """A program to fork: Python's words, and what a process has from its parent."""

    words: list[str]
    environment: dict[str, str]
    folder: str
    descriptors: list[int]

    def run(self) -> None:
        """Run the program in this process as Python's command line does, and end this process."""
        try:
            self._run_main()
        except SystemExit as ended:
            if isinstance(ended.code, str):  # which Python prints
                raise
            _end(ended.code or 0)
        _end(0)

    def _run_main(self) -> None:
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        _open_streams()
        if self.words[0] == "-m":
            sys.argv = self.words[1:]
            runpy.run_module(self.words[1], run_name="__main__", alter_sys=True)
        elif self.words[0] == "-c":
            sys.argv = ["-c", *self.words[2:]]
            exec(self.words[1], {"__name__": "__main__"})
        else:
            sys.argv = self.words
            runpy.run_path(self.words[0], run_name="__main__")


@dataclass
class ForkServer:
    """Forks at requests, and tells each start how its program ended."""

    listening: socket.socket
    starts: dict[int, socket.socket] = field(default_factory=dict[int, socket.socket])
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def serve(self) -> Request | None:
        """Fork until stdin is closed; return the request in each process that was forked."""
        woken, wakes = socket.socketpair()
        wakes.setblocking(False)
        signal.signal(signal.SIGCHLD, _wake)
        signal.set_wakeup_fd(wakes.fileno())
        for file in (self.listening, woken, 0):
            self.selector.register(file, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj == 0:
                    return self._kill_all()
                if key.fileobj is woken:
                    woken.recv(4096)
                    self._reap()
                elif key.fileobj is not self.listening:
                    self._forward(key.data)
                elif (request := self._fork()) is not None:
                    woken.close()
                    wakes.close()
                    return request

    def _fork(self) -> Request | None:
        start, _ = self.listening.accept()
        request = _receive(start)
        if request is None:
            start.close()
            return None
        pid = os.fork()
        if pid == 0:
            start.close()
            self._leave(request)
            return request
        for descriptor in request.descriptors:
            os.close(descriptor)
        self.starts[pid] = start
        self.selector.register(start, selectors.EVENT_READ, pid)
        return None

    def _leave(self, request: Request) -> None:
        """Hold nothing of the fork server, and only what the request gives."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        self.selector.close()
        for held in (self.listening, *self.starts.values()):
            held.close()
        for number, descriptor in enumerate(request.descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        with suppress(OSError):  # it is no terminal, or that of another session
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with self.starts.pop(ended[0]) as start:
                    if start in self.selector.get_map():
                        self.selector.unregister(start)
                    with suppress(OSError):
                        start.send(str(os.waitstatus_to_exitcode(ended[1])).encode())

    def _forward(self, pid: int) -> None:
        """Send the signals that a start received; a start that was killed kills."""
        if (start := self.starts.get(pid)) is None:
            return
        try:
            numbers = start.recv(64)
        except ConnectionError:
            numbers = b""
        if not numbers:
            self.selector.unregister(start)
        for number in numbers or (signal.SIGKILL,):
            os.kill(pid, number)

    def _kill_all(self) -> None:
        for pid in self.starts:
            os.kill(pid, signal.SIGKILL)


def _end(code: int) -> None:
    """End as Python does, but leave the modules: each would be copied to be taken apart."""
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120  # as Python's own
    os._exit(code)


def _open_streams() -> None:
    """Open stdout and stderr again: a stream keeps if its file was seekable when it was opened."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        old = getattr(sys, name)
        stream = open(  # noqa: SIM115  open until the end
            number, "w", encoding=old.encoding, errors=old.errors, closefd=False
        )
        stream.reconfigure(line_buffering=number == 2 or stream.isatty())
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Let the signal write to the descriptor that wakes the loop."""


def _receive(start: socket.socket) -> Request | None:
    """Return the request of a start; None if that was killed before it had sent all."""
    head, descriptors, _, _ = socket.recv_fds(start, 4, 3)
    with start.makefile("rb") as file:
        body = file.read(int.from_bytes(head, "big"))
    try:
        words, environment, folder = marshal.loads(body)
    except EOFError:
        return None
    return Request(words, environment, folder, descriptors)


def main(descriptor: int) -> None:
    sys.path.insert(0, str(TESTS.parent))
    for name in IMPORTED:
        import_module(name)
    assert threading.active_count() == 1
    gc.freeze()
    request = ForkServer(socket.socket(fileno=descriptor)).serve()
    if request is not None:
        request.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
