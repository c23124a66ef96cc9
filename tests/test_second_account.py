"""A second account: `install` and `setup` give it a state folder of its own, or refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from agency import CODEX, CURSOR, DESKTOP, Agency
from setup_machine import answered, ended

from kartra_mcp.ledger.sqlite.store import open_ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def agency(tmp_path: Path) -> Iterator[Agency]:
    made = Agency(tmp_path / "home").connect()
    yield made
    made.close()


@pytest.fixture
def one(agency: Agency) -> Agency:
    """One account, in Cursor, with the platform's own folder."""
    return agency.serve(CURSOR, "acme", "con_acme")


def own(agency: Agency, name: str) -> Path:
    return agency.state / "accounts" / name


# install


def test_the_first_account_has_the_platforms_folder(one: Agency):
    assert one.entry("acme")["env"] == {"KARTRA_MCP_CONNECTION": "con_acme"}
    assert one.folder_of("acme") == one.state


def test_a_second_account_has_a_folder_of_its_own(one: Agency):
    done = one.install(CURSOR, "--name", "beta", "--connection", "con_beta")
    assert f"setting  KARTRA_MCP_STATE_DIR={own(one, 'beta')}" in done.stdout
    assert one.folder_of("beta") == own(one, "beta")
    assert one.told().report["faults"] == []


def test_in_another_client_it_is_the_same_folder_whatever_its_name(one: Agency):
    one.serve(CURSOR, "beta", "con_beta").serve(DESKTOP, "beta", "con_beta")
    one.serve(DESKTOP, "the-beta", "con_beta")
    assert one.folder_of("beta", DESKTOP) == own(one, "beta")
    assert one.folder_of("the-beta", DESKTOP) == own(one, "beta")
    one.serve(DESKTOP, "acme", "con_acme")
    assert one.folder_of("acme", DESKTOP) == one.state


def test_the_same_name_in_another_client_is_the_same_account(one: Agency):
    one.serve(CURSOR, "beta", "con_beta")
    for name in ("acme", "beta"):
        assert one.install(DESKTOP, "--name", name).returncode == 0
        assert one.folder_of(name, DESKTOP) == one.folder_of(name)
    assert [account["names"] for account in one.told().report["accounts"]] == [["acme"], ["beta"]]


def test_an_entry_that_is_repeated_is_unchanged(one: Agency):
    words = ("--name", "beta", "--connection", "con_beta")
    one.install(CURSOR, *words)
    before = one.config.read_bytes()
    assert "nothing was changed" in one.install(CURSOR, *words).stdout
    assert one.config.read_bytes() == before


def test_a_folder_that_is_given_is_taken(one: Agency):
    one.serve(CURSOR, "beta", "con_beta", "--state-dir", str(one.path / "b"))
    assert one.folder_of("beta") == one.path / "b"


def test_an_entry_of_another_account_is_not_changed_to_this_one(one: Agency):
    before = one.config.read_bytes()
    done = one.install(CURSOR, "--name", "acme", "--connection", "con_beta")
    assert done.returncode == 1
    assert "'acme' in Cursor serves the connection 'con_acme'" in done.stderr
    assert "--name" in done.stderr
    assert one.config.read_bytes() == before


def test_a_connection_by_its_key_is_recognized_once_it_was_served(one: Agency):
    stored = {"connection": {"id": "con_acme", "key": "k-acme", "name": "Acme Courses"}}
    one.state.mkdir(parents=True)
    (one.state / "actions-0.json").write_text(json.dumps(stored))
    for number, name in enumerate(("k-acme", "Acme Courses")):
        one.serve(DESKTOP, f"again-{number}", name)
        assert one.folder_of(f"again-{number}", DESKTOP) == one.state
    assert one.install(CURSOR, "--name", "acme", "--connection", "k-acme").returncode == 0


