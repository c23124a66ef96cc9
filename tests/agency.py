"""A home folder with several clients and Kartra connections, for `kartra-mcp accounts`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import command_line
import in_process
from ledger_intents import intent, run
from setup_machine import Home

from kartra_mcp.cli.accounts import accounts
from kartra_mcp.ledger.records import FinalState
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.processes import runner
from kartra_mcp.settings import read_settings

CURSOR, DESKTOP, CODEX = "cursor", "claude-desktop", "codex"
SEVEN = 1_796_022_000.0
"""2026-11-30 07:00 UTC."""
NAMES = {"con_acme": "Acme Courses", "con_beta": "Beta Studio", "con_gamma": "Gamma Retreats"}


@dataclass
class Agency(Home):
    """One user with several accounts; `membrane` is on the PATH and logged in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for folder in (".config/Claude", ".codex"):
            (self.path / folder).mkdir(parents=True)
        self.installed().logged_in()
        self.settings["TZ"] = "UTC"
        self.settings["PATH"] = f"{self.membrane.parent}:{self.tools}:/usr/bin:/bin"

    def connect(self, *identities: str) -> Agency:
        for one in identities or NAMES:
            self.connected(one, name=NAMES.get(one, one))
        return self

    def install(self, client: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run_command("install", client, *words)

    def run_command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return command_line.run(words, env=self.environment)

    def serve(self, client: str, name: str, connection: str, *words: str) -> Agency:
        """Install an entry; it must work."""
        done = self.install(client, "--name", name, "--connection", connection, *words)
        assert done.returncode == 0, done.stderr
        return self

    def write_entry(self, client: str, name: str, **settings: str) -> None:
        """Write an entry by hand, as users do."""
        file = self.config if client == CURSOR else self.desktop
        servers = json.loads(file.read_text())["mcpServers"] if file.exists() else {}
        program = str(self.membrane.with_name("kartra-mcp"))
        self.program(Path(program), "#!/bin/sh\n")
        env = {f"KARTRA_MCP_{key}": value for key, value in settings.items()}
        servers[name] = {"command": program, "args": ["serve"], "env": env}
        file.write_text(json.dumps({"mcpServers": servers}))

    @property
    def desktop(self) -> Path:
        return self.path / ".config" / "Claude" / "claude_desktop_config.json"

    def folder_of(self, name: str, client: str = CURSOR) -> Path:
        """Return the state folder with which the server of an entry starts."""
        file = self.config if client == CURSOR else self.desktop
        entry = json.loads(file.read_text())["mcpServers"][name]
        return read_settings({}, {**self.environment, **entry.get("env", {})}).state_dir

    def record(
        self, folder: Path, connection: str, state: FinalState = "succeeded", at: float = 0
    ) -> str:
        """Record one write in the ledger of a folder."""
        target = f"{connection}{at}"
        with closing(open_ledger(folder, lambda: at or time.time())) as ledger:
            return run(ledger, intent(target, connection=connection), state)

    def call_at(self, folder: Path, at: float) -> None:
        """Leave the trace of a call to Kartra, a read or a write: the time of the rate limit."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pace").write_bytes(b"\0" * 8)
        os.utime(folder / "pace", (at, at))

    def serve_last(self, folder: Path, connection: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "served.json").write_text(json.dumps({"id": connection, "key": "k"}))

    def list_accounts(
        self, *words: str, run_program: runner.Run = in_process.run
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in this process."""
        command = partial(accounts, run_program=run_program)
        return command_line.run(words, env=self.environment, command=command)

    def list_as_process(self, *words: str) -> subprocess.CompletedProcess[str]:
        return command_line.run_process(("accounts", *words), env=self.environment)

    def told(self, *words: str) -> Told:
        done = self.list_accounts("--json", *words)
        assert done.stderr == "", done.stderr
        return Told(done.returncode, json.loads(done.stdout))

    def everything(self) -> Mapping[str, tuple[int, int, int, bytes]]:
        """Return mode, inode, time and content of all files, but those of the stand-in account."""
        found: dict[str, tuple[int, int, int, bytes]] = {}
        for path in sorted(self.path.rglob("*")):
            if path.name.startswith("account.db"):
                continue
            seen = os.lstat(path)
            plain = stat.S_ISREG(seen.st_mode)
            changed = 0 if path == self.path else seen.st_mtime_ns
            found[str(path)] = (
                seen.st_mode,
                seen.st_ino,
                changed if plain else 0,
                path.read_bytes() if plain else b"",
            )
        return found


@dataclass(frozen=True)
class Told:
    """The report as JSON."""

    code: int
    report: dict[str, Any]

    @property
    def kinds(self) -> list[str]:
        return [fault["kind"] for fault in self.report["faults"]]

    def account(self, name: str) -> dict[str, Any]:
        (found,) = [one for one in self.report["accounts"] if name in one["names"]]
        return found

    def fault(self, kind: str) -> dict[str, str]:
        (found,) = [one for one in self.report["faults"] if one["kind"] == kind]
        return found
