"""Results of one run of one client: written by the run, read by the table.

A client is a `Driver` under its name: `roster.LIBRARIES`, `agents.AGENTS` for the end-to-end
agents, and both over HTTP: `roster.HTTP_LIBRARIES`, `http_agents.HTTP_AGENTS`. A driver installs
its packages under build/clients/NAME, drives the client on a fresh `place.Bench`, and returns the
Run. It never raises for an error of the client.
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
    """One client on a fresh sandbox account; unknown fields are empty.

    `era` and `elicitation` come from the wire, never from the client's own report.
    """

    client: str
    version: str
    kind: Kind
    how: str
    """Description of the driver in one line."""
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
    """Form of a success for the model, or for the caller of an SDK."""
    waits: str = ""
    """Timeout of the client for one call: `at least 70 s`, `5 s`."""
    notes: list[str] = field(default_factory=list[str])
    failed: bool = False
    not_run: str = ""
    """Reason why it could not be installed; then all other fields are empty."""
    access: str = ""
    """Over HTTP, the kind of access: `token`, `login` or `agent`; else empty."""
    date: str = ""
    """Date of the run, as 2026-11-24; set by `save`."""

    def save(self) -> None:
        """Write it to build/clients/results/NAME.json."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        self.date = datetime.now(UTC).date().isoformat()
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (RESULTS / f"{self.client}.json").write_text(text + "\n", encoding="utf-8")


Driver = Callable[[], Run]


def load(folder: Path = RESULTS) -> list[Run]:
    """Return all stored runs of a folder by name."""
    return [Run(**json.loads(file.read_text("utf-8"))) for file in sorted(folder.glob("*.json"))]


def failures(runs: Iterable[Run]) -> list[str]:
    """Return the clients that failed; one that was not run is not a failure."""
    return [run.client for run in runs if run.failed]
