"""The context that every step of setup receives, and the report that it fills."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from kartra_mcp.client_config.install import Installed
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Connection
from kartra_mcp.ledger.pin import Pins
from kartra_mcp.onboarding.setup.prompts import Prompter
from kartra_mcp.processes import runner
from kartra_mcp.settings import Settings

READY_WITHIN = 600.0
"""Seconds that the user has to open an address and agree there."""


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """The flags.

    `explicit` are settings by name, from flags and the environment; "" removes a limit. `headless`
    None means automatic. `wait` is in seconds.
    """

    explicit: Mapping[str, str] = field(default_factory=dict[str, str])
    sandbox: bool = False
    code: str = ""
    headless: bool | None = None
    browser: bool = True
    wait: float = READY_WITHIN
    clients: tuple[str, ...] = ()
    all_clients: bool = False
    no_client: bool = False
    name: str | None = None


@dataclass(slots=True)
class SetupReport:
    """The result, printed at the end.

    `env` are the variables for the clients' entries. `left` is (problem, next step). `snippet` is
    the entry for manual use if no client was written. `removals` are the commands that remove the
    rehearsal account from the written clients.
    """

    done: list[str] = field(default_factory=list[str])
    left: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    env: dict[str, str] = field(default_factory=dict[str, str])
    connection: Connection | None = None
    clients: list[Installed] = field(default_factory=list[Installed])
    snippet: Mapping[str, Any] | None = None
    removals: tuple[str, ...] = ()
    problem: KartraMCPError | None = None
    stopped: bool = False
    refused: bool = False
    whole: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for `--json`."""
        clients = [
            {"client": one.client, "name": one.name, "file": str(one.file), "how": one.how}
            for one in self.clients
        ]
        printed = {"error": "problem", "action_url": "opens"}  # the keys of `setup --json`
        connection = (
            {printed.get(key, key): value for key, value in asdict(self.connection).items()}
            if self.connection
            else None
        )
        return {
            "ok": self.whole,
            "stopped": self.stopped,
            "done": self.done,
            "left": [{"what": what, "do": do} for what, do in self.left],
            "connection": connection,
            "settings": self.env,
            "clients": clients,
            "snippet": self.snippet,
            "error": self.problem.as_dict() if self.problem else None,
        }


@dataclass(frozen=True, slots=True)
class SetupContext:
    """The input of every step.

    `entries` are the settings of our existing entries by client. `choose_pin` prompts for a PIN at
    the terminal. `run_program` runs npm and Membrane's program.
    """

    given: SetupOptions
    person: Prompter
    settings: Settings
    story: SetupReport
    choose_pin: Callable[[Pins], None]
    entries: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    run_program: runner.Run = runner.run

    def record_done(self, text: str) -> None:
        self.story.done.append(text)
        self.person.print(f"✓ {text}", "bold")
