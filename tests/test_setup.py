"""`kartra-mcp setup` on a clean home folder: every branch, and stopped at every question."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import command_line
import pexpect
import pytest
from mcp import Client, StdioServerParameters
from polling import until
from setup_machine import ANSWERS, ROOT, Home, answered, ended, hung_up, plain

from kartra_mcp.cli.install import uninstall_command
from kartra_mcp.ledger.sqlite.store import open_ledger

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

GOES_ON = "No change is incomplete. Run `kartra-mcp setup` again to "
PIN = "correct horse"
ONE_OF_EACH_KIND = ("install", "agreed", "irreversible", "refund", "pin", "pin_again", "clients")
"""Questions with each reader: yes or no, Enter, a choice, a number, a secret, a list."""
SCRIPTED = ("--yes", "--all-clients")


@pytest.fixture
def nothing(tmp_path):
    """A machine on which setup has not run yet."""
    made = Home(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def home(nothing: Home) -> Home:
    """Membrane is installed and logged in, and there is one connection that is READY."""
    return nothing.installed().logged_in().connected()


def finished(home: Home, child: Any, **other: str) -> str:
    """Answer all questions to the end; return the final output."""
    assert answered(child, **other) == ""
    code, shown = ended(child)
    assert code == 0, shown
    assert home.left_behind() == []
    return shown


# From nothing to a client


async def test_from_nothing_to_a_client_that_lists_the_tools(nothing):
    child = nothing.spawn_with_programs()
    shown = finished(nothing, child, irreversible="human", refund="250")
    assert shown.rstrip().endswith(
        "Restart Cursor; its settings list the server under MCP.\nThen ask it: kartra_status"
    )
    assert shown.lower().count("restart") == 1
    entry = nothing.entry()
    (made,) = nothing.sql("SELECT id, state FROM connections")
    assert made[1] == "READY"
    assert entry["env"] == {
        "KARTRA_MCP_CONNECTION": made[0],
        "KARTRA_MCP_GATE_IRREVERSIBLE": "human",
        "KARTRA_MCP_GATE_DESTRUCTIVE": "flag",
        "KARTRA_MCP_APPROVAL": "client",
        "KARTRA_MCP_CAP_REFUND": "250",
        "KARTRA_MCP_CAP_DAY_COUNT": "20",
    }
    assert Path(entry["command"]).is_absolute()
    assert (nothing.path / "opened").read_text().endswith(f"/{made[0]}\n")
    with closing(open_ledger(nothing.state)) as ledger:
        assert ledger.pins.check(ANSWERS["pin"][1], "ada")
    env = {"HOME": str(nothing.path), "PATH": "/usr/bin:/bin", **entry["env"]}
    served = StdioServerParameters(command=entry["command"], args=entry["args"], env=env)
    async with Client(served, mode="legacy") as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        status = (await client.call_tool("kartra_status", {})).structured_content
    assert {"kartra_get_lead", "kartra_refund_transaction"} <= tools
    assert status
    assert status["result"]["healthy"], status
    assert status["result"]["rules"]["limits"]["cap_refund"] == "250"


def test_a_second_run_changes_nothing(nothing):
    finished(nothing, nothing.spawn())
    before = nothing.config.read_bytes(), nothing.sql("SELECT * FROM connections")
    done = nothing.run("--yes")
    assert done.returncode == 0, done.stderr
    assert "is already up to date" in done.stdout
    assert (nothing.config.read_bytes(), nothing.sql("SELECT * FROM connections")) == before
    assert (nothing.path / "npm.log").read_text().count("install") == 1
    assert len(nothing.started_with("connect")) == 1
    assert list(nothing.config.parent.iterdir()) == [nothing.config]


def test_no_question_requests_a_kartra_key(nothing):
    child = nothing.spawn()
    child.logfile_read = seen = (nothing.path / "seen").open("w")
    finished(nothing, child)
    seen.close()
    asked = re.findall(r"^.*[?:\]] *$", plain((nothing.path / "seen").read_text()), re.MULTILINE)
    assert not [line for line in asked if re.search(r"(?i)api|key|password", line)], asked
    assert "never requests a key" in (nothing.path / "seen").read_text()


# Stopped, and run again


@pytest.mark.parametrize(
    ("stop", "questions"),
    [
        (pexpect.spawn.sendintr, tuple(ANSWERS)),
        (pexpect.spawn.sendeof, ONE_OF_EACH_KIND),
        (hung_up, ONE_OF_EACH_KIND),
    ],
    ids=["Ctrl-C", "Ctrl-D", "hang-up"],
)
async def test_stopped_at_any_question_the_next_run_goes_on_and_the_last_finishes(
    nothing, stop, questions
):
    """Stop one setup after the other, each at the next question of what is left to do."""
    for question in questions:
        child = nothing.spawn()
        assert answered(child, irreversible="human", stop=question) == question
        await until(nothing.waits)
        stop(child)
        if stop is not hung_up:
            code, shown = ended(child)
            assert code == 1
            ours = question != "agreed" or stop is pexpect.spawn.sendintr
            assert (GOES_ON if ours else "`kartra-mcp setup`") in shown
        assert nothing.left_behind() == []
        assert not nothing.config.exists()
    finished(nothing, nothing.spawn(), irreversible="human")
    assert nothing.entry()["env"]["KARTRA_MCP_GATE_IRREVERSIBLE"] == "human"
    assert nothing.sql("SELECT count(*) FROM connections") == [(1,)]
    assert (nothing.path / "npm.log").read_text().count("install") == 1


async def test_stopped_the_command_to_go_on_keeps_the_flags(nothing):
    """Without `--sandbox` the next run would have set up the real account."""
    child = nothing.spawn("--sandbox", "--name", "try", "--code=once")
    assert answered(child, stop="irreversible") == "irreversible"
    await until(nothing.waits)
    child.sendintr()
    code, shown = ended(child)
    assert code == 1
    assert "Run `kartra-mcp setup --sandbox --name try` again to continue." in shown


@pytest.mark.parametrize("stop", [pexpect.spawn.sendintr, hung_up], ids=["Ctrl-C", "hang-up"])
async def test_stopped_while_npm_runs_npm_ends_too(nothing, stop):
    (nothing.path / "npm-hangs").touch()
    child = nothing.spawn_with_programs()
    child.expect("Install it")
    child.sendline("")
    child.expect("npm installs")
    await until((nothing.path / "npm.pid").exists)
    stop(child)
    if stop is not hung_up:
        code, shown = ended(child)
        assert (code, GOES_ON in shown) == (1, True)
    await until(lambda: not nothing.processes())
    assert nothing.left_behind() == []
    (nothing.path / "npm-hangs").unlink()
    finished(nothing, nothing.spawn())


@pytest.mark.parametrize("stop", [pexpect.spawn.sendintr, hung_up], ids=["Ctrl-C", "hang-up"])
async def test_stopped_while_it_waits_the_same_connection_is_waited_for(nothing, stop):
    nothing.installed().logged_in().arrange("address", "ignored")
    child = nothing.spawn_with_programs()
    assert answered(child, stop="waiting") == "waiting"
    await until(lambda: bool(nothing.started_with("connection", "get")))
    stop(child)
    if stop is not hung_up:
        code, shown = ended(child)
        assert (code, GOES_ON in shown) == (1, True)
    await until(lambda: not nothing.processes())
    assert nothing.left_behind() == []
    nothing.arrange("address", "opened")
    finished(nothing, nothing.spawn())
    assert len(nothing.started_with("connect")) == 1
    assert nothing.sql("SELECT count(*) FROM connections") == [(1,)]


def test_the_terminal_has_its_echo_again_after_a_stopped_login(nothing):
    script = "#!/bin/sh\n[ $1 = login ] && { stty -echo; echo ready; exec sleep 300; }\n"
    nothing.installed()
    nothing.program(nothing.membrane, script + nothing.membrane.read_text().split("\n", 1)[1])
    env = nothing.environment
    shell = pexpect.spawn("/bin/sh", cwd=ROOT, env=env, encoding="utf-8", timeout=60)
    nothing.started.append(shell)
    shell.sendline(f"'{sys.executable}' -m kartra_mcp setup")
    shell.expect("Log in to Membrane now")
    shell.sendline("")
    shell.expect("ready")
    shell.sendintr()
    shell.expect("No change is incomplete")
    shell.sendline("stty -a")
    shell.expect(r"[ -]echo\b")
    assert shell.after == " echo"
    shell.sendline("exit")
    shell.expect(pexpect.EOF)


STUBBORN = """#!/bin/sh
[ "$1" = login ] || exec "{membrane}" "$@"
trap 'echo INTERRUPTED' INT
trap '' TERM
echo LOGIN RUNS
while :; do sleep 1; done
"""


def login_of(home: Home) -> list[int]:
    """Return the login's processes that still run."""
    found: list[int] = []
    for pid in home.processes():
        with suppress(OSError):  # it ended meanwhile
            if b"\0login\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def test_ctrl_c_again_and_again_leaves_no_login_behind_on_the_terminal(nothing):
    nothing.installed()
    script = STUBBORN.format(membrane=nothing.path / "membrane.prepared")
    nothing.program(nothing.membrane, script)
    # A shell leads the session: the end of a terminal's leader would end the login too.
    command = f"trap : INT; '{sys.executable}' -m kartra_mcp setup; echo ENDED $?; cat"
    shell = pexpect.spawn(
        "/bin/bash",
        ["-c", command],
        cwd=ROOT,
        env=nothing.environment,
        encoding="utf-8",
        timeout=60,
    )
    shell.delaybeforesend = None
    nothing.started.append(shell)
    shell.expect("Log in to Membrane now")
    shell.sendline("")
    shell.expect("LOGIN RUNS")
    shell.sendintr()
    for _ in range(2):
        # The login may be killed before it prints that it was interrupted once more.
        if shell.expect(["INTERRUPTED", r"ENDED \d"]) == 1:
            break
        shell.sendintr()
    else:
        shell.expect(r"ENDED \d")
    assert login_of(nothing) == []


