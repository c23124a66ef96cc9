"""Remedies for a raw command that is not a known read: they lead to reads only. Pure."""

from __future__ import annotations

from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.action_words import READ_VERBS
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.fields import split_words
from kartra_mcp.kartra.names import find_nearest

READS = tuple(name for name, row in COMMANDS.items() if row.risk is Risk.READ)


def suggest_read(name: str) -> str:
    """Return the remedy for a command that does not exist: the nearest reads, else all."""
    near = find_nearest(name, READS)
    if near:
        return f"Did you mean {' or '.join(near)}? POST it as cmd by kartra_proxy_read."
    return f"POST one of these by kartra_proxy_read: {', '.join(READS)}."


def starts_with_read(name: str) -> bool:
    return next(iter(split_words(name)), "") in READ_VERBS
