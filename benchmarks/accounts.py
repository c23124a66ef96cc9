"""Accounts to measure the server on, each in its own folder."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import ROOT, Broken, served

UNTHROTTLED = {"RATE": "0", "MAX_CHILDREN": "64"}
"""No rate limit and enough slots, so that only the call is measured, without waiting."""
PRINTER = Path(__file__).parent / "programs" / "printer.py"
READ = "kartra_get_lead"
WHOM = {"email": "ada@example.com"}


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The rehearsal account, reached by a program that each call starts."""

    folder: Path

    @property
    def program(self) -> list[str]:
        return [sys.executable, "-P", "-m", "kartra_mcp.sandbox", f"--account={self.file}"]

    @property
    def file(self) -> Path:
        return self.folder / "state" / "sandbox" / "account.db"

    def environment(self, **settings: str) -> dict[str, str]:
        return environment(self.folder / "state", {"SANDBOX": "on", **UNTHROTTLED, **settings})

    def last_words(self) -> list[str]:
        """Return the last command that the server ran."""
        journal = by_hand([*self.program, "journal", "--json"], self.environment())
        return [*self.program, *json.loads(journal)["items"][-1]["argv"]]


@dataclass(frozen=True, slots=True)
class Served:
    """The same account behind Membrane's API, on this machine."""

    folder: Path
    url: str
    token: str
    process: int

    def environment(self, **settings: str) -> dict[str, str]:
        api = {"MEMBRANE_API_URI": self.url, "MEMBRANE_ACCESS_TOKEN": self.token}
        return environment(self.folder / "state", {**UNTHROTTLED, **settings}) | api

    def elsewhere(self, name: str) -> Served:
        """Return the same account for a server with another state folder."""
        return Served(self.folder / name, self.url, self.token, self.process)


@dataclass(frozen=True, slots=True)
class Printed:
    """An account whose program prints prepared files."""

    folder: Path

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-S", "-E", str(PRINTER), str(self.folder)]

    def environment(self, **settings: str) -> dict[str, str]:
        program = json.dumps(self.command)
        own = {"MEMBRANE": program, "TRANSPORT": "cli", **UNTHROTTLED, **settings}
        return environment(self.folder / "state", own)

    def answers(self, actions: Sequence[Mapping[str, Any]], run: Any) -> None:
        """Set the list of actions, and the output of any action; store the list on disk."""
        for verb, value in {**HEALTHY, "action-list": {"items": actions}}.items():
            self._print(verb, value)
        self.prints(run)
        kept_on_disk(self.environment())

    def prints(self, run: Any) -> None:
        """Set the output of any action."""
        self._print("action-run", run)

    def _print(self, verb: str, value: Any) -> None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        (self.folder / verb).write_text(text, encoding="utf-8")


HEALTHY = {
    "--version": "1.18.3\n",
    "connection-list": {
        "items": [
            {"id": "c1", "name": "Kartra", "state": "READY", "integration": {"key": "kartra"}}
        ]
    },
}
"""The status of a printed account, by file name."""


def listed(key: str, **more: Any) -> dict[str, Any]:
    """Return one entry of a list of actions."""
    return {"id": f"id-{key}", "key": key, "name": key.replace("-", " ").title(), **more}


def environment(state: Path, settings: Mapping[str, str]) -> dict[str, str]:
    state.mkdir(parents=True, exist_ok=True)
    # Otherwise the server would start a page process that outlives the measurement.
    own = {f"KARTRA_MCP_{name}": value for name, value in {"PAGE": "off", **settings}.items()}
    return {"KARTRA_MCP_STATE_DIR": str(state), "PATH": "/usr/bin:/bin", "HOME": str(state), **own}


@contextmanager
def sandbox() -> Generator[Sandbox]:
    """Create the rehearsal account, with its list of actions on disk."""
    with folder() as place:
        made = Sandbox(place)
        kept_on_disk(made.environment())
        yield made


@contextmanager
def served_sandbox() -> Generator[Served]:
    """Serve an account by the API; the list of actions of its first server is on disk."""
    with folder() as place:
        program = [*Sandbox(place).program[:-1], f"--account={place / 'account.db'}", "serve"]
        with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                told = json.loads(process.stdout.readline() or "{}")
                if "url" not in told:
                    raise Broken("the sandbox did not begin to serve")
                made = Served(place, told["url"], told["token"], process.pid)
                kept_on_disk(made.environment())
                yield made
            finally:
                process.terminate()


@contextmanager
def folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="kartra-mcp-bench-") as name:
        yield Path(name)


def by_hand(command: Sequence[str], env: Mapping[str, str]) -> bytes:
    """Run a program as a user's script would: `subprocess.run`, with its output on pipes."""
    ended = subprocess.run(
        command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    return ended.stdout


def kept_on_disk(env: Mapping[str, str]) -> None:
    with served(env) as client:
        client.call("kartra_status")
