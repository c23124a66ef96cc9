"""`kartra-mcp doctor`: each fault is arranged on a machine, and the report must name its cause."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import command_line
import in_process
import pexpect
import pytest
from fake_membrane_api import serving
from fork_server import forked
from harness import CONNECTION, Sandbox, StandIn, action, healthy
from polling import gone, until

from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.onboarding.doctor.checks import check_clock, check_free_space
from kartra_mcp.onboarding.doctor.command import doctor
from kartra_mcp.onboarding.doctor.probe import Timings
from kartra_mcp.onboarding.doctor.python_check import check_python

LISTS = action("retrieve-account-lists", type="list-records")
LOGGED_OUT = {"type": "bad_request", "key": "not_authenticated", "message": "Not authenticated"}
NODE = '#!/bin/sh\n[ "$1" = --version ] && echo {version}\n'
ONLY_HERE = (
    "-c",
    """
import kartra_mcp.membrane.executable as p
from kartra_mcp.cli.main import main
p.POSIX_SYSTEM = ()
main()
""",
)
"""Start the command on a machine whose system folders hold no program."""


@dataclass
class Machine:
    """A healthy machine with its own home folder and PATH, until a test arranges a fault."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    launch: tuple[str, ...] = ("-m", "kartra_mcp")
    timings: Timings = field(default_factory=Timings)

    def __post_init__(self) -> None:
        self.home.mkdir()
        self.bin.mkdir()
        self.temporary.mkdir()
        self.membrane = StandIn(self.home / "stand-in").plan(**healthy(LISTS))
        self.membrane.plan(status={"out": {"loggedIn": True}})
        self.environment |= {
            "HOME": str(self.home),
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "TMPDIR": str(self.temporary),
            "KARTRA_MCP_STATE_DIR": str(self.state),
            "KARTRA_MCP_MEMBRANE": self.membrane.environment["KARTRA_MCP_MEMBRANE"],
        }
        self.everywhere = dict(self.environment)

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    @property
    def temporary(self) -> Path:
        return self.home / "tmp"

    @property
    def command(self) -> list[str]:
        words = (*self.launch, "doctor")
        return [sys.executable, *words] if "PYTHONPATH" in self.environment else forked(*words)

    def set(self, **settings: str) -> None:
        self.environment |= {f"KARTRA_MCP_{name}": value for name, value in settings.items()}

    @property
    def needs_process(self) -> bool:
        """True if its Python or its system folders differ from those of the tests."""
        return self.launch == ONLY_HERE or "PYTHONPATH" in self.environment

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        if not self.needs_process:
            command = partial(doctor, run_program=in_process.run, timings=self.timings)
            return command_line.run(words, env=self.environment, cwd=self.home, command=command)
        return self.run_process(*words)

    def run_process(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *words],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )

    def report(self, *words: str) -> Report:
        ended = self.run("--json", *words)
        assert ended.stderr == "", ended.stderr
        return Report(ended.returncode, **json.loads(ended.stdout))

    def write(self, file: Path, text: str, mode: int = 0o755) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def found_program(self, text: str, mode: int = 0o755) -> Path:
        """Put a program called membrane on PATH, and unset KARTRA_MCP_MEMBRANE."""
        del self.environment["KARTRA_MCP_MEMBRANE"]
        return self.write(self.bin / "membrane", text, mode)

    def only_here(self) -> None:
        """Hide every program outside this home folder."""
        self.launch = ONLY_HERE
        self.environment["PATH"] = str(self.bin)

    def connections(self, *found: dict[str, Any]) -> None:
        self.membrane.plan(connection_list={"out": {"items": list(found)}})

    def with_ledger(self, lines: int = 3, ahead: float = 0.0) -> Path:
        """Write a ledger by a clock that is ahead by so many seconds."""
        with closing(open_ledger(self.state, lambda: time.time() + ahead)) as ledger:
            for number in range(lines):
                ledger.append_note("start", {"number": number})
        return self.state / "ledger.db"

    def everything(self) -> dict[str, tuple[int, bytes]]:
        """Return all files below the home folder but the stand-in's log."""
        files = (p for p in self.home.rglob("*") if "stand-in" not in p.parts)
        return {
            str(p): (p.stat().st_mode, b"" if p.is_dir() else p.read_bytes()) for p in sorted(files)
        }


@dataclass
class Report:
    code: int
    healthy: bool
    findings: list[dict[str, str]]
    configuration: Any

    @property
    def failed(self) -> list[dict[str, str]]:
        return [finding for finding in self.findings if finding["state"] == "failed"]

    @property
    def warned(self) -> list[dict[str, str]]:
        return [finding for finding in self.findings if finding["state"] == "warning"]

    def message(self, step: str) -> str:
        return next(f["says"] for f in self.findings if f["step"] == step)

    def state(self, step: str) -> str:
        return next(f["state"] for f in self.findings if f["step"] == step)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "home")