def test_an_account_that_comes_back_gets_its_ledger_again(one: Agency):
    one.serve(CURSOR, "beta", "con_beta")
    one.record(own(one, "beta"), "con_beta")
    one.run_command("uninstall", CURSOR, "--name", "beta")
    one.serve(CURSOR, "new-name", "con_beta")
    assert one.folder_of("new-name") == own(one, "beta")


def test_the_folder_of_an_earlier_account_is_not_given_to_another(one: Agency):
    one.record(one.state, "con_acme")
    one.serve(CURSOR, "beta", "con_beta")
    one.record(own(one, "beta"), "con_beta")
    for name in ("acme", "beta"):
        one.run_command("uninstall", CURSOR, "--name", name)
    one.serve(CURSOR, "beta", "con_gamma")
    assert one.folder_of("beta") == own(one, "beta-2")


def test_an_entry_that_is_replaced_keeps_the_folder_of_its_account(one: Agency):
    one.serve(CURSOR, "beta", "con_beta")
    one.record(own(one, "beta"), "con_beta")
    one.serve(CURSOR, "beta", "con_beta", "--replace")
    assert one.folder_of("beta") == own(one, "beta")
    one.serve(CURSOR, "beta", "con_gamma", "--replace")
    assert one.folder_of("beta") == own(one, "beta-2")


def test_an_entry_without_a_connection_is_given_one_and_a_folder(agency: Agency):
    agency.write_entry(CURSOR, "beta", CONNECTION="con_beta")
    agency.write_entry(CURSOR, "kartra")
    assert agency.told().kinds == ["shared folder", "connection"]
    agency.serve(CURSOR, "kartra", "con_acme")
    assert agency.folder_of("kartra") == own(agency, "kartra")
    assert agency.told().kinds == []


def test_what_is_printed_has_the_folder_too(one: Agency):
    done = one.run_command("install", "--print", "--name", "beta", "--connection", "con_beta")
    env = json.loads(done.stdout)["mcpServers"]["beta"]["env"]
    assert env["KARTRA_MCP_STATE_DIR"] == str(own(one, "beta"))
    assert not one.state.exists()


def test_the_sandbox_and_a_real_account_do_not_hinder_each_other(agency: Agency):
    assert agency.install(CURSOR, "--sandbox").returncode == 0
    agency.serve(CURSOR, "acme", "con_acme")
    assert agency.folder_of("acme") == agency.state
    assert agency.install(CODEX, "--sandbox").returncode == 0


# setup


def test_setup_gives_a_second_account_its_folder_and_its_pin(one: Agency):
    words = ("--yes", "--client", "cursor", "--name", "beta", "--connection", "con_beta")
    done = one.run(*words, "--gate-irreversible", "human")
    assert done.returncode == 0, done.stderr
    assert f"has a state folder of its own: {own(one, 'beta')}" in done.stdout
    assert f"kartra-mcp approve --set-pin --state-dir {own(one, 'beta')}" in done.stdout
    assert one.entry("beta")["env"]["KARTRA_MCP_STATE_DIR"] == str(own(one, "beta"))
    assert one.told().report["faults"] == []
    before = one.config.read_bytes()
    assert one.run(*words).returncode == 0
    assert one.config.read_bytes() == before


def test_setup_finds_the_folder_of_an_account_that_another_client_has(one: Agency):
    one.serve(CURSOR, "beta", "con_beta")
    words = ("--yes", "--client", "claude-desktop", "--connection", "con_beta")
    done = one.run(*words, "--name", "b")
    assert done.returncode == 0, done.stderr
    assert one.folder_of("b", DESKTOP) == own(one, "beta")


def test_setup_asks_before_an_entry_changes_to_another_account(one: Agency):
    before = one.config.read_bytes()
    child = one.spawn("--client", "cursor", "--name", "acme", "--connection", "con_beta")
    child.expect("serves the connection con_acme. Change it to Beta Studio")
    child.sendline("n")
    code, shown = ended(child)
    assert code == 1
    assert "kartra-mcp setup --name NAME --connection ID" in shown
    assert one.config.read_bytes() == before


