"""The composition root: settings → the objects of one server, in the order of their arrows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from kartra_mcp import process, program
from kartra_mcp.account import Account
from kartra_mcp.errors import KartraMCPError
from kartra_mcp.gateway import Gateway
from kartra_mcp.kept import Kept
from kartra_mcp.membrane_cli import CLI
from kartra_mcp.own_tools import OWN_TOOLS
from kartra_mcp.policy import Rules
from kartra_mcp.server import MCPServer
from kartra_mcp.settings import Settings, sandbox_command
from kartra_mcp.state import State
from kartra_mcp.tools import Tools
from kartra_mcp.turns import Turns

if TYPE_CHECKING:
    from kartra_mcp.writes import Writes


@dataclass(frozen=True, slots=True)
class Composed:
    """One server and what has to be tidied up behind it."""

    mcp: MCPServer
    membrane: CLI
    state: State

    async def end(self) -> None:
        """Leave no folder behind."""
        self.state.close()


def compose(settings: Settings, clock: Callable[[], float] = time.time) -> Composed:
    """All objects of one server. Starts no program, and reads nothing but the program's place.

    `clock` is the ledger's: seconds since the epoch.
    """
    state = State(settings.state_dir)
    rules = rules_of(settings)
    command = find_program(settings)
    turns = Turns(settings.max_children, settings.rate)
    membrane = CLI(command, child_env(settings, command), state.work, turns)
    own = frozenset(OWN_TOOLS)
    account = Account(membrane, state, wanted=settings.connection, own=own)
    gateway = Gateway(membrane, account, rules, cache(partial(_writes, settings, rules, clock)))
    shown = shown_program(settings, command)
    tools = Tools(settings, rules, account, gateway, Kept(state), shown)
    return Composed(MCPServer(tools, account, sandbox=settings.sandbox), membrane, state)


def rules_of(settings: Settings) -> Rules:
    return Rules(
        settings.gates, settings.read_only, settings.allow, settings.deny, settings.tool_gates
    )


def _writes(settings: Settings, rules: Rules, clock: Callable[[], float]) -> Writes:
    """The writes on this folder's ledger; imported when first needed, not at the start."""
    from kartra_mcp.ledger.ledger import Ledger
    from kartra_mcp.writes import Writes

    return Writes(
        ledger=Ledger(settings.state_dir, clock),
        rules=rules,
        limits=settings.limits,
        actor=settings.actor,
        sandbox=settings.sandbox,
        outside=settings.outside,
        flags=settings.flags,
    )


def find_program(settings: Settings) -> tuple[str, ...] | KartraMCPError:
    """The command that runs Membrane; or why there is none, to be told by every call."""
    if settings.sandbox:
        return sandbox_command(settings)
    path = settings.environment.get("PATH", "")
    try:
        return program.resolve(settings.membrane, path, settings.platform, settings.home)
    except KartraMCPError as missing:
        return missing


def child_env(settings: Settings, command: tuple[str, ...] | KartraMCPError) -> dict[str, str]:
    """The allow-listed environment; node must be found by a program in a folder of npm's."""
    allowed = process.child_env(settings.environment, settings.platform)
    if isinstance(command, KartraMCPError):
        return allowed
    path = program.path_with(
        command, settings.environment.get("PATH", ""), settings.platform, settings.home
    )
    return {**allowed, "PATH": path}


def shown_program(settings: Settings, command: tuple[str, ...] | KartraMCPError) -> str:
    if settings.sandbox:
        return "the embedded sandbox"
    return "not found" if isinstance(command, KartraMCPError) else " ".join(command)
