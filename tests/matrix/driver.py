"""The driver's side of replicas: start, call, stop, resume, kill, and what clients were told."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polling import wait_for

from matrix.history import Head

HERE = Path(__file__).parent


@dataclass
class Told:
    """One call and its answer; an answer that never came has `answer` None."""

    replica: str
    call: str
    tool: str
    arguments: Mapping[str, Any]
    began: float
    ended: float = 0.0
    answer: Mapping[str, Any] | None = None

    @property
    def error(self) -> Mapping[str, Any]:
        return (self.answer or {}).get("error", {})

    @property
    def code(self) -> str:
        """The code of the error; `done`, or `lost` where no answer came."""
        if self.answer is None:
            return "lost"
        return "done" if self.answer["ok"] else str(self.error["code"])

    @property
    def executed(self) -> str:
        if self.answer is None:
            return "unknown"
        return "yes" if self.answer["ok"] else str(self.error.get("executed", "unknown"))

    @property
    def result(self) -> Any:
        return (self.answer or {}).get("structured", {}).get("result")


class Nursery:
    """The process that forks replicas."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count()
        with (folder / "replicas.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "matrix.replica"],
                cwd=HERE.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", self.read_log()

    def start(self, name: str, config: Mapping[str, Any]) -> ReplicaHandle:
        """Fork a replica; return once it is built."""
        path = self.folder / f"{next(self._numbers)}.sock"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen(1)
            assert self.process.stdin is not None
            self.process.stdin.write(f"{path}\n".encode())
            self.process.stdin.flush()
            listening.settimeout(60)
            link, _ = listening.accept()
        path.unlink()
        return ReplicaHandle(name, link, config)

    def read_log(self) -> str:
        return (self.folder / "replicas.log").read_text()[-4000:]

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@dataclass(eq=False)
class ReplicaHandle:
    """One replica: its calls return at once, with a future of what its client is told."""

    name: str
    link: socket.socket
    config: Mapping[str, Any]
    told: list[Told] = field(default_factory=list)
    on_point: Callable[[str], None] | None = None
    pid: int = 0
    is_gone: bool = False
    is_paused: bool = False
    is_at_point: bool = False
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _waiting: dict[int, Future[Mapping[str, Any] | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._ready: Future[Mapping[str, Any] | None] = Future()
        self.link.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()
        self._send(self.config)
        assert self._ready.result(60) is not None

    def call(self, tool: str, **arguments: Any) -> Future[Told]:
        number = next(self._numbers)
        call = f"{self.name}-{number}"
        told = Told(self.name, call, tool, arguments, time.time())
        self.told.append(told)
        waiting = self._ask(number, tool=tool, arguments=arguments, client=call)
        done: Future[Told] = Future()

        def finish(answered: Future[Mapping[str, Any] | None]) -> None:
            told.ended, told.answer = time.time(), answered.result()
            done.set_result(told)

        waiting.add_done_callback(finish)
        return done

    def set_clock(self, seconds: float) -> None:
        """Set it wrong, as soon as it reads its socket: it may have stopped itself."""
        self._ask(next(self._numbers), clock=seconds)

    def stop_writes(self, stop: bool) -> None:  # noqa: FBT001  it reads like a switch
        """Let a person stop all writes of the account; with False, two persons resume them."""
        assert self._ask(next(self._numbers), stop=stop).result(60) is not None

    def sweep(self) -> str:
        """Let it compare run logs and ledger, as `team settle` does; return why it could not."""
        done = self._ask(next(self._numbers), sweep=True).result(60)
        return "the replica is gone" if done is None else str(done["problem"])

    def read_head(self) -> Head | None:
        """Return the highest head that it saw; None if it is gone."""
        found = self._ask(next(self._numbers), head=True).result(60)
        return None if found is None else Head(self.name, found["n"], found["hash"])

    def read_patches(self) -> dict[str, int]:
        """Return how often each patch of a seeded fault was called in it; {} if it is gone."""
        found = self._ask(next(self._numbers), patches=True).result(60)
        return {} if found is None else found["calls"]

    def arm(self, point: str) -> None:
        self._ask(next(self._numbers), arm=point).result(20)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        self.is_paused = True
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on. One that stops itself at a point may not have stopped yet."""
        self.is_paused = False
        with suppress(TimeoutError):
            wait_for(self._goes_on, within=20, every=0.05)

    def _goes_on(self) -> bool:
        self._signal(signal.SIGCONT)
        return not self.is_at_point or self.is_gone

    def close(self) -> None:
        self.kill()
        self.link.close()

    def _ask(self, number: int, **what: Any) -> Future[Mapping[str, Any] | None]:
        waiting: Future[Mapping[str, Any] | None] = Future()
        with self._lock:
            if self.is_gone:
                waiting.set_result(None)
                return waiting
            self._waiting[number] = waiting
        self._send({"id": number, **what})
        return waiting

    def _send(self, what: Mapping[str, Any]) -> None:
        with suppress(OSError):  # it is gone: its reader answers for it
            self.link.sendall(json.dumps(what).encode() + b"\n")

    def _signal(self, number: int) -> None:
        if self.pid and not self.is_gone:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _read(self) -> None:
        with suppress(OSError), self.link.makefile("rb") as lines:
            for line in lines:
                self._handle(json.loads(line))
        with self._lock:
            self.is_gone = True
            left = list(self._waiting.values())
            self._waiting.clear()
        if not self._ready.done():
            self._ready.set_result(None)
        for waiting in left:
            waiting.set_result(None)

    def _handle(self, said: Mapping[str, Any]) -> None:
        if "pid" in said:
            self.pid = said["pid"]
            self._ready.set_result(said)
        elif "point" in said:
            self.is_at_point = True
            if self.on_point is not None:
                # Not in this thread, which reads that it went on.
                threading.Thread(target=self.on_point, args=(said["point"],), daemon=True).start()
        elif "passed" in said:
            self.is_at_point = False
        elif "crashed" in said:
            sys.stderr.write(f"{self.name}: {said['crashed']}\n")
        else:
            with self._lock:
                waiting = self._waiting.pop(said["id"], None)
            if waiting is not None:
                waiting.set_result(said)