# The program


def failing(home: Home, *words: str) -> str:
    """Run without a terminal, expect exit code 1, and return stderr."""
    done = home.run(*words)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert home.left_behind() == []
    assert not home.config.exists()
    return done.stderr


def test_an_installed_program_in_npms_usual_folder_is_not_named_in_the_entry(home):
    assert home.run(*SCRIPTED).returncode == 0
    assert "KARTRA_MCP_MEMBRANE" not in home.entry()["env"]


def test_a_program_that_only_this_shell_finds_is_named_in_full(nothing):
    own = nothing.path / "own" / "bin" / "membrane"
    nothing.logged_in().connected()
    nothing.program(own, (nothing.path / "membrane.prepared").read_text())
    nothing.settings["PATH"] = f"{own.parent}:{nothing.environment['PATH']}"
    assert nothing.run(*SCRIPTED).returncode == 0
    assert nothing.entry()["env"]["KARTRA_MCP_MEMBRANE"] == str(own)


def test_what_npm_puts_into_a_folder_of_its_own_is_found_and_named(nothing):
    nothing.logged_in().connected()
    nothing.settings["npm_config_prefix"] = str(nothing.path / "elsewhere")
    assert nothing.run(*SCRIPTED).returncode == 0
    named = nothing.entry()["env"]["KARTRA_MCP_MEMBRANE"]
    assert named == str(nothing.path / "elsewhere" / "bin" / "membrane")


