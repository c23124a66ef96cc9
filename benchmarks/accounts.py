"""The accounts that the server is measured on, each in a folder of its own."""

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

from benchmarks.client import ROOT, served
from tests.door import Sandbox, environment, healthy

UNTHROTTLED = {"RATE": "0"}
PRINTER = Path(__file__).parent / "programs" / "printer.py"


@dataclass(frozen=True, slots=True)
class Printed:
    """An account whose program prints files that are there already."""

    folder: Path

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-S", "-E", str(PRINTER), str(self.folder)]

    @property
    def environment(self) -> dict[str, str]:
        program = json.dumps(self.command)
        return environment(self.folder / "state", {"MEMBRANE": program, **UNTHROTTLED})

    def answers(self, *actions: dict[str, Any], run: Any) -> None:
        """Set what is listed, and what a run of any action prints; the list is kept on disk."""
        plan = healthy(*actions) | {"action run": {"out": run}}
        for verb, answer in plan.items():
            out = answer["out"]
            text = out if isinstance(out, str) else json.dumps(out, ensure_ascii=False)
            (self.folder / verb.replace(" ", "-")).write_text(text, encoding="utf-8")
        _kept_on_disk(self.environment)


@contextmanager
def sandbox() -> Generator[Sandbox]:
    """The rehearsal account, its list of actions on disk."""
    with folder() as place:
        made = Sandbox(place, UNTHROTTLED)
        _kept_on_disk(made.environment)
        yield made


@contextmanager
def folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="kartra-mcp-bench-") as name:
        yield Path(name)


def by_hand(command: Sequence[str], env: Mapping[str, str]) -> bytes:
    """Run a program as a person's script would; what it printed."""
    ended = subprocess.run(
        command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    return ended.stdout


def _kept_on_disk(env: Mapping[str, str]) -> None:
    with served(env) as client:
        client.call("kartra_status")