def broken_package(m: Machine, name: str, text: str) -> None:
    m.write(m.home / "packages" / name / "__init__.py", text)
    m.environment["PYTHONPATH"] = str(m.home / "packages")


def no_node(m: Machine) -> None:
    m.found_program("#!/usr/bin/env node\nconsole.log('1.18.3')\n")
    m.only_here()


def no_node_and_no_program(m: Machine) -> None:
    del m.environment["KARTRA_MCP_MEMBRANE"]
    m.only_here()


def old_node(m: Machine) -> None:
    m.found_program("#!/usr/bin/env node\nawait fetch('')\n")
    m.write(m.bin / "node", NODE.format(version="v16.20.2"))


def no_real_node(m: Machine) -> None:
    m.found_program("#!/usr/bin/env node\nconsole.log('1.18.3')\n")
    m.write(m.bin / "node", "#!/bin/sh\nexit 127\n")


def no_program(m: Machine) -> None:
    del m.environment["KARTRA_MCP_MEMBRANE"]
    m.write(m.bin / "node", NODE.format(version="v22.11.0"))
    m.only_here()


def on_connections(answer: Any) -> Callable[[Machine], None]:
    return lambda m: m.membrane.plan(connection_list=answer) and None


def on_version(answer: Any) -> Callable[[Machine], None]:
    return lambda m: m.membrane.plan(**{"--version": answer}) and None


def on_everything(answer: Any) -> Callable[[Machine], None]:
    verbs = ("--version", "connection list", "action list", "status", "search")
    return lambda m: m.membrane.plan(**dict.fromkeys(verbs, answer)) and None


def login_expired(m: Machine) -> None:
    said = "Error: 401 Unauthorized. Your session has expired.\n"
    m.membrane.plan(connection_list={"err": said, "exit": 1}, status={"out": {"loggedIn": True}})


def says_it_is_logged_out(m: Machine) -> None:
    """Arrange a logout that only `status` reports."""
    m.membrane.plan(
        connection_list={"err": "fetch failed\n", "exit": 1}, status={"out": {"loggedIn": False}}
    )


def hangs(*verbs: str) -> Callable[[Machine], None]:
    def arrange(m: Machine) -> None:
        m.membrane.plan(**{verb: {"hang": True} for verb in verbs})
        m.set(TIMEOUT="1")

    return arrange


def connected(**more: Any) -> Callable[[Machine], None]:
    return lambda m: m.connections({**CONNECTION, **more})


def two_connections(m: Machine) -> None:
    m.connections(CONNECTION, {**CONNECTION, "id": "c2"})


def of_another_app(m: Machine) -> None:
    m.connections(CONNECTION, {"id": "s1", "state": "READY", "integration": {"key": "stripe"}})
    m.set(CONNECTION="s1")


def on_reading(answer: Any) -> Callable[[Machine], None]:
    return lambda m: m.membrane.plan(action_run=answer) and None


def state_below_a_file(m: Machine) -> None:
    m.write(m.home / "notes", "mine")
    m.set(STATE_DIR=str(m.home / "notes" / "state"))


def open_state(m: Machine) -> None:
    m.with_ledger()
    m.state.chmod(0o755)


def changed_line(m: Machine) -> None:
    with closing(sqlite3.connect(m.with_ledger())) as db, db:
        db.execute("DROP TRIGGER lines_stay")
        db.execute("UPDATE lines SET body = replace(body, '1', '9') WHERE n = 2")
        db.execute(
            "CREATE TRIGGER lines_stay BEFORE UPDATE ON lines\n"
            "  BEGIN SELECT RAISE(ABORT, 'lines are never changed'); END"
        )


def cut_ledger(m: Machine) -> None:
    with closing(sqlite3.connect(m.with_ledger())) as db, db:
        sql = db.execute("SELECT sql FROM sqlite_master WHERE name = 'lines_remain'").fetchone()[0]
        db.execute("DROP TRIGGER lines_remain")
        db.execute("DELETE FROM lines WHERE n > 1")
        db.execute(sql)


def lost_ledger(m: Machine) -> None:
    m.with_ledger().unlink()


def no_database(m: Machine) -> None:
    m.with_ledger().write_bytes(b"my shopping list" * 500)


def ahead(m: Machine) -> None:
    m.with_ledger(ahead=3 * 3600)


def broken_client(m: Machine) -> None:
    m.write(m.home / ".cursor" / "mcp.json", '{"mcpServers": {')


def client_with(command: str) -> Callable[[Machine], None]:
    servers = {"mcpServers": {"kartra": {"command": command, "args": ["serve"]}}}
    return lambda m: m.write(m.home / ".cursor" / "mcp.json", json.dumps(servers)) and None


