"""The command line: wrong usage in one line, switches, a closed pipe, an empty ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kartra_mcp.cli.main import run_command, until_unread

WRONG = {
    "a mistyped command": (["docter"], "doctor"),
    "a mistyped flag of tools": (["tools", "--jsn"], "--json"),
    "a mistyped flag of page": (["page", "--no-browsr"], "--no-browser"),
    "a mistyped ledger command": (["ledger", "lst"], "list"),
    "a mistyped flag of a ledger command": (["ledger", "list", "--cuont", "3"], "--count"),
    "a mistyped flag of approve": (["approve", "--set-pn"], "--set-pin"),
    "a mistyped flag of install": (["install", "--replce"], "--replace"),
    "a mistyped flag of setup": (["setup", "--yess"], "--yes"),
    "a mistyped flag of sandbox reset": (["sandbox", "reset", "--stat-dir=x"], "--state-dir"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_line_with_the_nearest_name(
    case: str, capfd: pytest.CaptureFixture[str]
):
    words, near = WRONG[case]
    assert until_unread(words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"did you mean {near}?" in err
    assert "--help" in err


@pytest.mark.parametrize("how", [["list"], ["list", "--sandbox"], ["list", "--no-sandbox"]])
def test_an_empty_ledger_is_reported_as_empty(
    how: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert run_command(["ledger", *how, "--state-dir", str(tmp_path / "state")]) == 0
    assert "has no entries yet" in capfd.readouterr().out


def test_a_missing_ledger_is_listed_without_making_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = tmp_path / "state"
    assert run_command(["ledger", "list", "--json", "--state-dir", str(folder)]) == 0
    assert json.loads(capfd.readouterr().out) == {"lines": []}
    assert not folder.exists()


@pytest.mark.parametrize(
    "words", [["--help"], ["ledger", "list"], ["tools", "--help"], ["page", "--help"]]
)
def test_a_closed_output_pipe_ends_a_command_silently(words: list[str], tmp_path: Path):
    given = [*words, "--state-dir", str(tmp_path)] if words[0] == "ledger" else words
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "kartra_mcp", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        program.stdout.close()
        assert program.stderr is not None
        assert program.stderr.read() == ""
    assert program.returncode == 1
