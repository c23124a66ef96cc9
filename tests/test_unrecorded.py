"""An unrecordable call does not run; one that ran is reported even if its end is not recorded."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from bulk_account import CREATE, agree, bulk_id, created, new_leads, plan, resume
from consent_actors import ledger_folder, sandbox
from fork_server import forked
from harness import Answer, Sandbox, StandIn, action, call, connect, connect_stdio, healthy
from mcp import Client, StdioServerParameters
from polling import until

from kartra_mcp.calls import dispatcher
from kartra_mcp.calls.responses import make_shown
from kartra_mcp.core.timings import DEFAULT_TIMINGS
from kartra_mcp.ledger.errors import unavailable_error
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.sqlite import head_file
from kartra_mcp.ledger.sqlite.store import open_ledger

pytestmark = pytest.mark.anyio
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits and locks")

REFUND, TAG, READ = "kartra_refund_transaction", "kartra_assign_tag", "kartra_get_lead"
NUMBER = {"type": "object", "properties": {"transaction_id": {"type": "integer"}}}
LEAD = {"type": "object", "properties": {"lead_id": {"type": "integer"}}}
LIMITED = """
import resource, sys
sys.dont_write_bytecode = True  # else a .pyc would be cut off too
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from kartra_mcp.cli.main import main
main(["serve"])
"""


@pytest.fixture
def place(fake_membrane: StandIn) -> StandIn:
    actions = [
        action("refund-transaction", inputSchema=NUMBER),
        action("assign-tag", inputSchema=LEAD),
        action("get-lead", inputSchema=LEAD),
    ]
    fake_membrane.settings = {"GATE_IRREVERSIBLE": "flag", "CAP_DAY_COUNT": "1000", "RATE": "0"}
    return fake_membrane.plan(**healthy(*actions))


def state_of(place: StandIn) -> Path:
    return place.folder / "state"


async def refused(client, place, tool=REFUND, **given) -> str:
    """The message with which a write is refused and nothing started."""
    before = len(place.runs())
    answer = await call(client, tool, **(given or {"transaction_id": 7, "confirm": True}))
    assert (answer.code, answer.executed) == ("ledger_unavailable", "no")
    assert answer.error["remedy"]
    assert len(place.runs()) == before
    return answer.error["message"]


async def test_a_file_where_the_state_folder_was(place, protocol_version):
    async with connect(place, protocol_version) as client:
        await client.list_tools()
        shutil.rmtree(state_of(place), ignore_errors=True)
        state_of(place).write_text("in the way")
        assert "its folder's path is a file" in await refused(client, place)
        await refused(client, place, TAG, lead_id=1)
        assert not (await call(client, READ, lead_id=1)).failed
        state_of(place).unlink()
        assert not (await call(client, REFUND, transaction_id=7, confirm=True)).failed
    assert len(place.runs()) == 2


async def test_the_ledger_vanishes_while_it_is_served(place):
    async with connect(place, "legacy") as client:
        assert not (await call(client, REFUND, transaction_id=7, confirm=True)).failed
        (state_of(place) / "ledger.db").unlink()
        assert "is missing" in await refused(client, place)
        assert "is missing" in await refused(client, place, transaction_id=8, confirm=True)


async def test_another_program_has_it_locked(place, protocol_version):
    async with connect(place, protocol_version) as client:
        assert not (await call(client, TAG, lead_id=1)).failed
        ledger = state_of(place) / "ledger.db"
        with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            assert "has locked it" in await refused(client, place)
        assert not (await call(client, REFUND, transaction_id=7, confirm=True)).failed


async def test_a_bulk_run_whose_ledger_is_locked_in_the_middle_claims_nothing(tmp_path: Path):
    """Bug: "Nothing was done", after items were done."""
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    place.arrange("fault", "set", "create_lead", "slow", "--times=8", "--message=0.1")
    answers: list[Answer] = []
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, new_leads(8))

        async def run() -> None:
            answers.append(await agree(client, preview))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await until(lambda: created(place) >= 2)
            with closing(
                sqlite3.connect(ledger_folder(place) / "ledger.db", isolation_level=None)
            ) as db:
                await lock(db)
                await until(lambda: bool(answers))
        (answer,) = answers
        assert (answer.code, answer.executed) == ("ledger_unavailable", "unknown")
        assert "Nothing was done" not in answer.text
        assert bulk_id(preview) in answer.error["remedy"]
        done = await resume(client, bulk_id(preview))
    assert (done.result["state"], created(place)) == ("done", 8)


async def lock(db: sqlite3.Connection) -> None:
    """Lock a ledger as another program would, between two of its commits."""
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError:
            await anyio.lowlevel.checkpoint()


@posix
@pytest.mark.parametrize("room", [4_000, 90_000, 140_000])
async def test_a_full_disk(place, room):
    """Only recorded calls ran; closing the ledger may free space for more."""
    done, turned_away = 0, 0
    async with limited(place, room) as client:
        for number in range(1, 40):
            answer = await call(client, REFUND, transaction_id=number, confirm=True)
            if answer.failed:
                assert (answer.code, answer.executed) == ("ledger_unavailable", "no")
            done, turned_away = done + (not answer.failed), turned_away + answer.failed
            if turned_away == 2:
                break
        assert turned_away
        ledger = (await call(client, "kartra_status")).result["ledger"]
        if room < 10_000:  # there, closing the ledger frees nothing
            assert not ledger["usable"]
        assert "Nothing was done" not in ledger.get("problem", "")
        assert not (await call(client, READ, lead_id=1)).failed
    assert len(place.runs()) == done + 1
    with closing(open_ledger(state_of(place))) as ledger:
        ledger.mark_orphans_unknown()
        states = [e["state"] for e in ledger.export()]
        assert ledger.verify().ok
    assert sum(s in {"succeeded", "unknown"} for s in states) >= done
    assert set(states) <= {"succeeded", "unknown", "refused"}


@asynccontextmanager
async def limited(place: StandIn, room: int):
    """A real server that may write no file beyond so many bytes."""
    command, *args = forked("-c", LIMITED, str(room))
    parameters = StdioServerParameters(command=command, args=args, env=place.environment)
    async with Client(parameters, mode="2026-07-28") as client:
        yield client


def cut_short(ledger: Path) -> None:
    drop_log(ledger)
    content = ledger.read_bytes()
    ledger.write_bytes(content[: len(content) // 2])


def drop_log(ledger: Path) -> None:
    for end in ("-wal", "-shm"):
        Path(f"{ledger}{end}").unlink(missing_ok=True)


def overwritten(ledger: Path) -> None:
    drop_log(ledger)
    ledger.write_bytes(b"this is no database" * 1000)


def head_lost(ledger: Path) -> None:
    ledger.with_suffix(".head").write_text("nothing")


@pytest.mark.parametrize("damage", [cut_short, overwritten, head_lost])
async def test_a_damaged_ledger_stops_every_write_until_the_user_begins_a_new_one(
    place, damage: Callable[[Path], None]
):
    ledger = state_of(place) / "ledger.db"
    async with connect_stdio(place, "legacy") as client:
        assert not (await call(client, REFUND, transaction_id=7, confirm=True)).failed
    with closing(open_ledger(state_of(place))) as used:
        used.mark_orphans_unknown()
    damage(ledger)
    for _ in range(2):
        async with connect_stdio(place, "2026-07-28") as client:
            assert "damaged" in await refused(client, place)
            await refused(client, place, TAG, lead_id=1)
            told = (await call(client, "kartra_status")).result["ledger"]
            assert told["usable"] is False
            assert "ledger new" in told["remedy"]
            assert not (await call(client, READ, lead_id=1)).failed
    with closing(open_ledger(state_of(place))) as ended:
        ended.replace_damaged()
    async with connect_stdio(place, "legacy") as client:
        assert not (await call(client, REFUND, transaction_id=8, confirm=True)).failed


@pytest.mark.parametrize("problem", [unavailable_error("the disk is full"), RuntimeError("boom")])
async def test_a_success_whose_end_cannot_be_recorded_is_a_success(
    sandbox: Sandbox, protocol_version, monkeypatch, problem
):
    def failing(*_, **__):
        raise problem

    async with connect(sandbox, protocol_version) as client:
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "finishing", failing)
            answer = await call(client, REFUND, transaction_id=101, confirm=True)
        assert not answer.failed, answer.text
        assert answer.structured is not None
        assert "It was done, but the ledger" in answer.structured["receipt"]["note"]
        assert "Nothing was done" not in answer.structured["receipt"]["note"]
        again = await call(client, REFUND, transaction_id=101, confirm=True)
        assert (again.code, again.executed) == ("outcome_unknown", "no")
    assert sandbox.rows("SELECT cents FROM transactions WHERE parent_id = 101") == [(9700,)]


async def test_a_loss_whose_end_cannot_be_recorded_is_unknown(place, protocol_version, monkeypatch):
    def failing(*_, **__):
        raise RuntimeError

    place.plan(action_run={"exit": 1})
    async with connect(place, protocol_version) as client:
        monkeypatch.setattr(Ledger, "finishing", failing)
        answer = await call(client, REFUND, transaction_id=7, confirm=True)
        assert (answer.code, answer.executed) == ("membrane_error", "unknown")


async def test_a_success_that_cannot_be_shown_is_a_success(
    sandbox: Sandbox, protocol_version, monkeypatch
):
    def failing(result, **_):
        if result is not None:
            raise RuntimeError
        return make_shown(None)

    async with connect(sandbox, protocol_version) as client:
        await client.list_tools()
        with monkeypatch.context() as patched:
            patched.setattr(dispatcher, "make_shown", failing)
            answer = await call(client, REFUND, transaction_id=101, confirm=True)
        assert answer.result is None
        assert answer.structured is not None
        assert "It was done" in answer.structured["receipt"]["note"]
        assert "Nothing was done" not in answer.structured["receipt"]["note"]
        again = await call(client, REFUND, transaction_id=101, confirm=True)
        assert (again.code, again.executed) == ("already_done", "no")


async def test_the_head_cannot_be_written(place, monkeypatch):
    """The line is committed, and cannot be counted: nothing runs on it."""

    def failing(*_):
        raise OSError(28, "No space left on device")

    async with connect(place, "legacy") as client:
        assert not (await call(client, TAG, lead_id=1)).failed
        with monkeypatch.context() as patched:
            patched.setattr(head_file.HeadFile, "write", failing)
            assert "disk is full" in await refused(client, place)
        answer = await call(client, REFUND, transaction_id=7, confirm=True)
        assert answer.code == "outcome_unknown"
    with closing(open_ledger(state_of(place))) as ledger:
        assert [e["state"] for e in ledger.export()] == ["succeeded", "unknown"]


async def test_a_kill_of_the_client_in_the_queue_leaves_no_intent(place):
    """Nothing is recorded while it waits for a place."""
    place.settings["MAX_CHILDREN"] = "1"
    place.plan(action_run={"gate": "open"})
    # The real delay of a refresh: an early one would take the only place before the read does.
    served = connect(place, "legacy", timings=DEFAULT_TIMINGS)
    async with served as client, anyio.create_task_group() as tasks:
        await client.list_tools()
        tasks.start_soon(call_it, client, READ, {"lead_id": 1})
        await until(lambda: len(place.runs()) == 1)
        with anyio.move_on_after(0.3):
            await call(client, REFUND, transaction_id=7, confirm=True)
        (place.folder / "open").touch()
    with closing(open_ledger(state_of(place))) as ledger:
        assert ledger.export() == []


async def call_it(client, tool, arguments):
    await client.call_tool(tool, arguments)
