"""Server entry in a client's configuration: name, command and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,19}")
"""Valid name, short because clients prefix tool names with it, and some cut at 60 characters."""

REAL, REHEARSAL = "kartra", "kartra-rehearsal"
PROGRAM, PACKAGE = "kartra-mcp", "kartra_mcp"
_CACHES = re.compile(
    r"[/\\](?:archive-v\d+|builds-v\d+|environments-v\d+)[/\\]|[/\\]pipx[/\\](?:\.cache|Cache)[/\\]"
    r"|[/\\]\.cache[/\\]pipx[/\\]"
)
_KNOWN = re.compile(r"kartra-mcp|pythonw?[0-9.]*|py|uvx?|pipx")
"""Launchers that change our settings only by the arguments that `dropped_arguments` looks for."""

_SETTING = re.compile(r"KARTRA_MCP_\w*")
_ENV_FILE = "--env-file"


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """Server entry. `command` is absolute; `env` contains only KARTRA_MCP_… settings."""

    name: str
    command: str
    args: tuple[str, ...] = ("serve",)
    env: Mapping[str, str] = field(default_factory=dict[str, str])


def is_ours(command: str, args: Sequence[str]) -> bool:
    """Return True if a command starts kartra-mcp, directly, through Python, uvx or similar."""
    if _program_name(command) == PROGRAM:
        return True
    packages = {re.split(r"[=<>@\[]", word)[0] for word in args}
    return bool({PROGRAM, PACKAGE} & packages)


def dropped_arguments(command: str, now: Sequence[str], then: Sequence[str]) -> tuple[str, ...]:
    """Return the parts of an existing entry that may restrict it and are missing in `then`.

    These are an unknown launcher (`docker`, `env`: it may set or hide anything), every setting,
    a settings file, and the server's own flags.
    """
    program = _program_name(command)
    launcher = () if _KNOWN.fullmatch(program) else (program,)
    words = (command, *now)
    rules = [name for word in words for name in _SETTING.findall(word)]
    files = [word.partition("=")[0] for word in words if word.startswith(_ENV_FILE)]
    flags = {word.partition("=")[0] for word in then}
    own = [w.partition("=")[0] for w in _find_own_arguments(program, now) if w.startswith("--")]
    lost = (*launcher, *_find_wrapped_arguments(program, now), *rules, *files, *own)
    return tuple(dict.fromkeys(word for word in lost if word and word not in flags))


def _find_own_arguments(program: str, words: Sequence[str]) -> Sequence[str]:
    """Return the arguments of the server: those after the first word that names it."""
    starts = [n for n, word in enumerate(words) if word in (PROGRAM, PACKAGE)]
    return words if program == PROGRAM or not starts else words[starts[0] + 1 :]


def _find_wrapped_arguments(program: str, words: Sequence[str]) -> Sequence[str]:
    """Return the scripts that start the server, as in `python start.py kartra-mcp`.

    A script may set anything too.
    """
    front = words[: len(words) - len(_find_own_arguments(program, words))]
    return [w for w in front[:-1] if w.endswith(".py")]


def _program_name(command: str) -> str:
    return re.split(r"[/\\]", command)[-1].lower().removesuffix(".exe")


def is_ephemeral(command: str) -> bool:
    """Return True if a command is in a cache of uvx or `pipx run`, which may be emptied."""
    return _CACHES.search(command) is not None