def test_without_a_node_that_a_client_finds_it_is_named_too(nothing):
    nothing.installed().logged_in().connected()
    text = nothing.membrane.read_text().split("\n", 1)[1]
    nothing.program(nothing.membrane, "#!/usr/bin/env node\n" + text)
    nothing.program(nothing.tools / "node", '#!/bin/sh\nexec /bin/sh "$@"\n')
    assert nothing.run_bare(*SCRIPTED).returncode == 0
    named = json.loads(nothing.entry()["env"]["KARTRA_MCP_MEMBRANE"])
    assert named == [str(nothing.tools / "node"), str(nothing.membrane)]


def test_npm_that_fails_is_quoted_and_nothing_else_is_done(nothing):
    (nothing.path / "npm-fails").write_text("npm error code E404\nnpm error \x1b[2Jnot found\n")
    told = failing(nothing, *SCRIPTED)
    assert "exit code 243" in told
    assert "npm: npm error code E404" in told
    assert "\x1b" not in told
    assert nothing.started_with("status") == []


def test_what_npm_prints_is_not_shown_where_it_works(nothing):
    done = nothing.logged_in().connected().run(*SCRIPTED)
    assert "npm installs @membranehq/cli" in done.stdout
    assert "added 1 package" not in done.stdout + done.stderr


def test_an_unwritable_npm_folder_is_reported_before_anything_is_installed(nothing):
    file = nothing.path / "file"
    file.touch()
    nothing.settings["npm_config_prefix"] = str(file / "prefix")
    told = failing(nothing, *SCRIPTED)
    assert "npm config set prefix ~/.npm-global" in told
    assert "install" not in (nothing.path / "npm.log").read_text()


@pytest.mark.parametrize(
    ("gone", "says"), [("npm", "npm comes with Node.js"), ("node", "Node.js, which runs")]
)
def test_without_npm_or_node_the_error_names_their_source(nothing, gone, says):
    (nothing.tools / gone).unlink()
    done = nothing.run_bare(*SCRIPTED)
    assert done.returncode == 1
    assert says in done.stderr
    assert "https://nodejs.org" in done.stderr
    assert not (nothing.path / "npm.log").exists()


def test_an_install_that_is_not_wanted_is_not_made(nothing):
    child = nothing.spawn()
    child.expect("Install it")
    child.sendline("n")
    code, shown = ended(child)
    assert code == 1
    assert "npm install -g @membranehq/cli" in shown
    assert "install" not in (nothing.path / "npm.log").read_text()


@pytest.fixture
def wrong(home: Home) -> Home:
    """Another program of the same name comes first on PATH."""
    home.program(home.tools / "membrane", "#!/bin/sh\necho membrane-ads plugin 0.1.7\n")
    return home


def test_another_program_of_the_same_name_is_reported_and_replaced(wrong):
    child = wrong.spawn()
    child.expect("is not Membrane's")
    child.expect("or the word install: ")
    child.sendline("/no/such/file")
    child.expect("File not found")
    child.expect("or the word install: ")
    child.sendline(str(wrong.tools / "node"))
    child.expect("is not Membrane's")
    child.expect("or the word install: ")
    child.sendline(str(wrong.membrane))
    finished(wrong, child)
    assert wrong.entry()["env"]["KARTRA_MCP_MEMBRANE"] == str(wrong.membrane)
    again = wrong.run("--yes")
    assert again.returncode == 0, again.stderr


def test_npm_can_install_the_right_program_despite_another(wrong):
    wrong.membrane.unlink()
    child = wrong.spawn()
    child.expect("or the word install: ")
    child.sendline("install")
    finished(wrong, child)
    assert wrong.entry()["env"]["KARTRA_MCP_MEMBRANE"] == str(wrong.membrane)


def test_a_script_names_the_right_program_by_a_flag(wrong):
    assert "--membrane PATH" in failing(wrong, *SCRIPTED)
    assert wrong.run(*SCRIPTED, "--membrane", str(wrong.membrane)).returncode == 0


def test_a_program_named_before_that_is_gone_is_looked_for_again(home):
    assert home.run(*SCRIPTED, "--membrane", str(home.membrane)).returncode == 0
    moved = home.membrane.rename(home.tools / "membrane")
    done = home.run("--yes")
    assert done.returncode == 0
    assert "not usable" in done.stdout
    assert home.entry()["env"]["KARTRA_MCP_MEMBRANE"] == str(moved)


# The login


@pytest.fixture
def logged_out(home: Home) -> Home:
    home.arrange("logout")
    return home


@pytest.mark.parametrize("why", ["--headless", "SSH_CONNECTION", "DISPLAY"])
def test_without_a_browser_a_code_logs_in(logged_out, why):
    logged_out.settings |= {} if why.startswith("--") else {why: "" if why == "DISPLAY" else "x"}
    child = logged_out.spawn(*([why] if why.startswith("--") else []))
    child.expect(r"https://console\.getmembrane\.com/sandbox/login")
    child.expect("The code from that page")
    child.sendline("not the code")
    child.expect("That is not a code.*The code from that page")
    child.sendline("1234567890")
    child.expect("rejected the code.*The code from that page")
    code = logged_out.arrange("login", "code")["code"]
    child.sendline(code)
    shown = finished(logged_out, child)
    assert code not in shown
    everything = [f for f in logged_out.path.rglob("*") if f.is_file() and "account" not in f.name]
    assert not [file for file in everything if code.encode() in file.read_bytes()]
    assert logged_out.started_with("login", "--tenant") == []


def test_three_wrong_codes_end_it(logged_out):
    child = logged_out.spawn("--headless")
    for _ in range(3):
        child.expect("The code from that page")
        child.sendline("1234567890")
    code, shown = ended(child)
    assert (code, "you are not logged in" in shown) == (1, True)
    assert not logged_out.config.exists()
    assert "1234567890" not in shown