def idle_client(m: Machine) -> None:
    client_with(str(m.write(m.home / "kartra-mcp", "", 0o644)))(m)


ENTRY_FILES = {".cursor": "mcp.json", ".codeium/windsurf": "mcp_config.json"}


def only_in(
    m: Machine,
    folder: str,
    args: tuple[str, ...] = (),
    more: dict[str, Any] | None = None,
    **settings: str,
) -> None:
    """Move the machine's settings, and these, from the shell into a client's entry."""
    command = m.write(m.home / "kartra-mcp", "#!/bin/sh\n")
    env = {n: v for n, v in m.everywhere.items() if n.startswith("KARTRA_MCP_")}
    env |= {f"KARTRA_MCP_{name}": value for name, value in settings.items()}
    entry = {"command": str(command), "args": ["serve", *args], "env": env, **(more or {})}
    text = json.dumps({"mcpServers": {"kartra": entry}})
    m.write(m.home / folder / ENTRY_FILES[folder], text)
    m.environment = {n: v for n, v in m.everywhere.items() if n not in env}


RATE = {"type": "bad_request", "key": "rate_limit_exceeded", "message": "Too many"}
NO_KEY = {"output": {"status": "Error", "message": "Invalid API key", "type": 203}}
REMEDY = "npm install -g @membranehq/cli"

