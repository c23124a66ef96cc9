"""Data in the state folder is restored unchanged, or not at all."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from kartra_mcp.core.state_dir import StateDir


@pytest.mark.parametrize(
    "value",
    [None, 0, "é 🎉", {"a": [1.5, True]}, "half a character \ud83d", {"\udc80": 1}],
    ids=ascii,
)
def test_json_comes_back_as_it_was(tmp_path: Path, value: Any):
    state = StateDir(tmp_path / "new" / "folder")
    assert state.write("x.json", value)
    assert state.read("x.json") == value
    assert [file.name for file in state.folder.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000], ids=lambda c: f"{c[:3]}"
)
def test_what_is_damaged_is_as_if_it_were_not_there(tmp_path: Path, content: bytes):
    (tmp_path / "x.json").write_bytes(content)
    assert StateDir(tmp_path).read("x.json") is None
    assert StateDir(tmp_path).read("y.json") is None


def test_a_folder_that_cannot_be_written_costs_no_call(tmp_path: Path):
    (tmp_path / "file").touch()
    state = StateDir(tmp_path / "file")
    assert not state.write("x.json", {})
    assert state.error
    assert state.work_dir().is_dir()
    state.close()


def _fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    """A state folder that cannot be written, and a temporary folder of this test."""
    shared = tmp_path / "temporary"
    shared.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(shared))
    (tmp_path / "file").touch()
    return StateDir(tmp_path / "file")


def test_a_temporary_work_folder_of_a_killed_server_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Bug: those in the state folder were removed, those in the temporary folder never."""
    killed, alive = _fallback(tmp_path, monkeypatch), StateDir(tmp_path / "file")
    left, used = killed.work_dir(), alive.work_dir()
    assert killed._work_lock is not None
    os.close(killed._work_lock)  # as the end of its process does
    server = StateDir(tmp_path / "file")
    work = server.work_dir()
    assert (left.exists(), used.is_dir(), work.is_dir()) == (False, True, True)
    server.close()
    alive.close()
    assert [file for file in work.parent.iterdir() if file.is_dir()] == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX file modes")
@pytest.mark.parametrize("how", ["link", "open"])
def test_a_shared_temporary_folder_of_others_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
):
    state = _fallback(tmp_path, monkeypatch)
    planted = tmp_path / "temporary" / f"kartra-mcp-{os.geteuid()}"
    (tmp_path / "other").mkdir(mode=0o755)
    before = (tmp_path / "other").stat().st_mode
    if how == "link":
        planted.symlink_to(tmp_path / "other")
    else:
        planted.mkdir()
        planted.chmod(0o777)
    work = state.work_dir()
    assert stat.S_IMODE(work.stat().st_mode) == 0o700
    assert work.parent == tmp_path / "temporary"
    assert list((tmp_path / "other").iterdir()) == []
    assert (tmp_path / "other").stat().st_mode == before
    state.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX file modes")
def test_only_this_user_can_look(tmp_path: Path):
    state = StateDir(tmp_path / "state")
    state.write("x.json", {})
    work = state.work_dir()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (state.folder, work)}
    assert set(modes.values()) == {0o700}
    assert stat.S_IMODE((state.folder / "x.json").stat().st_mode) == 0o600
    state.close()
    assert not work.exists()