def test_a_script_logs_in_in_two_runs(logged_out):
    done = logged_out.run(*SCRIPTED, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert told["error"]["detail"]["address"].endswith("/sandbox/login")
    assert "--code CODE" in told["error"]["remedy"]
    assert "The code works once" not in done.stderr
    code = logged_out.arrange("login", "code")["code"]
    assert logged_out.run(*SCRIPTED, "--code", code).returncode == 0
    assert len(logged_out.started_with("login", "start")) == 1


def test_a_wrong_code_of_a_script_is_refused(logged_out):
    logged_out.arrange("login", "start")
    told = failing(logged_out, *SCRIPTED, "--code", "wrong-code")
    assert "rejected the code" in told
    assert "wrong-code" not in told


def test_a_refused_login_ends_it(logged_out):
    logged_out.arrange("login", "refuse")
    child = logged_out.spawn()
    assert answered(child) == ""
    code, shown = ended(child)
    assert (code, "The login failed" in shown) == (1, True)
    logged_out.arrange("login", "refuse", "off")
    finished(logged_out, logged_out.spawn())


def test_a_login_that_is_not_wanted_is_not_begun(logged_out):
    child = logged_out.spawn()
    child.expect("Log in to Membrane now")
    child.sendline("n")
    code, shown = ended(child)
    assert (code, "`membrane login --tenant`" in shown) == (1, True)
    assert logged_out.started_with("login") == []


# The connection


@pytest.fixture
def several(home: Home) -> Home:
    home.connected("c2", name="Shop \x1b[31mtwo\x1b[0m\u202e")
    home.connected("other", integrationKey="stripe")
    return home


def test_the_user_chooses_between_several_only_once(several):
    child = several.spawn()
    child.expect("Which Kartra account")
    child.expect("Number or word: ")
    assert "stripe" not in plain(child.before)
    assert "Shop [31mtwo[0m, READY" in child.before
    assert "\u202e" not in child.before
    child.sendline("")
    child.expect("Type a number from 1 to 2")
    child.sendline("2")
    finished(several, child)
    assert several.entry()["env"]["KARTRA_MCP_CONNECTION"] == "c2"
    assert several.run("--yes").returncode == 0
    assert several.entry()["env"]["KARTRA_MCP_CONNECTION"] == "c2"


def test_a_script_names_the_connection_by_its_id_or_key(several):
    told = failing(several, *SCRIPTED)
    assert "--connection ID" in told
    assert "c1 (" in told
    assert "c2 (" in told
    assert "\x1b" not in told
    (key,) = several.sql("SELECT key FROM connections WHERE id = 'c2'")[0]
    assert several.run(*SCRIPTED, "--connection", key).returncode == 0
    assert several.entry()["env"]["KARTRA_MCP_CONNECTION"] == "c2"


@pytest.mark.parametrize("named", ["other", "nothing"])
def test_a_connection_that_is_not_kartras_or_not_there_is_refused(several, named):
    told = failing(several, *SCRIPTED, "--connection", named)
    assert "KARTRA_MCP_CONNECTION" in told


def test_a_served_connection_that_is_gone_is_asked_for_again(home):
    assert home.run(*SCRIPTED).returncode == 0
    home.sql("DELETE FROM connections")
    home.connected("c7")
    done = home.run("--yes")
    assert done.returncode == 1
    assert "is gone" in done.stdout
    assert "--connection ID" in done.stderr
    assert home.entry()["env"]["KARTRA_MCP_CONNECTION"] == "c1"
    assert home.run("--yes", "--connection", "c7").returncode == 0
    assert home.entry()["env"]["KARTRA_MCP_CONNECTION"] == "c7"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("DISCONNECTED", "it was disconnected"),
        ("SETUP_FAILED", "Membrane could not set it up"),
        ("CONFIGURATION_ERROR", "its configuration is wrong"),
        ("NEW_STATE", "its state is NEW_STATE"),
    ],
)
def test_a_broken_connection_is_reconnected_and_never_replaced(home, state, words):
    home.arrange("connection", "set-state", "c1", state)
    child = home.spawn()
    child.expect(re.escape(words))
    child.expect("Reconnect it now\\?")
    child.sendline("")
    finished(home, child)
    assert [argv[1] for argv in home.started_with("connect")] == ["--connectionId=c1"]
    assert home.sql("SELECT id, state, disconnected FROM connections") == [("c1", "READY", 0)]


def test_a_reconnection_that_is_not_wanted_is_not_begun(home):
    home.arrange("connection", "set-state", "c1", "DISCONNECTED")
    child = home.spawn()
    child.expect("Reconnect it now\\?")
    child.sendline("n")
    code, shown = ended(child)
    assert (code, "it reconnects the same connection" in shown) == (1, True)
    assert home.started_with("connect") == []


def test_one_that_is_being_built_is_only_waited_for(home):
    home.arrange("connection", "set-state", "c1", "BUILDING")
    done = home.run(*SCRIPTED)
    assert done.returncode == 0
    assert "Membrane is still setting it up" in done.stdout
    assert home.started_with("connect") == []


async def test_it_waits_with_progress_until_the_user_has_agreed(nothing):
    nothing.installed().logged_in().arrange("address", "ignored")
    child = nothing.spawn("--no-browser")
    assert answered(child, stop="waiting") == "waiting"
    child.expect("9:5[0-9] left")
    nothing.arrange("address", "opened")
    finished(nothing, child)
    assert not (nothing.path / "opened").exists()


def test_the_wait_is_bounded_and_the_next_run_goes_on(nothing):
    nothing.installed().logged_in().arrange("address", "ignored")
    told = failing(nothing, *SCRIPTED, "--wait", "1")
    assert "waits for you to open its address" in told
    nothing.arrange("address", "opened")
    done = nothing.run(*SCRIPTED)
    assert done.returncode == 0
    assert "https://console.getmembrane.com/sandbox/connect/" in done.stdout
    assert len(nothing.started_with("connect")) == 1


