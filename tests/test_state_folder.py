"""The state folder: only this user may change it, and killed servers leave nothing in it."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from harness import Sandbox, action, call, connect, healthy

from kartra_mcp.core.file_locks import exclusive_lock
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.onboarding.doctor.checks import check_state_folder
from kartra_mcp.sandbox.store.database import Account
from kartra_mcp.settings import read_settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners, modes and pipes of POSIX")
as_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a folder away"
)
OTHER = 12_345
TAG = {"lead_id": 48129, "tag_name": "VIP"}

# name → change of the state folder (of `top/state/sandbox`), words of the refusal
FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "others can write": (lambda x: x.chmod(0o707), "users can write to"),
    "its group can write": (lambda x: x.chmod(0o770), "users can write to"),
    "others can write above": (lambda x: x.parent.chmod(0o777), "users can replace"),
    "others can write far above": (lambda x: x.parent.parent.chmod(0o777), "can replace"),
}
OWNERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "another owner": (lambda x: os.chown(x, OTHER, OTHER), "belongs to another user"),
    "another owner above": (lambda x: os.chown(x.parent, OTHER, OTHER), "belongs to another user"),
}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault", [*FAULTS.values(), *(pytest.param(x, marks=as_root) for x in OWNERS.values())]
)
async def test_no_write_runs_while_others_can_change_the_state_folder(fault, tmp_path: Path):
    change, words = fault
    place = Sandbox(tmp_path / "top" / "state").arrange("reset")
    folder = place.file.parent
    folder.chmod(0o700)
    async with connect(place, "legacy") as client:
        assert not (await call(client, "kartra_assign_tag", **TAG)).failed
        change(folder)
        answer = await call(client, "kartra_unassign_tag", **TAG, confirm=True)
        assert (answer.code, answer.executed) == ("ledger_unavailable", "no")
        assert words in answer.error["message"]
        status = (await call(client, "kartra_status")).result
        assert (status["ledger"]["usable"], status["healthy"]) == (False, False)
        assert words in status["ledger"]["problem"]
    found = check_state_folder(folder)
    assert (found.state, words in found.message) == ("failed", True)
    assert "private to you" not in found.message
    with closing(open_ledger(folder)) as ledger:
        report = ledger.verify()
        assert (report.ok, words in report.refused) == (False, True)


@pytest.mark.parametrize("mode", [0o1777, 0o755, 0o700])
def test_a_folder_above_that_others_cannot_rename_in_is_fine(mode: int, tmp_path: Path):
    folder = tmp_path / "state"
    folder.mkdir()
    tmp_path.chmod(mode)
    with closing(open_ledger(folder)) as ledger:
        ledger.require_writable()
        assert ledger.verify().ok
    assert check_state_folder(folder).state == "ok"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_folders_that_are_created_are_private_under_any_umask(tmp_path: Path):
    old = os.umask(0)
    try:
        with closing(open_ledger(tmp_path / "a" / "b" / "c")) as ledger:
            ledger.require_writable()
            assert ledger.verify().ok
        assert StateDir(tmp_path / "d" / "e").write("x.json", {})
    finally:
        os.umask(old)
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_the_sandbox_database_is_for_this_user_alone(tmp_path: Path):
    file = tmp_path / "account.db"
    old = os.umask(0)
    try:
        for _ in range(2):
            with closing(Account(str(file))) as account:
                account.note(["x"])
                modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
                assert set(modes.values()) == {0o600}, modes
            file.chmod(0o644)  # as an older version made it
    finally:
        os.umask(old)


def test_work_folders_of_killed_servers_are_swept(tmp_path: Path):
    living = StateDir(tmp_path)
    kept = living.work_dir()
    pid = os.fork()
    if pid == 0:
        StateDir(tmp_path).work_dir()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(list(tmp_path.glob("work-*"))) == 2
    started = StateDir(tmp_path)
    expected = {kept, started.work_dir()}
    assert set(tmp_path.glob("work-*")) == expected
    started.close()
    living.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "huge"])
def test_a_policy_that_is_no_file_denies_every_write(kind: str, tmp_path: Path):
    file = tmp_path / "policy.toml"
    if kind == "device":
        file = Path("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        with file.open("wb") as sparse:
            sparse.truncate(100 * 1024**3)
    found = read_settings({"POLICY": str(file)}, {"HOME": str(tmp_path)})
    assert [problem.variable for problem in found.errors] == ["KARTRA_MCP_POLICY"]
    assert {found.gates[r] for r in Risk if r is not Risk.READ} == {Gate.DENY}


@pytest.mark.anyio
async def test_waits_for_the_ledger_count_against_the_deadline(fake_membrane):
    """Twelve writes with a limit of 6 s were answered after 17 s, and status after 42 s."""
    schema = {"type": "object", "properties": {"lead_id": {"type": "integer"}}}
    fake_membrane.settings = {"TIMEOUT": "3"}
    place = fake_membrane.plan(**healthy(action("assign-tag", inputSchema=schema)))
    answered: list[float] = []
    async with connect(place, "legacy") as client:
        assert not (await call(client, "kartra_assign_tag", lead_id=0)).failed
        with exclusive_lock(place.folder / "state" / "ledger.turn", 1.0):
            started = time.monotonic()

            async def write(number: int) -> None:
                answer = await call(client, "kartra_assign_tag", lead_id=number)
                assert (answer.code, answer.executed) == ("ledger_unavailable", "no")
                answered.append(time.monotonic() - started)

            async def look() -> None:
                status = (await call(client, "kartra_status")).result
                assert not status["ledger"]["usable"]
                answered.append(time.monotonic() - started)

            async with anyio.create_task_group() as calls:
                calls.start_soon(look)
                for number in range(1, 13):
                    calls.start_soon(write, number)
        assert len(answered) == 13
        assert max(answered) < 3 + 1.5, answered
        assert not (await call(client, "kartra_assign_tag", lead_id=1)).failed
