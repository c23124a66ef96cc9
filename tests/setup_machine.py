"""Clean home folder for tests of `kartra-mcp setup`, with stand-ins for npm and Membrane."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import command_line
import in_process
import pexpect
from forked_terminal import ForkedSpawn

from kartra_mcp.cli.setup import setup_command

ROOT = Path(__file__).parent.parent

NODE = "#!/bin/sh\nexit 0\n"
NPM = """#!/bin/sh
# Stands in for npm: `prefix -g`, and `install -g`, which puts the prepared program into the prefix.
echo "$@" >>"{home}/npm.log"
prefix="${{npm_config_prefix:-{home}/.npm-global}}"
if [ "$1" = prefix ]; then echo "$prefix"; exit 0; fi
if [ -e "{home}/npm-fails" ]; then cat "{home}/npm-fails" >&2; exit 243; fi
if [ -e "{home}/npm-hangs" ]; then sleep 300 & echo $! >"{home}/npm.pid"; wait; fi
mkdir -p "$prefix/bin" && cp "{home}/membrane.prepared" "$prefix/bin/membrane"
echo "added 1 package in 1s"
"""
MEMBRANE = """#!/bin/sh
exec "{python}" -m kartra_mcp.sandbox "--account={account}" "$@"
"""
BROWSER = '#!/bin/sh\necho "$1" >>"{home}/opened"\n'


@dataclass
class Home:
    """A user's machine without a program, a login or a connection."""

    path: Path
    settings: dict[str, str] = field(default_factory=dict)
    started: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True)
        self.tools.mkdir()
        self.program(self.tools / "node", NODE)
        self.program(self.tools / "npm", NPM.format(home=self.path))
        self.program(self.tools / "browser", BROWSER.format(home=self.path))
        script = MEMBRANE.format(python=sys.executable, account=self.account)
        self.program(self.path / "membrane.prepared", script)
        self.arrange("logout")
        self.sql("DELETE FROM connections")
        (self.path / ".cursor").mkdir()

    @property
    def tools(self) -> Path:
        return self.path / "tools"

    @property
    def account(self) -> Path:
        return self.path / "account.db"

    @property
    def state(self) -> Path:
        return self.path / ".local" / "state" / "kartra-mcp"

    @property
    def config(self) -> Path:
        return self.path / ".cursor" / "mcp.json"

    @property
    def membrane(self) -> Path:
        return self.path / ".npm-global" / "bin" / "membrane"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.path),
            "PATH": f"{self.tools}:/usr/bin:/bin",
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "DISPLAY": ":0",
            "BROWSER": f"{self.tools / 'browser'} %s",
            **self.settings,
        }

    def program(self, file: Path, text: str) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    def arrange(self, *words: str) -> Any:
        """Run a verb of the sandbox on the account behind this home's program."""
        done = in_process.sandbox(f"--account={self.account}", *words, "--json")
        assert done.exit_code == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def sql(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.account)) as database, database:
            return database.execute(sql, values).fetchall()

    def started_with(self, *words: str) -> list[list[str]]:
        """Return the program's starts that begin with these words, without the tests' own."""
        items = [json.loads(argv) for (argv,) in self.sql("SELECT argv FROM journal ORDER BY n")]
        return [argv for argv in items if argv[: len(words)] == list(words)]

    def installed(self) -> Home:
        self.membrane.parent.mkdir(parents=True)
        shutil.copy(self.path / "membrane.prepared", self.membrane)
        return self

    def logged_in(self) -> Home:
        self.sql("INSERT OR REPLACE INTO settings VALUES ('login', 'yes')")
        return self

    def connected(self, identity: str = "c1", state: str = "READY", **more: str) -> Home:
        flags = [f"--{name}={value}" for name, value in more.items()]
        self.arrange("connection", "add", f"--id={identity}", f"--state={state}", *flags)
        return self

    def entry(self, name: str = "kartra") -> dict[str, Any]:
        return json.loads(self.config.read_text())["mcpServers"][name]

    def spawn(self, *words: str) -> Any:
        """Run setup as a process on its own terminal, with the sandbox inside of it."""
        program = str(Path(__file__).with_name("setup_program.py"))
        return self._spawn(ForkedSpawn, program, *words)

    def spawn_with_programs(self, *words: str) -> Any:
        """Run setup as the user does: every program is a process."""
        return self._spawn(pexpect.spawn, "-m", "kartra_mcp", "setup", *words)

    def _spawn(self, spawn: type[Any], *command: str) -> Any:
        child = spawn(
            sys.executable,
            [*command],
            cwd=ROOT,
            env=self.environment,
            encoding="utf-8",
            dimensions=(50, 200),
            timeout=60,
        )
        child.delaybeforesend = None
        self.started.append(child)
        return child

    def run(self, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        """Run setup without a terminal."""
        command = partial(setup_command, run_program=in_process.run)
        return command_line.run(words, env=self.environment, said=said, command=command)

    def run_bare(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run setup on a machine whose system folders hold neither node nor npm."""
        bare = (
            "from kartra_mcp.cli.main import main; from kartra_mcp.membrane import executable; "
            "executable.POSIX_SYSTEM = (); main()"
        )
        return subprocess.run(
            [sys.executable, "-c", bare, "setup", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**self.environment, "PATH": str(self.tools)},
            timeout=60,
        )

    def left_behind(self) -> list[str]:
        """Return temporary files and folders, and processes that still run for this home."""
        files = [
            str(file.relative_to(self.path))
            for file in self.path.rglob("*")
            if file.name.startswith(("work-", ".mcp.json.")) or "kartra-mcp-new" in file.name
        ]
        return files + [f"process {pid}" for pid in self.processes()]

    def processes(self) -> list[int]:
        """Return the processes with this home in their environment, without the tests' own."""
        mark = f"HOME={self.path}\0".encode()
        own = {child.pid for child in self.started if child.isalive()}
        found: list[int] = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                seen = (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mark in seen + b"\0" and state != "Z" and int(folder.name) not in own:
                found.append(int(folder.name))
        return found

    def waits(self) -> bool:
        """Return true while setup and its programs sleep, so that a signal interrupts the read.

        Python checks for signals before and after it reads a line: a signal between the check
        and the read is handled only after the line.
        """
        pids = [*self.processes(), *(child.pid for child in self.started if child.isalive())]
        try:
            stats = [Path(f"/proc/{pid}/stat").read_text() for pid in pids]
        except OSError:  # one ended meanwhile
            return False
        return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)

    def close(self) -> None:
        for child in self.started:
            child.close(force=True)
        for pid in self.processes():
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, 9)


def ended(child: Any) -> tuple[int | None, str]:
    """Return the exit code, and the output since the last expected text."""
    if child.after is not pexpect.EOF:
        child.expect(pexpect.EOF)
    child.close()
    shown = plain(child.before)
    assert "Traceback" not in shown, shown
    return child.exitstatus, shown


def plain(shown: str) -> str:
    """Remove colors and cursor movements, and restore line breaks."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).replace("\r\n", "\n")


ANSWERS: dict[str, tuple[str, str]] = {
    "install": (r"Install it .*?\[Y/n\] ", ""),
    "login": (r"Log in to Membrane now\?.*?\[Y/n\] ", ""),
    "agreed": (r"Press Enter when you have agreed there\. ", ""),
    "connect": (r"Connect Kartra now\? \[Y/n\] ", ""),
    "browser": (r"Open it in your browser\? \[Y/n\] ", ""),
    "read_only": (r"only read.*?\[y/N\] ", ""),
    "irreversible": (r"cannot be undone:.*?Number or word.*?: ", ""),
    "destructive": (r"overwritten:.*?Number or word.*?: ", ""),
    "approval": (r"does the human agree\?.*?Number or word.*?: ", ""),
    "refund": (r"largest single refund.*?\]: ", ""),
    "day_amount": (r"All refunds of a day.*?\]: ", ""),
    "day_count": (r"Irreversible operations in a day.*?\]: ", ""),
    "choose_pin": (r"Choose the PIN for approvals now\? \[Y/n\] ", ""),
    "pin": (r"New PIN, at least.*?: ", "correct horse"),
    "pin_again": (r"Repeat the new PIN .*?: ", "correct horse"),
    "clients": (r"Which clients\?.*?\]: ", ""),
}
"""Every question of a full run: its pattern, and the answer."""


def answered(child: Any, *, stop: str = "", **other: str) -> str:
    """Answer every question until `stop` or the end; return the name of the last, or ""."""
    asked = {name: pattern for name, (pattern, _) in ANSWERS.items()}
    asked |= {"waiting": r"Waiting until"} if stop == "waiting" else {}
    names = list(asked)
    while (at := child.expect([*asked.values(), pexpect.EOF])) < len(names):
        if names[at] == stop:
            return stop
        child.sendline(other.get(names[at], ANSWERS[names[at]][1]))
    if stop:
        raise AssertionError(plain(child.before))
    return ""


def hung_up(child: Any) -> None:
    """Close the terminal as a closed window does, and wait for the end."""
    child.ptyproc.fileobj.close()
    child.closed = child.ptyproc.closed = True
    child.child_fd = child.ptyproc.fd = -1
    child.ptyproc.wait()
