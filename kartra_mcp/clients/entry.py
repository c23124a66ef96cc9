"""One server as a client's configuration has it: its name, what starts it, its settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,19}")
"""Clients put it before each tool's name, and some cut at 60 characters: see docs/clients."""

REAL, REHEARSAL = "kartra", "kartra-rehearsal"
PROGRAM, PACKAGE = "kartra-mcp", "kartra_mcp"
_CACHES = re.compile(
    r"[/\\](?:archive-v\d+|builds-v\d+|environments-v\d+)[/\\]|[/\\]pipx[/\\](?:\.cache|Cache)[/\\]"
    r"|[/\\]\.cache[/\\]pipx[/\\]"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a client is told: `command` is absolute, `env` holds KARTRA_MCP_… settings only."""

    name: str
    command: str
    args: tuple[str, ...] = ("serve",)
    env: Mapping[str, str] = field(default_factory=dict[str, str])


def is_ours(command: str, args: Sequence[str]) -> bool:
    """Whether these words start kartra-mcp, by itself, by Python, or by uvx and its kin."""
    program = re.split(r"[/\\]", command)[-1].lower().removesuffix(".exe")
    if program == PROGRAM:
        return True
    packages = {re.split(r"[=<>@\[]", word)[0] for word in args}
    return bool({PROGRAM, PACKAGE} & packages)


def lost_flags(now: Sequence[str], then: Sequence[str]) -> tuple[str, ...]:
    """Flags of the server that stand in `now` and would not stand in `then`."""
    starts = [n for n, word in enumerate(now) if word in ("serve", PROGRAM, PACKAGE)]
    own = now[starts[-1] + 1 :] if starts else now
    flags = {word.partition("=")[0] for word in then}
    return tuple(w for w in own if w.startswith("--") and w.partition("=")[0] not in flags)


def is_ephemeral(command: str) -> bool:
    """Whether a command lies in a cache of uvx or `pipx run`, which is emptied some day."""
    return _CACHES.search(command) is not None
