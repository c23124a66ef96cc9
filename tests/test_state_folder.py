"""One ledger for one account: a state folder that is not certain is never written to."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from harness import Sandbox, call, connect

from kartra_mcp.cli.main import run_command

pytestmark = pytest.mark.anyio

LEAD, POINTS = {"lead_id": 48129}, {"cmd": "give_points_to_lead", "points": 5}
RAW = {"method": "POST", "path": "/api", "json": {"lead": {"id": 48129}, "actions": [POINTS]}}
WRITES = {
    "a tag": ("kartra_assign_tag", {**LEAD, "tag_name": "VIP"}),
    "a refund": ("kartra_refund_transaction", {"transaction_id": 101}),
    "a raw write": ("kartra_proxy_write", RAW),
}


@pytest.fixture
def uncertain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A server whose client left a variable unexpanded, in some working folder."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    return Sandbox(tmp_path / "state", {"STATE_DIR": "${HOME}/kartra"})


@pytest.mark.parametrize("name", WRITES)
async def test_no_write_runs_while_the_state_folder_is_a_bad_value(uncertain: Sandbox, name: str):
    """Bug: each working folder had a ledger of its own, and each paid the same refund."""
    tool, given = WRITES[name]
    async with connect(uncertain, "legacy") as client:
        answer = await call(client, tool, **given)
    assert (answer.code, answer.executed) == ("ledger_unavailable", "no")
    assert "KARTRA_MCP_STATE_DIR" in answer.error["message"]
    assert answer.error["remedy"]
    assert list(Path.cwd().iterdir()) == []


async def test_reads_run_and_the_status_names_the_bad_state_folder(uncertain: Sandbox):
    async with connect(uncertain, "legacy") as client:
        assert not (await call(client, "kartra_get_lead", **LEAD)).failed
        status = (await call(client, "kartra_status")).result
    assert status["healthy"] is False
    assert "KARTRA_MCP_STATE_DIR" in status["settings_not_usable"][0]
    assert status["ledger"]["usable"] is False
    assert "KARTRA_MCP_STATE_DIR" in status["ledger"]["problem"]


@pytest.mark.parametrize(
    "words",
    [
        ["ledger", "list"],
        ["ledger", "verify"],
        ["ledger", "new"],
        ["approve"],
        ["approve", "1"],
        ["page", "--no-browser"],
        ["sandbox", "reset"],
    ],
    ids=" ".join,
)
def test_no_command_uses_another_ledger_than_the_named_one(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run_command([*words, "--state-dir", "$HOME/kartra"]) == 1
    printed = capsys.readouterr()
    assert "KARTRA_MCP_STATE_DIR" in printed.err + printed.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["${HOME}/kartra", "%APPDATA%/x", "'/x'"])
def test_an_uncertain_state_folder_is_not_installed(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Bug: the unexpanded value was written with the working folder in front of it."""
    assert run_command(["install", "--print", "--state-dir", value]) == 2
    assert "KARTRA_MCP_STATE_DIR" in capsys.readouterr().err
