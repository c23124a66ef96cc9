"""Stage of one run: a fresh sandbox account, and `kartra-mcp` on PATH with a log of the wire."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clients import environments, trace
from clients.place import SERVER, WIRE
from consent_actors import lines
from evals.account import Reach, Rows, compare, look
from harness import Sandbox

from frameworks.roster import Example

SHIM = """\
#!/bin/sh
export KARTRA_MCP_STATE_DIR={state} KARTRA_MCP_PAGE=off
case "$1" in
serve) exec {python} -I {wire} {log} 0 {server} "$@" ;;
*) exec {server} "$@" ;;
esac
"""
"""The program that an example finds: the real one on the state folder of this run. It starts no
page process, which would outlive the run."""


@dataclass(frozen=True)
class Stage:
    example: Example
    folder: Path

    @cached_property
    def sandbox(self) -> Sandbox:
        return Sandbox(self.folder / "state").arrange("digest")

    @property
    def log(self) -> Path:
        return self.folder / "wire.jsonl"

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    def ready(self) -> Stage:
        """Make the account and the program."""
        places = {"state": self.sandbox.folder, "python": sys.executable, "wire": WIRE}
        places |= {"log": self.log, "server": SERVER}
        self.programs.mkdir()
        shim = self.programs / "kartra-mcp"
        quoted = {name: shlex.quote(str(place)) for name, place in places.items()}
        shim.write_text(SHIM.format(**quoted), encoding="utf-8")
        shim.chmod(0o700)
        return self

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the example: no network but loopback, plain output."""
        found = environments.clean(self.example.environment.home, more)
        plain = {"TERM": "dumb", "COLUMNS": "400", "PYDANTIC_AI_NO_BANNER": "1"}
        return {**found, **plain, "PATH": f"{self.programs}:/usr/bin:/bin"}

    def look(self) -> Rows:
        """Return the account as it is."""
        return look(self.sandbox.file)

    def reach(self, before: Rows) -> Reach:
        """Return what became of the account since then."""
        return compare(before, self.look())

    def consents(self) -> list[str]:
        """Return the consent of each write that the ledger has an intent of."""
        return [line["consent"] for line in lines(self.sandbox, "intent")]

    def outcomes(self) -> list[str]:
        return [line["state"] for line in lines(self.sandbox, "outcome")]

    def wire(self) -> list[trace.Line]:
        return trace.read(self.log)

    def previews(self) -> list[str]:
        """Return the text of each question that the server asked, in either era."""
        sent = trace.messages(self.wire(), "server")
        return [found["message"] for line in sent for found in questions(line.said)]


def questions(said: Any) -> Iterator[dict[str, Any]]:
    """Yield the parameters of every question inside a message of the server."""
    if not isinstance(said, dict):
        return
    if said.get("method") == "elicitation/create":
        yield said["params"]
        return
    for value in said.values():
        yield from questions(value)
