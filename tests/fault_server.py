"""The real server that kills itself: `fault_server.py POINT N DELAY` ends at the N-th POINT.

The package has no hook for it: its parts are wrapped here, in this process, before it serves.
DELAY (seconds) is for the points during the program's run.

preview            before the facts are read; the second is before they are read again
minted             a confirmation id is on disk, and was not sent
before_begin       agreed to, nothing recorded
begin_uncommitted  the intent's line is written, not committed
begin_committed    committed, the head not written
begin_torn         committed, half of the head written
begun              all of the intent is on disk
before_start       right before the program's start, or the request to Membrane's API
started            right after it; of a request, before its first byte
running            DELAY after the start
program_first      DELAY after the start, its program killed before it
program_alone      DELAY after the start the program is killed; the server lives
answered           the program's answer was read, nothing recorded
finish_uncommitted, finish_committed, finish_torn: as above, of the outcome
finished           the outcome is on disk
answering          the answer was made, and is not sent
fsync              before the N-th time that anything is made durable

On the ledger of a team, which has no file of the head:
begin_sent, finish_sent: the COMMIT was sent, and its answer is not read

Of a bulk run:
listed             its items are on disk, unchecked
checked            checks of some items are on disk
sealed             its exact items are fixed
agreed             the consent to it is on disk
claimed            some items are claimed, none of them began
noted              outcomes of items are noted
ended              its end is on disk

Beside a server that dies:
waits              before its N-th start of a write and each later one it waits for `go_on`
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from polling import until

from kartra_mcp.app import composition
from kartra_mcp.cli.main import main
from kartra_mcp.consent import subject
from kartra_mcp.ledger import admission
from kartra_mcp.ledger.bulk_runs import BulkRuns
from kartra_mcp.ledger.consent_ids import ConsentIds
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.sqlite import head_file
from kartra_mcp.ledger.transaction import Transaction
from kartra_mcp.membrane import http_transport
from kartra_mcp.membrane.http_messages import INTENT_META_KEY
from kartra_mcp.processes import runner
from kartra_mcp.server import mcp_server

POINTS = """
preview minted before_begin begin_uncommitted begin_committed begin_torn begun before_start started
running program_first program_alone answered finish_uncommitted finish_committed finish_torn
finished answering fsync
""".split()  # noqa: SIM905  a table that is read as words
TEAM_POINTS = ("begin_sent", "finish_sent")
BULK_STEPS = {
    "listed": "create",
    "checked": "record_checks",
    "sealed": "seal_plan",
    "agreed": "agree",
    "claimed": "claim",
    "noted": "record_outcomes",
    "ended": "end_if_over",
}
"""Point to the method of `BulkRuns` after which it is reached."""
IN_ITS_TIME = ("running", "program_first", "program_alone")
WAITS = "waits"
GO_ON = "go_on"
"""File in the state folder that lets a waiting server go on."""


class Fault:
    def __init__(self, point: str, number: int, delay: float) -> None:
        assert point in {*POINTS, *TEAM_POINTS, *BULK_STEPS, WAITS}, point
        self.point, self.left, self.delay = point, number, delay
        self.phase = threading.local()
        self.program = 0
        self.is_timed = False

    def reach(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                self.die()

    async def wait_to_start(self) -> None:
        """Wait at the start of a write, if this is the server that does."""
        if self.point == WAITS:
            self.left -= 1
            if self.left <= 0:
                await until((self.folder / GO_ON).exists, within=600)

    def die(self) -> None:
        self.tell()
        os.kill(os.getpid(), signal.SIGKILL)

    def tell(self) -> None:
        """A line of `struck` in the state folder: the point was reached."""
        with (self.folder / "struck").open("a") as file:
            file.write(f"{self.point}\n")

    @property
    def folder(self) -> Path:
        return Path(os.environ["KARTRA_MCP_STATE_DIR"])

    def in_its_time(self) -> None:
        """Strike once, after the delay: a bulk run starts many programs."""
        if self.point in IN_ITS_TIME and not self.is_timed:
            self.is_timed = True
            threading.Timer(self.delay, self._strike).start()

    def _strike(self) -> None:
        if self.point != "running":
            runner._signal_group(self.program, signal.SIGKILL)
        if self.point == "program_alone":
            self.tell()
        else:
            self.die()

    def within(self) -> tuple[str, ...]:
        """The kinds of write that this thread commits: "begin", "finish", or both."""
        return getattr(self.phase, "names", ())


def wrap(owner: Any, name: str, around: Callable[[Any], Any]) -> None:
    setattr(owner, name, around(getattr(owner, name)))


def install(fault: Fault) -> None:
    wrap(subject, "read_facts", lambda real: before(fault, "preview", real))
    for issue in ("issue", "issue_question"):
        wrap(ConsentIds, issue, lambda real: after(fault, "minted", real))
    wrap(Ledger, "commit", lambda real: committing(fault, real))
    wrap(admission, "record", lambda real: after(fault, "begin_uncommitted", real))
    wrap(Transaction, "append", lambda real: appending(fault, real))
    wrap(head_file.HeadFile, "write", lambda real: writing_head(fault, real))
    wrap(os, "fsync", lambda real: before(fault, "fsync", real))
    for step, method in BULK_STEPS.items():
        wrap(BulkRuns, method, lambda real, step=step: after(fault, step, real))
    run = running(fault, runner.run)
    wrap(composition, "build_app", lambda real: partial(real, run_program=run))
    wrap(runner, "_start", lambda real: starting(fault, real))
    wrap(http_transport.HttpTransport, "exchange", lambda real: exchanging(fault, real))
    wrap(mcp_server.MCPServer, "_call_dispatcher", lambda real: answering(fault, real))


def before(fault: Fault, point: str, real: Any) -> Any:
    def wrapped(*args: Any, **more: Any) -> Any:
        fault.reach(point)
        return real(*args, **more)

    return wrapped


def after(fault: Fault, point: str, real: Any) -> Any:
    def wrapped(*args: Any, **more: Any) -> Any:
        made = real(*args, **more)
        fault.reach(point)
        return made

    return wrapped


def committing(fault: Fault, real: Any) -> Any:
    def wrapped(ledger: Any, writes: Any) -> None:
        ends = [write.settles for write in writes]
        for _ in range(ends.count(False)):
            fault.reach("before_begin")
        fault.phase.names = tuple({"finish" if is_end else "begin" for is_end in ends})
        try:
            real(ledger, writes)
        finally:
            fault.phase.names = ()
        for is_end in ends:
            fault.reach("finished" if is_end else "begun")

    return wrapped


def appending(fault: Fault, real: Any) -> Any:
    def wrapped(transaction: Any, kind: str, body: Any) -> Any:
        made = real(transaction, kind, body)
        if kind == "outcome" and "finish" in fault.within():
            fault.reach("finish_uncommitted")
        return made

    return wrapped


def committing_team(fault: Fault, real: Any) -> Any:
    def wrapped(connection: Any, changes: str, seconds: float) -> None:
        for phase in fault.within():
            if fault.point == f"{phase}_sent" and fault.left == 1:
                connection.pgconn.send_query(f"{changes}COMMIT".encode())
                while connection.pgconn.flush():
                    pass
            fault.reach(f"{phase}_sent")
        real(connection, changes, seconds)
        for phase in fault.within():
            fault.reach(f"{phase}_committed")

    return wrapped


def writing_head(fault: Fault, real: Any) -> Any:
    def wrapped(file: Any, newest: Any) -> None:
        for phase in fault.within():
            fault.reach(f"{phase}_committed")
            if fault.point == f"{phase}_torn":
                torn(file, newest)
                fault.reach(f"{phase}_torn")
        real(file, newest)

    return wrapped


def torn(file: Any, newest: Any) -> None:
    """Half of the newest head, in the slot where all of it would stand."""
    with file.path.open("r+b") as opened:
        found = head_file._read_slots(opened.fileno())
        slots = [-1 if slot is None else slot.count for slot in found]
        opened.seek(slots.index(min(slots)) * head_file.SLOT)
        opened.write(head_file._encode(newest)[: head_file.SLOT // 2])


def running(fault: Fault, real: Any) -> Any:
    async def wrapped(command: Any, **more: Any) -> Any:
        if not more.get("pass_fds"):  # nothing is recorded of it: a read
            return await real(command, **more)
        told = more["on_start"]

        def on_start() -> None:
            told()
            fault.reach("started")
            fault.in_its_time()

        await fault.wait_to_start()
        fault.reach("before_start")
        done = await real(command, **{**more, "on_start": on_start})
        fault.reach("answered")
        return done

    return wrapped


def exchanging(fault: Fault, real: Any) -> Any:
    async def wrapped(self: Any, request: http_transport.HttpRequest) -> Any:
        if request.fresh:  # a write, the raw one too
            await fault.wait_to_start()
        if INTENT_META_KEY.encode() not in (request.content or b""):  # it carries no intent: a read
            return await real(self, request)

        def on_sending() -> None:
            request.on_sending()
            fault.reach("started")
            fault.in_its_time()

        fault.reach("before_start")
        done = await real(self, replace(request, on_sending=on_sending))
        fault.reach("answered")
        return done

    return wrapped


def starting(fault: Fault, real: Any) -> Any:
    def wrapped(command: Any, env: Any, cwd: Any, pass_fds: Any) -> Any:
        made = real(command, env, cwd, pass_fds)
        if pass_fds:
            fault.program = made.pid
        return made

    return wrapped


def answering(fault: Fault, real: Any) -> Any:
    async def wrapped(self: Any, params: Any, *more: Any) -> Any:
        made = await real(self, params, *more)
        if params.name in ("kartra_refund_transaction", "kartra_bulk_run"):
            fault.reach("answering")
        return made

    return wrapped


def install_team(fault: Fault) -> None:
    """Serve on the ledger of a team."""
    import team_server

    from kartra_mcp.ledger.postgres import store as team_store

    team_server.install(os.environ[team_server.VARIABLE])
    wrap(team_store, "commit", lambda real: committing_team(fault, real))


if __name__ == "__main__":
    wanted = Fault(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    install(wanted)
    if "TEAM_LEDGER" in os.environ:
        install_team(wanted)
    main(["serve"])