# The fault, the first step that fails, part of its message, part of its fix.
FAULTS: dict[str, tuple[Callable[[Machine], object], str, str, str]] = {
    "a package is broken": (
        lambda m: broken_package(m, "jsonschema", "raise ImportError('no', name='jsonschema')"),
        *("python", "jsonschema cannot be imported", "'jsonschema<5"),
    ),
    "a package is another version": (
        lambda m: broken_package(m, "mcp", ""),
        *("python", "mcp cannot be imported", "'mcp<3"),
    ),
    "no node": (no_node, "node", "was not found", "node"),
    "no node, no program": (no_node_and_no_program, "node", "was not found", "node"),
    "node too old": (old_node, "node", "v16.20.2", "node"),
    "a node that is none": (no_real_node, "node", "does not print its version", "node"),
    "no program": (no_program, "program", "membrane was not found", REMEDY),
    "the named program is gone": (
        lambda m: m.set(MEMBRANE="/gone/membrane"),
        *("program", "/gone/membrane was not found", REMEDY),
    ),
    "a program that may not be run": (
        lambda m: (m.found_program("#!/bin/sh\n", 0o644), m.only_here()),
        *("node", "was not found", "node"),
    ),
    "a program that may not be run, with a node": (
        lambda m: (no_program(m), m.write(m.bin / "membrane", "#!/bin/sh\n", 0o644)),
        *("program", "is not executable", "chmod +x"),
    ),
    "a program whose first line leads nowhere": (
        lambda m: m.found_program("#!/gone/interpreter\n"),
        *("program", "does not exist or is not executable", REMEDY),
    ),
    "another membrane": (
        on_version({"out": "mctl membrane 2.4.0\n"}),
        *("program", "is not Membrane's command line", REMEDY),
    ),
    "the plugin of that name": (
        on_version({"out": "0.1.7\n"}),
        *("program", "version 0.1.7, but is not Membrane's", REMEDY),
    ),
    "a program that prints garbage": (
        on_everything({"out": "\x1b[2J<<<%$ 7"}),
        *("program", "is not Membrane's command line", REMEDY),
    ),
    "a program that crashes": (
        on_everything({"signal": int(signal.SIGSEGV)}),
        *("program", "is not Membrane's command line", REMEDY),
    ),
    "a program that hangs": (
        hangs("--version", "connection list", "status"),
        *("program", "hangs, even at", "--version"),
    ),
    "only the connections hang": (
        hangs("connection list"),
        *("connection", "did not list the connections in time", "connection list --json"),
    ),
    "logged out": (
        on_connections({"out": LOGGED_OUT, "exit": 1}),
        *("login", "not logged in", "login --tenant"),
    ),
    "login expired": (login_expired, "login", "has expired", "login --tenant"),
    "logged out, which only status reports": (
        says_it_is_logged_out,
        *("login", "not logged in", "login --tenant"),
    ),
    "no connection": (
        lambda m: m.connections(),
        *("connection", "no Kartra connection", "kartra-mcp setup"),
    ),
    "two connections": (two_connections, "connection", "2 Kartra connections", "--connection ID"),
    "disconnected": (
        connected(disconnected=True),
        *("connection", "'DISCONNECTED'", "connect --connectionId=c1"),
    ),
    "the user must act": (
        connected(state="CLIENT_ACTION_REQUIRED", clientAction={"description": "Sign in again"}),
        *("connection", "'CLIENT_ACTION_REQUIRED'", "connect --connectionId=c1"),
    ),
    "still building": (
        connected(state="BUILDING"),
        *("connection", "still building", "connection get c1 --wait"),
    ),
    "the named connection is gone": (
        lambda m: m.set(CONNECTION="c9"),
        *("connection", "KARTRA_MCP_CONNECTION names does not exist", "connection list"),
    ),
    "the named connection is another app's": (
        of_another_app,
        *("connection", "another app", "Kartra connection"),
    ),
    "the connections cannot be read": (
        on_connections({"out": {"type": "internal", "message": "Oh"}, "exit": 1}),
        *("connection", "could not be read", "connection list --json"),
    ),
    "the list of actions fails": (
        lambda m: m.membrane.plan(action_list={"out": {"type": "internal", "message": "Oh"}}),
        *("actions", "could not be read", "action list --connectionId=c1"),
    ),
    "the list of actions is empty": (
        lambda m: m.membrane.plan(action_list={"out": {"items": []}}),
        *("actions", "no action", "action list --connectionId=c1"),
    ),
    "a read is turned away": (
        on_reading({"out": RATE, "exit": 1}),
        *("read", "Too many calls", "kartra-mcp doctor"),
    ),
    "a read is refused by Kartra": (
        on_reading({"out": NO_KEY}),
        "read",
        "API key",
        "connect --connectionId=c1",
    ),
    "the state folder is below a file": (
        state_below_a_file,
        *("state folder", "notes is a file", "mv "),
    ),
    "the state folder cannot be written": (
        lambda m: m.set(STATE_DIR="/proc/kartra-mcp"),
        *("state folder", "cannot be written", "KARTRA_MCP_STATE_DIR"),
    ),
    "the state folder is open to others": (open_state, "state folder", "0755", "chmod 700"),
    "a line of the ledger was changed": (changed_line, "ledger", "at line 2", "ledger verify"),
    "the ledger was cut": (cut_ledger, "ledger", "damaged", "ledger new"),
    "the ledger is gone": (lost_ledger, "ledger", "is missing; it had 3 lines", "ledger new"),
    "the ledger is no database": (no_database, "ledger", "overwritten", "ledger new"),
    "the clock is behind": (ahead, "clock", "3 hours behind the newest line", "timedatectl"),
    "a bad value": (
        lambda m: m.set(RATE="soon"),
        *("settings", "KARTRA_MCP_RATE is not a number", "unset KARTRA_MCP_RATE"),
    ),
    "a misspelt setting": (
        lambda m: m.set(READONLY="on"),
        *("settings", "did you mean KARTRA_MCP_READ_ONLY", "unset KARTRA_MCP_READONLY"),
    ),
    "an unreadable policy file": (
        lambda m: m.set(POLICY="/gone/policy.toml"),
        *("settings", "not a readable TOML file", "unset KARTRA_MCP_POLICY"),
    ),
    "the API without credentials": (
        lambda m: m.set(TRANSPORT="api"),
        *("settings", "no credentials", "KARTRA_MCP_TRANSPORT"),
    ),
    "a broken client file": (broken_client, "clients", "cannot be read", "mcp.json"),
    "a client whose command is gone": (
        client_with("/gone/kartra-mcp"),
        *("clients", "command does not exist", "kartra-mcp install cursor"),
    ),
    "a client whose command may not be run": (
        idle_client,
        *("clients", "command is not executable", "kartra-mcp install cursor"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_first_that_fails_is_the_cause(machine: Machine, fault: str) -> None:
    arrange, step, says, mend = FAULTS[fault]
    arrange(machine)
    report = machine.report()
    assert (report.code, report.healthy) == (1, False)
    first = report.failed[0]
    assert first["step"] == step, report.findings
    assert says in first["says"]
    assert mend.replace("timedatectl", SET_CLOCK) in first["mend"]
    assert "`" in first["mend"] or "docs/" in first["mend"]
    assert {finding["step"] for finding in report.failed} == {step}, report.failed


SET_CLOCK = "sntp" if sys.platform == "darwin" else "timedatectl"


TOKEN = "a-token-of-the-tests"
DENIED = {"type": "bad_request", "key": "access_denied", "message": "Not yours"}
OH = {"type": "internal", "message": "Oh"}


@pytest.fixture
def by_api(machine: Machine) -> Iterator[Machine]:
    """The machine with credentials for an API that plays the program's plan."""
    with serving(machine.home / "stand-in") as address:
        machine.environment |= {"MEMBRANE_API_URI": address, "MEMBRANE_ACCESS_TOKEN": TOKEN}
        yield machine


def unreachable(m: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    m.environment["MEMBRANE_API_URI"] = f"http://127.0.0.1:{port}"


def of_a_workspace(m: Machine) -> None:
    on_connections({"out": LOGGED_OUT, "exit": 1})(m)
    del m.environment["MEMBRANE_ACCESS_TOKEN"]
    names = ("WORKSPACE_KEY", "WORKSPACE_SECRET", "TENANT_KEY")
    m.environment |= {f"MEMBRANE_{name}": TOKEN for name in names}


REACH = "curl -sSI"
CONSOLE = "Membrane's console"
PAIR = "MEMBRANE_WORKSPACE_KEY, MEMBRANE_WORKSPACE_SECRET and MEMBRANE_TENANT_KEY"

# The fault at the API; the other columns as above.
AT_THE_API: dict[str, tuple[Callable[[Machine], object], str, str, str]] = {
    "it is not there": (unreachable, "connection", "could not be reached", REACH),
    "it is a page": (
        on_connections({"out": "<html>502</html>", "http": 502}),
        *("connection", "status 502", REACH),
    ),
    "it is slow": (hangs("connection list"), "connection", "in time", REACH),
    "it does not take a token": (
        on_connections({"out": LOGGED_OUT, "exit": 1}),
        *("login", "rejects these credentials", "Correct MEMBRANE_ACCESS_TOKEN."),
    ),
    "it does not take a workspace's secret": (
        of_a_workspace,
        *("login", "rejects these credentials", f"Correct {PAIR}."),
    ),
    "it denies the connections": (
        on_connections({"out": DENIED, "exit": 1}),
        *("connection", "denied", "Correct MEMBRANE_ACCESS_TOKEN."),
    ),
    "no connection": (lambda m: m.connections(), "connection", "no Kartra connection", CONSOLE),
    "disconnected": (connected(disconnected=True), "connection", "DISCONNECTED", CONSOLE),
    "still building": (
        connected(state="BUILDING"),
        *("connection", "still building", "kartra-mcp doctor"),
    ),
    "the named connection is gone": (
        lambda m: m.set(CONNECTION="c9"),
        *("connection", "does not exist", "KARTRA_MCP_CONNECTION"),
    ),
    "the list of actions fails": (
        lambda m: m.membrane.plan(action_list={"out": OH, "exit": 1}),
        *("actions", "could not be read", "kartra-mcp doctor"),
    ),
    "the list of actions is empty": (
        lambda m: m.membrane.plan(action_list={"out": {"items": []}}),
        *("actions", "no action", CONSOLE),
    ),
    "a read is refused by Kartra": (on_reading({"out": NO_KEY}), "read", "key", "kartra_connect"),
    "a read is denied": (
        on_reading({"out": DENIED, "exit": 1}),
        *("read", "denied", "Correct MEMBRANE_ACCESS_TOKEN."),
    ),
}


@pytest.mark.parametrize("fault", AT_THE_API)
def test_a_fix_for_the_api_never_mentions_the_program(by_api: Machine, fault: str) -> None:
    arrange, step, says, mend = AT_THE_API[fault]
    arrange(by_api)
    report = by_api.report()
    assert report.code == 1
    assert {finding["step"] for finding in report.failed} == {step}, report.findings
    (found,) = report.failed
    assert says in found["says"]
    assert mend in found["mend"]
    host = by_api.environment["MEMBRANE_API_URI"].removeprefix("http://")
    assert host in report.message("program")
    if step == "login" or mend == REACH:
        assert host in found["says"] + found["mend"]
    told = json.dumps([f for f in report.findings if f["step"] != "clients"])
    assert not re.search(r"`membrane |kartra-mcp setup|the program is logged in", told)
    assert TOKEN not in json.dumps(report.findings)


def test_the_configuration_to_paste_names_the_credentials_it_lacks(by_api: Machine) -> None:
    ended = by_api.run()
    assert ended.returncode == 0, ended.stdout
    assert "MEMBRANE_API_URI and MEMBRANE_ACCESS_TOKEN: put them into the entry's `env`" in (
        ended.stdout
    )
    assert TOKEN not in ended.stdout
    assert "MEMBRANE_" not in ended.stdout[ended.stdout.index("\n{") :].replace("_MCP_MEMBRANE", "")


def test_credentials_that_only_this_shell_has_are_a_warning(by_api: Machine) -> None:
    before = by_api.environment
    only_in(by_api, ".cursor")
    api = {n: v for n, v in before.items() if n.startswith("MEMBRANE_")}
    by_api.environment |= api
    report = by_api.report()
    (found,) = [finding for finding in report.warned if finding["step"] == "settings"]
    assert (report.code, found["as"]) == (0, CURSOR)
    assert found["says"].startswith("MEMBRANE_API_URI and MEMBRANE_ACCESS_TOKEN came from")
    assert "mcp.json" in found["mend"]


def test_credentials_that_are_set_in_part_are_a_warning_unless_the_program_is_meant(
    machine: Machine,
) -> None:
    machine.environment["MEMBRANE_WORKSPACE_KEY"] = "wk-0123"
    machine.environment["MEMBRANE_WORKSPACE_SECRET"] = TOKEN
    report = machine.report()
    (found,) = [finding for finding in report.warned if finding["step"] == "settings"]
    assert report.code == 0
    assert "MEMBRANE_TENANT_KEY is not set" in found["says"]
    assert "KARTRA_MCP_TRANSPORT=cli" in found["mend"]
    machine.set(TRANSPORT="cli")
    assert machine.report().state("settings") == "ok"
    machine.set(TRANSPORT="auto", SANDBOX="on")
    assert machine.report().state("settings") == "ok"


def test_steps_after_a_failed_one_are_skipped_and_the_rest_is_checked(machine: Machine) -> None:
    on_connections({"out": LOGGED_OUT, "exit": 1})(machine)
    machine.with_ledger()
    report = machine.report()
    states = [(finding["step"], finding["state"]) for finding in report.findings]
    assert states == [
        ("python", "ok"),
        ("settings", "ok"),
        ("node", "ok"),
        ("program", "ok"),
        ("login", "failed"),
        ("connection", "skipped"),
        ("actions", "skipped"),
        ("read", "skipped"),
        ("disk", "ok"),
        ("state folder", "ok"),
        ("ledger", "ok"),
        ("clock", "ok"),
        ("clients", "warning"),
    ]
    assert "action list" not in " ".join(map(" ".join, machine.membrane.started()))


@pytest.mark.parametrize("held", ["the turn", "the database"])
def test_a_ledger_that_another_program_holds(machine: Machine, held: str) -> None:
    file = machine.with_ledger()
    with _held(file, held):
        report = machine.report()
    (found,) = report.failed
    assert found["step"] == "ledger"
    assert "another" in found["says"]
    assert found["mend"].startswith("`lsof ")
    assert machine.report().failed == []


def _held(file: Path, held: str) -> subprocess.Popen[bytes]:
    """Start a program that holds the file until its input ends."""
    code = {
        "the turn": "import fcntl; f = open({0!r}, 'r+'); fcntl.flock(f, fcntl.LOCK_EX)",
        "the database": "import sqlite3; f = sqlite3.connect({0!r}); f.execute('BEGIN IMMEDIATE')",
    }[held].format(str(file if held == "the database" else file.with_name("ledger.turn")))
    program = f"{code}; print('held', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"
    return holder


@pytest.mark.parametrize("flags", [["--sandbox"], []])
def test_a_healthy_machine_is_reported_so_and_nothing_changes(
    machine: Machine, flags: list[str]
) -> None:
    machine.with_ledger()
    before = machine.everything()
    ended = machine.run(*flags)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert "Healthy." in ended.stdout
    assert not re.search("^(failed|skipped)", ended.stdout, re.MULTILINE)
    assert "kartra_retrieve_account_lists answered" in ended.stdout
    assert machine.everything() == before


def test_the_sandbox_is_looked_at_as_it_is_and_stays_so(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "state").arrange("reset")
    (number,) = sandbox.rows("SELECT id FROM connections WHERE state = 'READY'")[0]
    sandbox.arrange("connection", "set-state", str(number), "SETUP_FAILED")
    sandbox.file.parent.chmod(0o700)
    before = (sandbox.dump(), sandbox.started())
    ended = subprocess.run(
        [sys.executable, "-m", "kartra_mcp", "doctor", "--json"],
        env=sandbox.environment,
        capture_output=True,
        check=False,
    )
    report = Report(ended.returncode, **json.loads(ended.stdout))
    (found,) = report.failed
    assert "'SETUP_FAILED'" in found["says"]
    assert "kartra-mcp sandbox reset" in found["mend"]
    assert (sandbox.dump(), sandbox.started()) == before


def test_it_reads_once_by_the_tool_that_a_client_would_call(machine: Machine) -> None:
    assert machine.report().healthy
    (run,) = machine.membrane.runs()
    assert run[:3] == ["action", "run", "id-retrieve-account-lists"]


def test_no_read_is_tried_that_the_user_denies(machine: Machine) -> None:
    machine.set(DENY="kartra_retrieve_*")
    report = machine.report()
    assert report.state("read") == "warning"
    assert machine.membrane.runs() == []


def test_it_takes_the_settings_of_serve_as_flags(machine: Machine) -> None:
    report = machine.report("--connection", "c9")
    assert report.failed[0]["step"] == "connection"
    report = machine.report("--timeout", "soon")
    assert "KARTRA_MCP_TIMEOUT" in report.failed[0]["says"]


CURSOR, WINDSURF = "Cursor (kartra)", "Windsurf (kartra)"


@pytest.mark.parametrize("by", ["variable", "flag"])
def test_the_settings_of_the_entry_are_diagnosed(machine: Machine, by: str) -> None:
    two_connections(machine)
    if by == "flag":
        only_in(machine, ".cursor", args=("--connection", "c2"))
    else:
        only_in(machine, ".cursor", CONNECTION="c2")
    report = machine.report()
    assert (report.code, report.failed) == (0, [])
    assert {f.get("as", "") for f in report.findings if f["step"] == "connection"} == {CURSOR}
    assert "(c2)" in next(f["says"] for f in report.findings if f["step"] == "connection")


def test_a_setting_of_the_shell_is_diagnosed_instead(machine: Machine) -> None:
    only_in(machine, ".cursor", MEMBRANE="/gone/membrane")
    machine.environment = machine.everywhere
    report = machine.report()
    assert report.healthy
    assert not any("as" in finding for finding in report.findings)
    assert "were not checked" in report.findings[-1]["says"]


# The fault of an entry, the step that fails, and part of its message.
IN_AN_ENTRY: dict[str, tuple[Callable[[Machine], None], str, str]] = {
    "a program": (
        lambda m: only_in(m, ".cursor", MEMBRANE="/gone/membrane"),
        *("program", "/gone/membrane was not found"),
    ),
    "a state folder": (
        lambda m: only_in(m, ".cursor", STATE_DIR="/proc/nope"),
        *("state folder", "cannot be written"),
    ),
    "a value": (lambda m: only_in(m, ".cursor", RATE="soon"), "settings", "is not a number"),
    "a word": (
        lambda m: only_in(m, ".cursor", args=("--nothing",)),
        *("settings", "unknown arguments: --nothing"),
    ),
}


@pytest.mark.parametrize("fault", IN_AN_ENTRY)
def test_what_is_wrong_in_an_entry_fails_and_names_the_client(machine: Machine, fault: str) -> None:
    arrange, step, says = IN_AN_ENTRY[fault]
    arrange(machine)
    report = machine.report()
    (found,) = report.failed
    assert (report.code, found["step"], found["as"]) == (1, step, CURSOR)
    assert says in found["says"]
    assert str(machine.home / ".cursor" / "mcp.json") in found["mend"]


def test_an_entry_that_is_switched_off_is_a_warning(machine: Machine) -> None:
    only_in(machine, ".codeium/windsurf", more={"disabled": True})
    machine.environment = machine.everywhere
    report = machine.report()
    (found,) = [finding for finding in report.findings if finding["step"] == "clients"]
    assert (report.code, found["state"]) == (0, "warning")
    assert "switched off" in found["says"]


def test_two_clients_with_different_settings_are_both_diagnosed(
    machine: Machine,
) -> None:
    only_in(machine, ".cursor")
    only_in(machine, ".codeium/windsurf", CONNECTION="c9")
    report = machine.report()
    walked = [f["as"] for f in report.findings if f["step"] == "connection"]
    assert walked == [CURSOR, WINDSURF]
    (found,) = report.failed
    assert (found["step"], found["as"]) == ("connection", WINDSURF)


def test_two_clients_with_the_same_settings_are_diagnosed_once(machine: Machine) -> None:
    only_in(machine, ".cursor")
    only_in(machine, ".codeium/windsurf")
    assert f"With the settings of {CURSOR}:\n" in machine.run().stdout
    assert len(machine.membrane.runs()) == 1


def test_what_only_this_shell_finds_is_a_warning(machine: Machine) -> None:
    log = machine.home / "stand-in"
    stand_in = Path(__file__).with_name("fake_membrane.py")
    program = machine.found_program(f'#!/bin/sh\nexec {sys.executable} {stand_in} {log} "$@"\n')
    report = machine.report()
    assert report.healthy
    warned = next(finding for finding in report.warned if finding["step"] == "program")
    assert "desktop program would not find it" in warned["says"]
    assert f"--membrane {program}" in warned["mend"]


def test_the_fix_names_the_program_that_is_used(machine: Machine) -> None:
    on_connections({"out": LOGGED_OUT, "exit": 1})(machine)
    mend = machine.report().failed[0]["mend"]
    assert f"fake_membrane.py {machine.home / 'stand-in'} login --tenant" in mend


def test_the_configuration_to_paste_is_shown_only_where_no_client_has_one(
    machine: Machine,
) -> None:
    machine.set(READ_ONLY="on")
    ended = machine.run()
    pasted = json.loads(ended.stdout[ended.stdout.index("\n{") :])["mcpServers"]["kartra"]
    assert Path(pasted["command"]).is_absolute()
    assert os.access(pasted["command"], os.X_OK)
    assert pasted["args"][-1] == "serve"
    assert pasted["env"]["KARTRA_MCP_READ_ONLY"] == "on"
    client_with(pasted["command"])(machine)
    report = machine.report()
    assert report.configuration is None
    assert report.state("clients") == "ok"


@pytest.mark.parametrize(
    "fault", ["logged out", "no program", "a line of the ledger was changed", "two connections"]
)
def test_the_text_for_the_user_has_the_same_findings(machine: Machine, fault: str) -> None:
    arrange, step, says, mend = FAULTS[fault]
    arrange(machine)
    ended = machine.run()
    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("failed"))
    assert lines[at].split()[1] == step.split()[0]
    assert says in lines[at]
    assert mend in lines[at + 1]
    assert "1 failed. Fix the first one first." in lines
    assert "\x1b" not in ended.stdout


def test_untrusted_output_cannot_move_the_cursor(machine: Machine) -> None:
    on_version({"out": "mctl \x1b[2J\x1b]0;title\x07 2.0.0\n"})(machine)
    ended = machine.run()
    assert "output: mctl" in ended.stdout
    assert "\x1b" not in ended.stdout
    assert "\x07" not in ended.stdout


def test_progress_is_shown_on_a_terminal_alone(machine: Machine) -> None:
    words = " ".join(machine.command)
    environment = {**machine.environment, "TERM": "xterm"}
    child = pexpect.spawn(words, env=environment, encoding="utf-8", timeout=60)
    child.expect(pexpect.EOF)
    child.close()
    shown = child.before or ""
    assert "from Membrane" in shown
    assert "Healthy." in shown
    assert "from Membrane" not in "".join(_texts(machine.run()))


def _texts(ended: subprocess.CompletedProcess[str]) -> Iterator[str]:
    yield from (ended.stdout, ended.stderr)


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_stopped_it_leaves_no_process_and_no_file(
    machine: Machine, number: signal.Signals
) -> None:
    machine.membrane.plan(connection_list={"hang": True, "child": True})
    running = await anyio.open_process(
        machine.command,
        env=machine.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    children = machine.home / "stand-in" / "children"
    await until(lambda: children.exists() and children.read_text().endswith("\n"))
    running.send_signal(number)
    assert running.stderr
    with anyio.fail_after(30):
        said = b"".join([part async for part in running.stderr])
        assert await running.wait() == 1
    assert said.split() == [b"Stopped."]
    assert all(gone(pid) for pid in machine.membrane.pids())
    assert list(machine.temporary.iterdir()) == []


def test_a_program_that_hangs_delays_it_for_less_than_a_minute(machine: Machine) -> None:
    hangs("--version", "connection list", "status")(machine)
    del machine.environment["KARTRA_MCP_TIMEOUT"]
    usual, tenth = Timings(), 0.1
    machine.timings = Timings(**{name: tenth * all_ for name, all_ in asdict(usual).items()})
    began = time.monotonic()
    assert machine.report().failed[0]["step"] == "program"
    assert time.monotonic() - began < 60 * tenth


@pytest.mark.parametrize("words", [["--nothing"], ["--timeout"], ["extra"]])
def test_wrong_usage(machine: Machine, words: list[str]) -> None:
    ended = machine.run(*words)
    assert ended.returncode == 2
    assert "not understood" in ended.stderr
    assert machine.membrane.started() == []


# Faults that a test cannot arrange on its machine: Python, clock, disk.


@pytest.mark.parametrize(
    ("version", "state"), [((3, 10, 14), "failed"), ((3, 11, 0), "ok"), ((3, 14, 1), "ok")]
)
def test_python_older_than_3_11_fails(version: tuple[int, ...], state: str) -> None:
    found = check_python(version)
    assert found.state == state
    assert ("pipx install" in found.fix) is (state == "failed")


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("now", "newest", "state"),
    [
        (NOW, None, "ok"),
        (NOW, NOW - 400 * 86_400, "ok"),
        (NOW, NOW + 59, "ok"),
        (NOW, NOW + 61, "failed"),
        (0.0, None, "failed"),
        (1_700_000_000.0, None, "failed"),
        (5_000_000_000.0, NOW, "failed"),
    ],
)
def test_a_clock_that_cannot_be_right_fails(now: float, newest: float | None, state: str) -> None:
    assert check_clock(now, newest).state == state


@pytest.mark.parametrize(
    ("free", "state"),
    [(0, "failed"), (4 * 1024**2, "failed"), (50 * 1024**2, "warning"), (1024**3, "ok")],
)
def test_little_free_space_is_a_warning_and_almost_none_a_failure(
    tmp_path: Path, free: int, state: str
) -> None:
    found = check_free_space(free, tmp_path)
    assert found.state == state
    assert ("df -h" in found.fix) is (state != "ok")
