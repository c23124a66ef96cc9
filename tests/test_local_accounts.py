"""`kartra-mcp accounts`: several clients, several connections, and what must not be shared."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import in_process
import pytest
from agency import CODEX, CURSOR, DESKTOP, SEVEN, Agency

from kartra_mcp.onboarding.accounts.membrane_reads import MAX_LOGINS_AT_ONCE


@pytest.fixture
def agency(tmp_path: Path) -> Iterator[Agency]:
    made = Agency(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def two(agency: Agency) -> Agency:
    """Two accounts in two clients each, and a third connection that no entry serves."""
    agency.connect()
    agency.serve(CURSOR, "acme", "con_acme").serve(CURSOR, "beta", "con_beta")
    agency.serve(DESKTOP, "acme", "con_acme").serve(DESKTOP, "beta", "con_beta")
    return agency


# The table


def test_each_account_is_one_row_with_its_clients(two: Agency):
    told = two.told()
    assert (told.code, told.report["faults"]) == (0, [])
    assert [one["names"] for one in told.report["accounts"]] == [["acme"], ["beta"]]
    acme = told.account("acme")
    assert [one["client"] for one in acme["entries"]] == [DESKTOP, CURSOR]
    assert acme["connection"]["name"] == "Acme Courses"
    assert (acme["state"], acme["last_use"], acme["unknown_writes"]) == ("ready", None, 0)
    assert acme["irreversible"] == ["preview"]
    assert told.account("beta")["state_folder"] == str(two.state / "accounts" / "beta")


def test_it_is_the_same_as_a_process_of_its_own(two: Agency):
    done = two.list_as_process("--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == two.told().report


def test_a_connection_without_an_entry_is_listed_with_the_command_that_adds_it(two: Agency):
    (unused,) = two.told().report["unused_connections"]
    command = unused["command"]
    assert command == (f"kartra-mcp install {DESKTOP} --name gamma-retreats --connection con_gamma")
    _, _, client, *words = shlex.split(command)
    assert two.install(client, *words).returncode == 0
    told = two.told()
    assert (told.report["faults"], told.report["unused_connections"]) == ([], [])
    folders = {one["state_folder"] for one in told.report["accounts"]}
    assert len(folders) == 3


def test_membrane_is_asked_once_for_all_entries_of_a_login(two: Agency):
    two.told()
    assert len(two.started_with("connection", "list")) == 1
    assert two.started_with("connection", "get") == []
    two.told("--offline")
    assert len(two.started_with("connection", "list")) == 1


def test_few_logins_are_asked_at_once(agency: Agency):
    agency.connect()
    for number in range(12):
        program = f'["{agency.membrane}", "--login={number}"]'
        agency.write_entry(CURSOR, f"one-{number}", MEMBRANE=program)
    running, most = 0, 0

    async def run(*given: Any, **more: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await in_process.run(*given, **more)
        finally:
            running -= 1

    done = agency.list_accounts("--json", run_program=run)
    assert len(json.loads(done.stdout)["accounts"]) >= 1
    assert 1 < most <= 2 * MAX_LOGINS_AT_ONCE


@pytest.mark.parametrize(
    ("words", "state", "fault"),
    [
        (("DISCONNECTED",), "needs reconnect", "kartra-mcp setup --name beta"),
        (("READY", "--disconnected"), "needs reconnect", "kartra-mcp setup --name beta"),
        (("BUILDING",), "being prepared", "in a minute"),
        (("CONFIGURATION_ERROR",), "needs reconnect", "kartra-mcp setup --name beta"),
    ],
)
def test_each_state_of_a_connection(two: Agency, words: tuple[str, ...], state: str, fault: str):
    two.arrange("connection", "set-state", "con_beta", *words)
    told = two.told()
    assert (told.code, told.account("beta")["state"]) == (1, state)
    assert told.account("acme")["state"] == "ready"
    assert fault in told.fault("connection")["remedy"]


def test_a_connection_that_is_gone(two: Agency):
    two.sql("DELETE FROM connections WHERE id = 'con_beta'")
    told = two.told()
    assert (told.code, told.account("beta")["state"]) == (1, "not found")
    assert "kartra-mcp setup --name beta --connection ID" in told.fault("connection")["remedy"]


def test_a_login_that_has_expired_is_reported_once(two: Agency):
    two.arrange("logout")
    told = two.told()
    assert {one["state"] for one in told.report["accounts"]} == {"not logged in"}
    assert told.code == 1
    assert "membrane login --tenant" in told.fault("membrane")["remedy"]


def test_without_membrane_the_rest_is_shown(two: Agency):
    two.record(two.folder_of("beta"), "con_beta", at=SEVEN)
    two.membrane.unlink()
    told = two.told()
    assert (told.code, told.account("acme")["state"]) == (1, "unknown")
    assert told.account("beta")["last_use"] == SEVEN
    assert "npm install -g @membranehq/cli" in told.fault("membrane")["remedy"]


def test_offline_asks_nothing_and_knows_what_is_stored(two: Agency):
    two.arrange("logout")
    told = two.told("--offline")
    assert (told.code, told.report["asked_membrane"]) == (0, False)
    assert {one["state"] for one in told.report["accounts"]} == {"unknown"}
    shown = two.list_accounts("--offline").stdout
    assert "Membrane was not asked (--offline)" in shown


def test_without_entries_the_next_step_is_named(agency: Agency):
    agency.connect("con_acme")
    told = agency.told()
    assert (told.code, told.report["accounts"]) == (0, [])
    assert "kartra-mcp setup" in told.report["next_step"]
    assert "--connection con_acme" in told.report["unused_connections"][0]["command"]
    assert agency.told("--offline").code == 0


def test_without_entries_and_without_membrane(agency: Agency):
    agency.membrane.unlink()
    done = agency.list_accounts()
    assert done.returncode == 1
    assert "kartra-mcp setup" in done.stdout
    assert "was not found" in done.stdout


def test_a_broken_file_is_named_and_the_others_are_listed(two: Agency):
    two.desktop.write_text("{")
    told = two.told()
    assert told.code == 1
    assert [one["client"] for one in told.account("acme")["entries"]] == [CURSOR]
    assert str(two.desktop) in told.fault("broken file")["message"]


def test_an_entry_that_is_off_and_one_whose_command_is_gone(two: Agency):
    servers = json.loads(two.config.read_text())
    servers["mcpServers"]["acme"]["disabled"] = True
    servers["mcpServers"]["beta"]["command"] = "/nowhere/kartra-mcp"
    two.config.write_text(json.dumps(servers))
    told = two.told()
    assert f"{CURSOR} (off)" in two.list_accounts().stdout
    assert told.kinds == ["command"]
    assert "install cursor --name beta" in told.fault("command")["remedy"]


def test_the_sandbox_is_an_account_too(agency: Agency):
    agency.connect("con_acme").serve(CURSOR, "acme", "con_acme")
    assert agency.install(CODEX, "--sandbox").returncode == 0
    told = agency.told()
    rehearsal = told.account("kartra-rehearsal")
    assert (told.code, rehearsal["sandbox"], rehearsal["state"]) == (0, True, "ready")
    assert rehearsal["state_folder"] == str(agency.state / "sandbox")


def test_the_gate_is_that_of_each_entry(two: Agency):
    two.write_entry(CURSOR, "acme", CONNECTION="con_acme", GATE_IRREVERSIBLE="human")
    two.write_entry(CURSOR, "beta", CONNECTION="con_beta", READ_ONLY="on", STATE_DIR="~/beta")
    two.desktop.unlink()
    two.write_entry(DESKTOP, "acme", CONNECTION="con_acme")
    told = two.told()
    assert told.account("acme")["irreversible"] == ["preview", "human"]
    assert told.account("beta")["irreversible"] == ["read-only"]


def test_a_variable_of_this_shell_is_not_taken_for_that_of_an_entry(two: Agency):
    two.settings["KARTRA_MCP_STATE_DIR"] = str(two.path / "elsewhere")
    two.settings["KARTRA_MCP_CONNECTION"] = "con_gamma"
    told = two.told()
    assert told.report["faults"] == []
    assert told.account("acme")["state_folder"] == str(two.state)


def test_names_from_membrane_cannot_move_the_cursor(agency: Agency):
    agency.connected("con_x", name="Shop \x1b[31mtwo\x1b[0m\u202e; rm -rf")
    shown = agency.list_accounts().stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "--name shop-31mtwo-0m-rm-rf --connection con_x" in shown


def test_names_from_a_clients_file_cannot_move_the_cursor_or_end_a_command(agency: Agency):
    agency.connect().write_entry(CURSOR, "acme", CONNECTION="con_acme")
    agency.write_entry(CURSOR, "\x1b[2Jx\u202e; rm", CONNECTION="con_acme")
    agency.record(agency.state, "con_acme", "unknown")
    shown = agency.list_accounts("--offline").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "uninstall cursor --name '[2Jx; rm'" in shown


@pytest.mark.parametrize("folder", ["/tmp/\ud800", "/tmp/\0"])
def test_a_folder_that_no_system_can_name_is_a_fault(agency: Agency, folder: str):
    agency.connect().write_entry(CURSOR, "acme", CONNECTION="con_acme", STATE_DIR=folder)
    assert agency.told().kinds == ["state folder"]


def test_an_id_from_membrane_begins_no_line(agency: Agency):
    agency.connected("con_x\n- Trusted: rm", name="Shop")
    assert "\n- Trusted" not in agency.list_accounts().stdout


# What is chosen by Membrane


def test_an_entry_without_a_connection_shows_what_is_served(agency: Agency):
    agency.connect("con_acme", "con_beta")
    agency.install(CURSOR)
    told = agency.told()
    assert told.account("kartra")["state"] == "several connections"
    assert "con_acme" in json.dumps(told.report["unused_connections"])
    agency.serve_last(agency.state, "con_beta")
    told = agency.told()
    assert told.account("kartra")["connection"]["name"] == "Beta Studio"
    assert "chosen by Membrane" in agency.list_accounts().stdout
    assert told.code == 0


# Faults


def shared_folder(agency: Agency) -> None:
    agency.write_entry(CURSOR, "beta", CONNECTION="con_beta")


def two_ledgers(agency: Agency) -> None:
    agency.write_entry(DESKTOP, "other", CONNECTION="con_acme", STATE_DIR=str(agency.path / "s2"))


def served_twice(agency: Agency) -> None:
    agency.write_entry(CURSOR, "beta", CONNECTION="con_acme")


FAULTS: dict[str, tuple[Callable[[Agency], None], str]] = {
    "shared folder": (shared_folder, "--name beta --state-dir"),
    "two ledgers": (two_ledgers, "kartra-mcp install claude-desktop --name other --state-dir"),
    "served twice": (served_twice, "kartra-mcp uninstall cursor --name beta"),
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("words", [(), ("--offline",)])
def test_a_shared_account_or_folder_is_a_fault_with_its_mend(
    agency: Agency, kind: str, words: tuple[str, ...]
):
    arrange, command = FAULTS[kind]
    agency.connect().write_entry(CURSOR, "acme", CONNECTION="con_acme")
    assert agency.told(*words).code == 0
    arrange(agency)
    told = agency.told(*words)
    assert (told.code, told.kinds) == (1, [kind])
    fault = told.fault(kind)
    assert "acme" in fault["message"]
    assert command in fault["remedy"]
    mend = re.findall(r"`kartra-mcp (install|uninstall) ([^`]*)`", fault["remedy"])[-1]
    assert fault["message"] in agency.list_accounts(*words).stdout
    run = agency.run_command(mend[0], *shlex.split(mend[1]))
    assert run.returncode == 0, run.stderr
    assert agency.told(*words).kinds == []


def test_two_paths_of_one_folder_are_one_ledger(agency: Agency):
    agency.connect().write_entry(CURSOR, "acme", CONNECTION="con_acme")
    agency.state.mkdir(parents=True)
    (agency.path / "link").symlink_to(agency.state)
    spelled = f"{agency.path}/link/accounts/.."
    agency.write_entry(DESKTOP, "acme", CONNECTION="con_acme", STATE_DIR=spelled)
    assert agency.told().kinds == []
    agency.write_entry(DESKTOP, "beta", CONNECTION="con_beta", STATE_DIR=spelled)
    assert agency.told().kinds == ["shared folder"]
    remedy = agency.told().fault("shared folder")["remedy"]
    assert f"--state-dir {agency.state / 'accounts' / 'beta'}`" in remedy
    (agency.path / "loop").symlink_to(agency.path / "loop")
    agency.write_entry(DESKTOP, "beta", CONNECTION="con_beta", STATE_DIR=f"{agency.path}/loop")
    assert agency.told("--offline").kinds == []


def test_a_mend_of_a_shared_folder_settles_unknown_writes_first(agency: Agency):
    agency.connect().write_entry(CURSOR, "acme", CONNECTION="con_acme")
    shared_folder(agency)
    agency.record(agency.state, "con_acme")
    agency.record(agency.state, "con_beta", "unknown")
    fault = agency.told().fault("shared folder")
    assert "kartra-mcp ledger list --state unknown" in fault["remedy"]
    assert agency.told().account("beta")["unknown_writes"] == 1
    assert agency.told().account("acme")["unknown_writes"] == 0


def test_the_ledger_with_the_newest_write_is_kept(agency: Agency):
    agency.connect().write_entry(CURSOR, "acme", CONNECTION="con_acme")
    two_ledgers(agency)
    agency.record(agency.state, "con_acme", at=SEVEN)
    agency.record(agency.path / "s2", "con_acme", at=SEVEN + 60)
    remedy = agency.told().fault("two ledgers")["remedy"]
    assert f"install cursor --name acme --state-dir {agency.path / 's2'}" in remedy


def test_connections_of_one_name_are_a_fault(agency: Agency):
    agency.connected("c1", name="Kartra").connected("c2", name="kartra ")
    agency.serve(CURSOR, "acme", "c1").serve(CURSOR, "beta", "c2")
    told = agency.told()
    assert (told.code, told.kinds) == (1, ["same name"])
    assert told.fault("same name")["message"].startswith("acme and beta have")


def test_a_folder_that_no_client_can_use_is_a_fault(agency: Agency):
    agency.connect().write_entry(CURSOR, "acme", CONNECTION="con_acme", STATE_DIR="${HOME}/x")
    told = agency.told()
    assert told.kinds == ["state folder"]
    assert "KARTRA_MCP_STATE_DIR" in told.fault("state folder")["remedy"]


# docs/agency.md


def test_the_table_in_the_document_is_the_one_that_is_shown(agency: Agency):
    agency.connect()
    for client in (DESKTOP, CURSOR):
        agency.serve(client, "acme", "con_acme").serve(client, "beta", "con_beta")
    agency.install(CURSOR, "--sandbox")
    agency.call_at(agency.state, SEVEN + 7_920)
    agency.record(agency.state / "accounts" / "beta", "con_beta", "unknown", SEVEN - 200_000)
    agency.arrange("connection", "set-state", "con_beta", "DISCONNECTED")
    done = agency.list_as_process()
    assert (done.returncode, done.stderr) == (1, "")
    shown = "\n".join(line.rstrip() for line in done.stdout.splitlines())
    page = (Path(__file__).parents[1] / "docs" / "agency.md").read_text("utf-8")
    (printed,) = re.findall(r"(?s)```text\n(Entry .*?)\n```", page)
    assert printed == shown.replace(str(agency.path), "/home/ann")