def test_a_connection_that_membrane_gives_up_ends_it(nothing):
    nothing.installed().logged_in().arrange("address", "refused")
    told = failing(nothing, *SCRIPTED)
    assert "Membrane could not set it up" in told
    assert "The connector is not set up" in told


def test_a_new_connection_that_is_not_wanted_is_not_begun(nothing):
    child = nothing.installed().logged_in().spawn()
    child.expect("Connect Kartra now")
    child.sendline("n")
    code, shown = ended(child)
    assert (code, "membrane connect --connectorId=" in shown) == (1, True)
    assert nothing.started_with("connect") == []


async def test_one_that_becomes_ready_during_the_question_is_taken(nothing):
    child = nothing.installed().logged_in().spawn("--no-browser")
    child.expect("Connect Kartra now")
    nothing.connected("c1")
    child.sendline("y")
    child.expect("no other was created")
    finished(nothing, child)
    assert nothing.started_with("connect") == []
    assert nothing.entry()["env"]["KARTRA_MCP_CONNECTION"] == "c1"


async def test_two_setups_at_once_begin_one_connection(nothing):
    nothing.installed().logged_in().arrange("address", "ignored")
    both = [nothing.spawn("--no-browser") for _ in range(2)]
    for child in both:
        child.expect("Connect Kartra now")
    for child in both:
        child.sendline("y")
    for child in both:
        child.expect("Waiting until")
    nothing.arrange("address", "opened")
    for child in both:
        assert answered(child) == ""
        assert ended(child)[0] == 0
    assert len(nothing.started_with("connect")) == 1
    assert nothing.sql("SELECT count(*) FROM connections") == [(1,)]


def test_a_begun_connection_that_is_not_listed_yet_is_continued(nothing):
    membrane = nothing.installed().logged_in().membrane
    nothing.arrange("address", "ignored")
    failing(nothing, *SCRIPTED, "--wait", "1")
    (begun,) = nothing.sql("SELECT id FROM connections")[0]
    assert json.loads((nothing.state / "begun.json").read_text()) == {"id": begun}
    unlisted = 'case "$*" in "connection list"*) echo \'{"items": []}\'; exit;; esac\n'
    first, rest = membrane.read_text().split("\n", 1)
    nothing.program(membrane, f"{first}\n{unlisted}{rest}")
    nothing.arrange("address", "opened")
    assert nothing.run(*SCRIPTED).returncode == 0
    assert nothing.entry()["env"]["KARTRA_MCP_CONNECTION"] == begun
    assert len(nothing.started_with("connect")) == 1


def test_where_turns_cannot_be_taken_nothing_is_begun(nothing):
    nothing.installed().logged_in()
    (nothing.state / "connect.lock").mkdir(parents=True)
    assert "Nothing was done" in failing(nothing, *SCRIPTED)
    assert nothing.started_with("connect") == []


SCRIPTED_MEMBRANE = """#!/bin/sh
# A Membrane with one connection, whose states now and after a reconnect come from files.
echo "$@" >>"{home}/membrane.log"
case "$*" in
 *--version*) echo 1.18.3;;
 status*) echo '{{"loggedIn": true, "authenticated": true}}';;
 "connection list"*) printf '{{"items": [%s]}}' "$(cat "{home}/now.json")";;
 "connection get"*)
  cat "{home}/now.json"
  if [ -e "{home}/next.json" ]; then mv "{home}/next.json" "{home}/now.json"; fi;;
 connect*) cp "{home}/ready.json" "{home}/now.json"; cat "{home}/ready.json";;
 *) echo '{{}}';;
esac
"""
OLD = "https://console.example.com/old"


def telling(home: Home, **entry: Any) -> Home:
    """Install a Membrane that reports this connection, and READY after a reconnect."""
    one = {"id": "c1", "name": "Shop", "integration": {"key": "kartra"}}
    (home.path / "now.json").write_text(json.dumps(one | entry))
    (home.path / "ready.json").write_text(json.dumps(one | {"state": "READY"}))
    home.program(home.membrane, SCRIPTED_MEMBRANE.format(home=home.path))
    return home


