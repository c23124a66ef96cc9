"""What one run of one client found, as data: written by the run, read by the table.

A client is a `Driver` under its name: `roster.LIBRARIES`, and `agents.AGENTS` for the end-to-end
agents. A driver installs what it needs under build/clients/NAME, drives the client on a fresh
`place.Place`, and returns the Run; it never raises for what the client did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "clients"
RESULTS = BUILD / "results"

Kind = Literal["inspector", "sdk", "framework", "agent"]
Sees = Literal["text", "structure", "both", ""]


@dataclass
class Run:
    """One client on a fresh sandbox account; what is not known yet is empty.

    `era` and `elicitation` come from the wire, never from what the client says of itself.
    """

    client: str
    version: str
    kind: Kind
    how: str
    """One line: how it is driven."""
    era: str = ""
    """The protocol revision negotiated, such as `2026-07-28`."""
    elicitation: str = ""
    """`none`, `form`, `url` or `form + url`, as declared on the wire."""
    tools: int = 0
    """Tools listed to the caller…"""
    of: int = 0
    """…of those that our own client is listed."""
    read: str = ""
    """`ok`, or what went wrong."""
    write: str = ""
    refused: str = ""
    sees: Sees = ""
    """What a success hands to the model, or to the caller of an SDK."""
    waits: str = ""
    """How long it waits for the answer to a call: `at least 70 s`, `5 s`."""
    notes: list[str] = field(default_factory=list[str])
    failed: bool = False
    not_run: str = ""
    """Why it could not be had; then nothing else is claimed."""
    date: str = ""
    """When, as 2026-11-24; set by `save`."""

    def save(self) -> None:
        """Keep it as build/clients/results/NAME.json."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        self.date = datetime.now(UTC).date().isoformat()
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (RESULTS / f"{self.client}.json").write_text(text + "\n", encoding="utf-8")


Driver = Callable[[], Run]


def load(folder: Path = RESULTS) -> list[Run]:
    """All runs kept in a folder, by name."""
    return [Run(**json.loads(file.read_text("utf-8"))) for file in sorted(folder.glob("*.json"))]


def failures(runs: Iterable[Run]) -> list[str]:
    """The clients that failed; one that was not run is none of them."""
    return [run.client for run in runs if run.failed]
