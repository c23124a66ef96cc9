"""Tools that a remedy names: how the client reaches each of them here, or that it cannot. Pure.

A remedy is written for the published tools under no policy. The settings can hide each of them,
and search exposure runs actions by name.
"""

from __future__ import annotations

import re

from kartra_mcp.catalogue.builtin_tools import (
    BUILTIN_TOOLS,
    PROXY_READ,
    PROXY_WRITE,
    RUN_READ,
    RUN_WRITE,
)
from kartra_mcp.catalogue.catalogue import ActionTool, Catalogue
from kartra_mcp.catalogue.exposure import Exposure
from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.commands import COMMANDS, DEDICATED_TOOLS, find_command
from kartra_mcp.policy import gates
from kartra_mcp.policy.risk import policy_names_of_command

_TOOL = re.compile(r"(?<![\w-])kartra_[a-z0-9_]*[a-z0-9]")
_ASK = "Ask the user."


def find_named_tools(text: str) -> list[str]:
    """Return the tools that a text of this server names, each once."""
    return list(dict.fromkeys(_TOOL.findall(text)))


def qualify_remedy(text: str, exposure: Exposure, catalogue: Catalogue) -> str:
    """Return the remedy, and after it how to reach each named tool that is not listed."""
    return " ".join(filter(None, (text, describe_access(text, exposure, catalogue))))


def describe_access(text: str, exposure: Exposure, catalogue: Catalogue) -> str:
    """Return how to reach each tool that a text names and that is not listed, or ""."""
    named = find_named_tools(text)
    notes = {tool: _access_note(tool, exposure, catalogue) for tool in named}
    found = [note for note in notes.values() if note]
    if named and all(note == _unavailable_note(tool) for tool, note in notes.items()):
        found.append(_ASK)
    return " ".join(found)


def _access_note(tool: str, exposure: Exposure, catalogue: Catalogue) -> str:
    """Return how to reach a tool; "" if the client can call it as it is named."""
    own = BUILTIN_TOOLS.get(tool)
    if own is not None:
        hidden = exposure.builtin_hidden_reason(own, catalogue)
        return _unavailable_note(tool) if hidden else ""
    if not catalogue.entries:  # not loaded: any tool may be offered
        return ""
    entry = catalogue.entries.get(tool)
    if entry is not None and not exposure.hidden_reason(entry):
        return _run_note(entry, exposure, catalogue)
    same = _find_same_command(tool, exposure, catalogue)
    if same is None:
        return _raw_note(tool, exposure)
    run = _run_note(same, exposure, catalogue)
    return " ".join(filter(None, (f"Here {tool} is {same.tool}.", run)))


def _run_note(entry: ActionTool, exposure: Exposure, catalogue: Catalogue) -> str:
    """Return how to run an offered tool; "" if it is listed."""
    runner = RUN_READ if entry.risk is Risk.READ else RUN_WRITE
    if not exposure.is_search_mode(catalogue):
        return ""
    if exposure.builtin_hidden_reason(runner, catalogue):
        return _unavailable_note(entry.tool)
    return f"Run {entry.tool} by {runner.name}."


def _find_same_command(tool: str, exposure: Exposure, catalogue: Catalogue) -> ActionTool | None:
    """Return the offered tool of the same command: an action's or the command's own."""
    command = find_command(tool.removeprefix("kartra_"))
    entries = exposure.visible(catalogue) if command else ()
    return next((entry for entry in entries if entry.command == command), None)


def _raw_note(tool: str, exposure: Exposure) -> str:
    """Return the raw request that does the work of a tool which is not offered, if one may run."""
    command = find_command(tool.removeprefix("kartra_"))
    if not command or command in DEDICATED_TOOLS:
        return _unavailable_note(tool)
    risk = COMMANDS[command].lowest_risk
    raw = PROXY_READ if risk is Risk.READ else PROXY_WRITE
    names = {raw.name, *policy_names_of_command(command)}
    if any(gates.hidden_reason(risk, given, exposure.rules) for given in ({raw.name}, names)):
        return _unavailable_note(tool)
    return f"Instead of {tool}, which is not offered here, POST cmd {command} by {raw.name}."


def _unavailable_note(tool: str) -> str:
    return f"{tool} is not offered here."