BROKEN = {
    "failed": {"state": "SETUP_FAILED", "clientAction": {"uiUrl": OLD}},
    "ended": {"state": "READY", "disconnected": True, "url": OLD},
    "without an address": {"state": "CLIENT_ACTION_REQUIRED"},
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_connection_with_an_old_address_is_reconnected(nothing, how):
    done = telling(nothing, **BROKEN[how]).run(*SCRIPTED)
    assert done.returncode == 0, done.stderr
    assert OLD not in done.stdout
    assert "connect --connectionId=c1" in (nothing.path / "membrane.log").read_text()


def test_one_that_is_being_disconnected_is_reconnected_only_after_that(nothing):
    telling(nothing, state="DISCONNECTING")
    then = json.loads((nothing.path / "now.json").read_text()) | {"state": "DISCONNECTED"}
    (nothing.path / "next.json").write_text(json.dumps(then))
    assert nothing.run(*SCRIPTED).returncode == 0
    log = (nothing.path / "membrane.log").read_text().splitlines()
    looked = [n for n, line in enumerate(log) if line.startswith("connection get")]
    (reconnected,) = [n for n, line in enumerate(log) if line.startswith("connect -")]
    assert len(looked) >= 2
    assert looked[1] < reconnected


def test_one_that_stays_so_is_not_touched(nothing):
    told = failing(telling(nothing, state="DISCONNECTING"), *SCRIPTED, "--wait", "1")
    assert "it is being disconnected" in told
    assert "connect --connectionId" not in (nothing.path / "membrane.log").read_text()


# The rules


def test_answers_that_cannot_be_used_are_asked_again(home):
    child = home.spawn()
    child.expect("only read")
    child.sendline("perhaps")
    child.expect("Type y for yes")
    child.sendline("n")
    child.expect("cannot be undone.*Number or word")
    child.sendline("7")
    child.expect("Type a number from 1 to 3")
    child.sendline("3")
    child.expect("overwritten.*Number or word")
    child.sendline("PREVIEW")
    child.expect("largest single")
    child.sendline("lots")
    child.expect("That is not a sum such as 250")
    child.sendline("99.50")
    finished(home, child)
    env = home.entry()["env"]
    assert (env["KARTRA_MCP_GATE_IRREVERSIBLE"], env["KARTRA_MCP_CAP_REFUND"]) == ("deny", "99.50")
    assert env["KARTRA_MCP_GATE_DESTRUCTIVE"] == "preview"


def test_no_further_rule_is_asked_for_if_only_reads_are_allowed(home):
    child = home.spawn()
    child.expect("only read")
    child.sendline("y")
    shown = finished(home, child)
    assert "largest single" not in shown
    assert home.entry()["env"]["KARTRA_MCP_READ_ONLY"] == "on"


FLAGS = {
    "--read-only": ("KARTRA_MCP_READ_ONLY", "on"),
    "--gate-irreversible=deny": ("KARTRA_MCP_GATE_IRREVERSIBLE", "deny"),
    "--gate-destructive=preview": ("KARTRA_MCP_GATE_DESTRUCTIVE", "preview"),
    "--cap-refund=10.50": ("KARTRA_MCP_CAP_REFUND", "10.50"),
    "--cap-day-amount=100": ("KARTRA_MCP_CAP_DAY_AMOUNT", "100"),
    "--cap-day-count=3": ("KARTRA_MCP_CAP_DAY_COUNT", "3"),
    "--deny=kartra_delete_*": ("KARTRA_MCP_DENY", "kartra_delete_*"),
    "--timeout=20": ("KARTRA_MCP_TIMEOUT", "20"),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_answers_its_question_and_stays(home, flag):
    assert home.run(*SCRIPTED, flag).returncode == 0
    variable, value = FLAGS[flag]
    assert home.entry()["env"][variable] == value
    assert home.run("--yes").returncode == 0
    assert home.entry()["env"][variable] == value


def test_a_missing_answer_in_a_script_names_the_flag_and_writes_nothing(home):
    told = failing(home, "--all-clients")
    assert "--read-only or --no-read-only" in told
    flags = ["--no-read-only", "--gate-irreversible=preview", "--gate-destructive=flag"]
    assert "--cap-refund" in failing(home, *flags)
    flags += ["--cap-refund=none", "--cap-day-amount=none", "--cap-day-count=20"]
    assert "--client NAME" in failing(home, *flags)
    assert home.run(*flags, "--client", "cursor").returncode == 0


STRICT = ("--gate-irreversible=deny", "--gate-destructive=human", "--cap-refund=50")


def test_what_is_looser_than_before_is_agreed_to_twice(home):
    assert home.run(*SCRIPTED, *STRICT).returncode == 0
    child = home.spawn()
    child.expect("only read")
    child.sendline("")
    child.expect(r"cannot be undone.*Number or word \[deny\]: ")
    child.sendline("preview")
    child.expect(r"looser than now \(KARTRA_MCP_GATE_IRREVERSIBLE deny → preview\). Sure\? \[y/N\]")
    child.sendline("")
    child.expect(r"cannot be undone.*Number or word \[deny\]: ")
    child.sendline("")
    child.expect(r"overwritten.*Number or word \[human\]: ")
    child.sendline("preview")
    child.expect("Sure")
    child.sendline("y")
    child.expect(r"largest single.*\[50\]: ")
    child.sendline("none")
    child.expect("CAP_REFUND 50 → none")
    child.sendline("y")
    finished(home, child)
    env = home.entry()["env"]
    assert env["KARTRA_MCP_GATE_IRREVERSIBLE"] == "deny"
    assert env["KARTRA_MCP_GATE_DESTRUCTIVE"] == "preview"
    assert env["KARTRA_MCP_CAP_REFUND"] == ""


def test_a_loosening_by_a_flag_is_reported(home):
    assert home.run(*SCRIPTED, *STRICT).returncode == 0
    assert "Looser" not in home.run("--yes").stdout
    done = home.run("--yes", "--gate-irreversible=preview")
    assert "Looser than before: KARTRA_MCP_GATE_IRREVERSIBLE deny → preview" in done.stdout


def test_a_value_that_cannot_be_used_counts_as_the_strictest(home):
    assert home.run(*SCRIPTED).returncode == 0
    text = home.config.read_text().replace('"preview"', '"perhaps"').replace('"20"', '"many"')
    home.config.write_text(text)
    assert home.run("--yes").returncode == 0
    env = home.entry()["env"]
    assert (env["KARTRA_MCP_GATE_IRREVERSIBLE"], env["KARTRA_MCP_CAP_DAY_COUNT"]) == ("deny", "0")


def test_a_further_client_is_no_wider_than_the_first(home):
    (home.path / ".codeium" / "windsurf").mkdir(parents=True)
    assert home.run("--yes", "--client", "cursor", *STRICT, "--deny=kartra_x_*").returncode == 0
    assert home.run("--yes", "--client", "windsurf").returncode == 0
    other = json.loads((home.path / ".codeium/windsurf/mcp_config.json").read_text())
    assert other["mcpServers"]["kartra"]["env"] == home.entry()["env"]


def entries(home: Home, cursor: dict[str, Any], gemini: dict[str, Any]) -> Path:
    """Write entries into two clients; return the file of a third, which has none."""
    words = {"command": "kartra-mcp", "args": ["serve", "--sandbox"]}
    (home.path / ".gemini").mkdir()
    (home.path / ".codeium" / "windsurf").mkdir(parents=True)
    for file, entry in ((home.config, cursor), (home.path / ".gemini/settings.json", gemini)):
        file.write_text(json.dumps({"mcpServers": {"kartra-rehearsal": words | entry}}))
    return home.path / ".codeium/windsurf/mcp_config.json"


ONE_MORE = ("--sandbox", "--client", "windsurf")


def test_a_further_client_is_no_wider_than_any_of_the_others(nothing):
    strict = ["serve", "--sandbox", "--gate-destructive", "deny", "--rate=2"]
    first = {"KARTRA_MCP_DENY": "*refund*,x", "KARTRA_MCP_REPEAT_WINDOW_DAYS": "90"}
    second = {
        "KARTRA_MCP_DENY": "*delete*, x",
        "KARTRA_MCP_MAIL_PER_HOUR": "1",
        "KARTRA_MCP_GATE_IRREVERSIBLE": "human",
        "KARTRA_MCP_RATE": "0",
    }
    third = entries(nothing, {"args": strict, "env": first}, {"env": second})
    assert nothing.run("--yes", *ONE_MORE).returncode == 0
    env = json.loads(third.read_text())["mcpServers"]["kartra-rehearsal"]["env"]
    assert {name.removeprefix("KARTRA_MCP_"): text for name, text in env.items()} == {
        "DENY": "*delete*,*refund*,x",
        "MAIL_PER_HOUR": "1",
        "REPEAT_WINDOW_DAYS": "90",
        "RATE": "2",
        "GATE_DESTRUCTIVE": "deny",
        "GATE_IRREVERSIBLE": "human",
        "APPROVAL": "client",
        "CAP_DAY_COUNT": "20",
    }


def test_reads_only_among_the_arguments_of_one_is_reads_only_for_a_further_one(nothing):
    third = entries(nothing, {"args": ["serve", "--sandbox", "--read-only"]}, {})
    assert nothing.run("--yes", *ONE_MORE).returncode == 0
    env = json.loads(third.read_text())["mcpServers"]["kartra-rehearsal"]["env"]
    assert env == {"KARTRA_MCP_READ_ONLY": "on"}


@pytest.mark.parametrize("name", ["ALLOW", "POLICY"])
def test_the_user_chooses_between_values_without_an_order_of_strictness(nothing, name):
    one, other = (str(nothing.path / part) if name == "POLICY" else part for part in ("a", "b"))
    for value in (one, other):
        if name == "POLICY":
            Path(value).write_text("")
    variable = f"KARTRA_MCP_{name}"
    third = entries(nothing, {"env": {variable: one}}, {"env": {variable: other}})
    done = nothing.run("--yes", *ONE_MORE)
    assert done.returncode == 1
    assert f"Your clients differ in {variable} ({one} as in cursor; {other} as in" in done.stderr
    assert f"--{name.lower()} VALUE" in done.stderr
    assert not third.exists()
    child = nothing.spawn(*ONE_MORE)
    child.expect(f"differ in {variable}.*Number or word: ")
    child.sendline("2")
    finished(nothing, child)
    written = third.read_text()
    assert json.loads(written)["mcpServers"]["kartra-rehearsal"]["env"][variable] == other
    assert nothing.run("--yes", *ONE_MORE, f"--{name.lower()}", one).returncode == 0


def test_the_environment_of_the_run_answers_as_flags_do(home):
    home.settings["KARTRA_MCP_CAP_REFUND"] = "77"
    assert home.run(*SCRIPTED).returncode == 0
    assert home.entry()["env"]["KARTRA_MCP_CAP_REFUND"] == "77"


def test_a_pin_that_is_not_set_is_left_to_do(home):
    done = home.run(*SCRIPTED, "--gate-irreversible=human", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True)
    assert [left["do"] for left in told["left"]] == ["kartra-mcp approve --set-pin"]


def test_a_pin_that_will_not_do_is_asked_again(home):
    child = home.spawn()
    assert answered(child, irreversible="human", stop="pin") == "pin"
    child.sendline("short")
    child.expect("shorter than 6")
    child.expect("New PIN, at least")
    child.sendline(PIN)
    child.expect("Repeat the new PIN .*: ")
    child.sendline(PIN + "!")
    child.expect("PINs differ")
    finished(home, child)


# The clients


def test_the_user_chooses_the_clients(home):
    (home.path / ".codeium" / "windsurf").mkdir(parents=True)
    (home.path / ".gemini").mkdir()
    child = home.spawn()
    assert answered(child, stop="clients") == "clients"
    child.sendline("cursor, 9")
    child.expect("'9' is not in the list")
    child.sendline("1, gemini")
    shown = finished(home, child)
    assert home.entry()
    assert (home.path / ".gemini" / "settings.json").exists()
    assert not (home.path / ".codeium" / "windsurf" / "mcp_config.json").exists()
    assert "Restart Cursor" in shown


@pytest.mark.parametrize("how", ["flag", "none", "no client is here"])
def test_without_a_client_the_entry_is_printed(home, how):
    if how == "no client is here":
        home.config.parent.rmdir()
    if how == "none":
        child = home.spawn()
        assert answered(child, clients="none") == ""
        _, shown = ended(child)
    else:
        shown = home.run("--yes", *(["--no-client"] if how == "flag" else [])).stdout
    snippet = json.loads(shown[shown.index("{") : shown.rindex("\n}") + 2])
    entry = snippet["mcpServers"]["kartra"]
    assert entry["env"]["KARTRA_MCP_CONNECTION"] == "c1"
    assert not home.config.exists()
    nothing_found = how == "no client is here"
    assert ("No client was found on this machine" in shown) is nothing_found
    assert ("No client was written" in shown) is not nothing_found
    assert shown.rstrip().endswith("Restart the client.\nThen ask it: kartra_status")


def test_a_client_that_cannot_be_written_is_reported_and_the_others_are_written(home):
    broken = home.path / ".gemini" / "settings.json"
    broken.parent.mkdir()
    broken.write_text("{ this is no JSON")
    done = home.run(*SCRIPTED)
    assert done.returncode == 1
    assert "Left to do:" in done.stdout
    assert str(broken) in done.stdout
    assert broken.read_text() == "{ this is no JSON"
    assert home.entry()


def test_the_users_other_servers_stay(home):
    home.config.write_text('{"mcpServers": {"mine": {"command": "x"}}, "mine": 1}')
    assert home.run(*SCRIPTED).returncode == 0
    assert home.entry("mine") == {"command": "x"}
    assert json.loads(home.config.read_text())["mine"] == 1


# The rehearsal account, and how it is called


async def test_the_sandbox_needs_neither_program_nor_login(nothing):
    done = nothing.run(*SCRIPTED, "--sandbox")
    assert done.returncode == 0, done.stderr
    assert nothing.started_with("status") == []
    assert not (nothing.path / "npm.log").exists()
    entry = nothing.entry("kartra-rehearsal")
    assert entry["args"][-1] == "--sandbox"
    assert "KARTRA_MCP_CONNECTION" not in entry["env"]
    env = {"HOME": str(nothing.path), "PATH": "/usr/bin:/bin", **entry["env"]}
    served = StdioServerParameters(command=entry["command"], args=entry["args"], env=env)
    async with Client(served, mode="legacy") as client:
        status = (await client.call_tool("kartra_status", {})).structured_content
    assert status
    assert status["result"]["account"] == "SANDBOX"


def test_setup_names_the_command_that_removes_the_rehearsal_account(home):
    remove = "kartra-mcp uninstall cursor --name kartra-rehearsal"
    for words in (("--sandbox",), ()):
        shown = home.run(*SCRIPTED, *words).stdout
        assert f"To remove the rehearsal account later: {remove}" in shown
    removed = command_line.run(remove.split()[2:], env=home.environment, command=uninstall_command)
    assert removed.returncode == 0, removed.stderr
    assert set(json.loads(home.config.read_text())["mcpServers"]) == {"kartra"}
    assert "rehearsal" not in home.run(*SCRIPTED).stdout


def test_the_question_of_the_place_names_the_page_and_the_terminal(home):
    child = home.spawn()
    assert answered(child, irreversible="human", stop="approval") == "approval"
    assert plain(child.after).count("on the page or in a terminal") == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--gate-irreversible=perhaps"],
        ["--cap-refund=lots"],
        ["--cap-day-count=none"],
        ["--client", "no-such-client"],
        ["--name", "no name"],
        ["--wait", "0"],
        ["--no-client", "--all-clients"],
        ["--unknown"],
    ],
)
def test_wrong_usage_is_refused_before_anything_is_done(nothing, words):
    done = nothing.run("--yes", *words)
    assert done.returncode == 2
    assert not (nothing.path / "npm.log").exists()
    assert not nothing.state.exists()