def test_setup_with_yes_changes_the_account_as_it_is_told(one: Agency):
    done = one.run("--yes", "--client", "cursor", "--name", "acme", "--connection", "con_beta")
    assert done.returncode == 0, done.stderr
    assert "A second account needs an entry of its own" in done.stdout
    assert one.entry("acme")["env"]["KARTRA_MCP_CONNECTION"] == "con_beta"


def test_each_account_has_a_pin_of_its_own(one: Agency):
    one.serve(CURSOR, "beta", "con_beta")
    with closing(open_ledger(one.folder_of("acme"))) as ledger:
        ledger.pins.set("correct horse", "ann")
    with closing(open_ledger(one.folder_of("beta"))) as ledger:
        assert not ledger.pins.is_set()


@pytest.fixture
def only_one(tmp_path: Path) -> Iterator[Agency]:
    """Membrane has one connection, and an entry serves it."""
    made = Agency(tmp_path / "home").connect("con_acme").serve(CURSOR, "acme", "con_acme")
    yield made
    made.close()


def test_setup_connects_another_account_under_its_own_name(only_one: Agency):
    child = only_one.spawn("--client", "cursor", "--name", "beta", "--no-browser")
    child.expect("Acme Courses is served by the entry acme")
    child.expect("Connect another Kartra account now")
    child.sendline("y")
    assert answered(child) == ""
    code, shown = ended(child)
    assert code == 0, shown
    ((made, name),) = only_one.sql("SELECT id, name FROM connections WHERE id <> 'con_acme'")
    assert name == "beta"
    assert only_one.entry("beta")["env"]["KARTRA_MCP_CONNECTION"] == made
    assert only_one.folder_of("beta") == own(only_one, "beta")
    (words,) = only_one.started_with("connect")
    assert "--allowMultipleConnections" in words
    assert only_one.told().report["faults"] == []


def test_setup_continues_another_account_that_was_begun(only_one: Agency):
    only_one.arrange("address", "ignored")
    words = ("--client", "cursor", "--name", "beta")
    child = only_one.spawn(*words, "--no-browser", "--wait", "1")
    child.expect("Connect another Kartra account now")
    child.sendline("y")
    assert answered(child) == ""
    assert ended(child)[0] == 1
    only_one.arrange("address", "opened")
    done = only_one.run("--yes", *words)
    assert done.returncode == 0, done.stderr
    assert len(only_one.started_with("connect")) == 1
    assert only_one.told().report["faults"] == []


def test_a_script_does_not_connect_another_account_by_itself(only_one: Agency):
    before = only_one.config.read_bytes()
    done = only_one.run("--yes", "--client", "cursor", "--name", "beta")
    assert done.returncode == 1
    assert "Every Kartra connection is served by an entry of another name" in done.stderr
    assert "without --yes" in done.stderr
    assert only_one.started_with("connect") == []
    assert only_one.config.read_bytes() == before


def test_setup_of_another_name_offers_only_what_no_entry_serves(one: Agency):
    child = one.spawn("--client", "cursor", "--name", "second", "--no-browser")
    child.expect("Acme Courses is served by the entry acme")
    child.expect("Which Kartra account shall be served")
    child.expect("Number or word: ")
    assert "con_acme" not in child.before
    assert "another Kartra account" in child.before
    child.sendline("con_gamma")
    assert answered(child) == ""
    assert ended(child)[0] == 0
    assert one.entry("second")["env"]["KARTRA_MCP_CONNECTION"] == "con_gamma"


def test_a_script_gets_the_only_one_that_no_entry_serves(one: Agency):
    one.serve(CURSOR, "beta", "con_beta")
    done = one.run("--yes", "--client", "cursor", "--name", "third")
    assert done.returncode == 0, done.stderr
    assert one.entry("third")["env"]["KARTRA_MCP_CONNECTION"] == "con_gamma"
