"""The command line: wrong usage in one line, switches, a closed pipe, an empty ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from fork_server import forked

from kartra_mcp.cli.main import COMMANDS, is_serve, run_command, until_unread
from kartra_mcp.ledger.sqlite.store import open_ledger

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
    "a mistyped flag of serve": (["serve", "--sandbx"], "--sandbox"),
    "a mistyped flag without a command": (["--read-onyl"], "--read-only"),
    "a mistyped negation": (["tools", "--no-sandbx"], "--no-sandbox"),
    "a mistyped flag of demo": (["demo", "--hepl"], "--help"),
    "a mistyped flag of doctor": (["doctor", "--jsn"], "--json"),
    "a mistyped flag of uninstall": (["uninstall", "cursor", "--sandbx"], "--sandbox"),
    "half of a command": (["sandbox"], "sandbox reset"),
    "a mistyped client to install": (["install", "cursr"], "cursor"),
    "a mistyped client to uninstall": (["uninstall", "claude-desktopp"], "claude-desktop"),
    "a mistyped client in setup": (["setup", "--client", "gemeni"], "gemini"),
}


def run_as_a_program(words: list[str]) -> int:
    """Return the exit status; a server takes over stdio, so that it is a process."""
    if not is_serve(words):
        return until_unread(words)
    line = [sys.executable, "-P", "-m", "kartra_mcp", *words]
    return subprocess.run(line, stdin=subprocess.DEVNULL, check=False, timeout=60).returncode


COMMAND_NAMES = [command.name for command in COMMANDS]


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_line_with_the_nearest_name(
    case: str, capfd: pytest.CaptureFixture[str]
):
    words, near = WRONG[case]
    assert run_as_a_program(words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"did you mean {near}?" in err
    assert "--help" in err


@pytest.mark.parametrize("name", COMMAND_NAMES)
def test_every_command_is_in_the_help_and_has_its_own(name: str, capfd: pytest.CaptureFixture[str]):
    assert until_unread(["--help"]) == 0
    assert f"\n  {name} " in capfd.readouterr().out
    assert until_unread([*name.split(), "--help"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"usage: kartra-mcp {name}")
    assert err == ""


ALTERNATIVES = [
    ["approve", "1", "--json"],
    ["approve", "1", "--set-pin"],
    ["approve", "--set-pin", "--json"],
]


@pytest.mark.parametrize("words", ALTERNATIVES, ids=" ".join)
def test_two_forms_of_approve_at_once_are_wrong_usage(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert until_unread([*words, "--state-dir", str(tmp_path / "state")]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "not allowed with argument" in err
    assert not (tmp_path / "state").exists()


def test_the_help_of_approve_names_every_flag_with_its_negation(
    capfd: pytest.CaptureFixture[str],
):
    """Bug: its usage line was written by hand and lacked `--no-sandbox` and `--help`."""
    assert until_unread(["approve", "--help"]) == 0
    usage = capfd.readouterr().out.partition("\n\n")[0]
    flags = ("-h", "--set-pin", "--json", "--sandbox", "--no-sandbox", "--state-dir", "NUMBER")
    assert [flag for flag in flags if flag not in usage] == []


def test_half_of_a_command_has_the_help_of_the_whole(capfd: pytest.CaptureFixture[str]):
    assert until_unread(["sandbox", "--help"]) == 0
    assert capfd.readouterr().out.startswith("usage: kartra-mcp sandbox reset")


@pytest.mark.parametrize(
    "words",
    [
        ["tools", "--sandbox=garbage"],
        ["doctor", "--read-only=garbage"],
        ["page", "--sandbox=garbage"],
        ["sandbox", "reset", "--page=garbage"],
        ["ledger", "list", "--sandbox=garbage"],
        ["install", "--deny=a", "--deny=b"],
        ["tools", "--timeout"],
        ["demo", "now"],
    ],
)
def test_a_value_that_cannot_be_used_is_wrong_usage_in_one_line(
    words: list[str], capfd: pytest.CaptureFixture[str]
):
    assert until_unread(words) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "Nothing was done." in err


@pytest.mark.parametrize(
    "flags",
    [
        ["--sandbox", "--state-dir", "{}"],
        ["--sandbox=on", "--state-dir={}"],
        ["--sandbox", "on", "--state-dir={}"],
        ["--no-page", "--sandbox", "--state-dir={}", "--sandbox="],
    ],
)
def test_a_flag_is_spelled_with_a_space_or_an_equals_sign(
    flags: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    words = [flag.format(tmp_path) for flag in flags]
    assert run_command(["sandbox", "reset", *words]) == 0
    assert str(tmp_path / "sandbox" / "account.db") in capfd.readouterr().out
    assert (tmp_path / "sandbox" / "account.db").is_file()


# Command → exit status, and what its answer contains, on a ledger that does not exist.
MISSING = {
    "list": (["ledger", "list"], 0, "has no entries yet"),
    "show": (["ledger", "show", "int_1"], 1, "int_1 is not in the ledger"),
    "export as CSV": (["ledger", "export"], 0, '"intent"'),
    "export as JSON": (["ledger", "export", "--format", "json"], 0, "[]"),
    "verify": (["ledger", "verify"], 0, "has no entries yet. There is nothing to verify."),
    "verify for a program": (["ledger", "verify", "--json"], 0, '"count": 0'),
    "new": (["ledger", "new", "--yes"], 1, "There is nothing to replace."),
    "approve": (["approve"], 0, "Nothing waits"),
    "approve for a program": (["approve", "--json"], 0, '"waiting": []'),
    "approve a number": (["approve", "3"], 1, "Approval 3 does not exist"),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_command_on_a_missing_ledger_has_a_true_answer_and_makes_no_file(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """Bug: verify reported that 0 lines hold, and every command but list began a ledger."""
    words, status, text = MISSING[case]
    folder = tmp_path / "state"
    assert run_command([*words, "--state-dir", str(folder)]) == status
    out, err = capfd.readouterr()
    assert text in " ".join((out if status == 0 else err).split())
    assert not folder.exists()


@pytest.mark.parametrize("case", MISSING)
def test_a_command_on_an_empty_ledger_has_a_true_answer(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    words, status, _ = MISSING[case]
    with closing(open_ledger(tmp_path)) as ledger:
        assert ledger.list_recent(1) == []
    assert run_command([*words, "--state-dir", str(tmp_path)]) == status
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    if words[:2] in (["ledger", "verify"], ["ledger", "export"]):
        assert "no entries yet" in out + err or '"count": 0' in out


def test_an_export_without_entries_is_reported_on_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert run_command(["ledger", "export", "--state-dir", str(tmp_path / "state")]) == 0
    out, err = capfd.readouterr()
    assert out.count("\n") == 1
    assert "has no entries yet" in err


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
    "words",
    [
        ["--help"],
        ["ledger", "list"],
        ["tools", "--help"],
        ["page", "--help"],
        ["tools", "--sandbox"],
        ["tools", "--sandbox", "--json"],
        ["doctor", "--sandbox"],
        ["doctor", "--sandbox", "--json"],
        ["approve", "--sandbox"],
    ],
)
def test_a_closed_output_pipe_ends_a_command_silently(words: list[str], tmp_path: Path):
    given = words if "--help" in words else [*words, "--state-dir", str(tmp_path)]
    with subprocess.Popen(
        forked("-m", "kartra_mcp", *given),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        program.stdout.close()
        assert program.stderr is not None
        assert program.stderr.read() == ""
    assert program.returncode == 1