def test_the_summary_for_a_program_is_all_of_stdout(home):
    done = home.run(*SCRIPTED, "--json")
    told = json.loads(done.stdout)
    assert (told["ok"], told["error"], told["left"]) == (True, None, [])
    assert told["connection"]["id"] == "c1"
    assert told["settings"] == home.entry()["env"]
    assert [client["client"] for client in told["clients"]] == ["cursor"]


def test_colours_are_for_terminals_and_not_under_no_color(home):
    assert "\x1b" not in home.run(*SCRIPTED).stdout
    child = home.spawn(*SCRIPTED)
    child.expect(pexpect.EOF)
    assert "\x1b[1m" in child.before
    home.settings["NO_COLOR"] = "1"
    child = home.spawn(*SCRIPTED)
    child.expect(pexpect.EOF)
    assert not re.search(r"\x1b\[[0-9;]*m", child.before)


def test_a_program_sees_no_more_of_the_environment_than_it_needs(nothing):
    nothing.settings |= {"SECRET_OF_ANOTHER": "x", "KARTRA_API_KEY": "y"}
    text = nothing.membrane.name and (nothing.path / "membrane.prepared").read_text()
    seen = nothing.path / "seen"
    first, rest = text.split("\n", 1)
    nothing.program(nothing.path / "membrane.prepared", f'{first}\nenv >>"{seen}"\n{rest}')
    npm = (nothing.tools / "npm").read_text().split("\n", 1)
    nothing.program(nothing.tools / "npm", f'{npm[0]}\nenv >>"{seen}"\n{npm[1]}')
    finished(nothing, nothing.spawn())
    assert "HOME=" in seen.read_text()
    assert "SECRET_OF_ANOTHER" not in seen.read_text()
    assert "KARTRA_API_KEY" not in seen.read_text()


def test_npms_settings_are_for_npm_alone(nothing):
    nothing.settings["npm_config__authToken"] = "token-of-a-registry"
    for name, file in (("npm", nothing.tools / "npm"), ("it", nothing.path / "membrane.prepared")):
        first, rest = file.read_text().split("\n", 1)
        nothing.program(file, f'{first}\nenv >>"{nothing.path}/seen-{name}"\n{rest}')
    finished(nothing, nothing.spawn())
    assert "token-of-a-registry" in (nothing.path / "seen-npm").read_text()
    assert "token-of-a-registry" not in (nothing.path / "seen-it").read_text()


def test_help_names_every_flag():
    done = subprocess.run(
        [sys.executable, "-m", "kartra_mcp", "setup", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
    )
    for flag in ("--yes", "--code", "--client", "--gate-irreversible", "--no-read-only", "--json"):
        assert flag in done.stdout
