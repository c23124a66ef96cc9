"""The absolute command that starts this installation of kartra-mcp."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kartra_mcp.client_config.entry import NAME, PACKAGE, PROGRAM, REAL, REHEARSAL, ServerEntry
from kartra_mcp.core.display import format_command, quote_for_powershell
from kartra_mcp.core.errors import RefusedError


def own_command() -> tuple[str, ...]:
    """Return the running console script, else the one next to Python, else Python and the module.

    Links are not resolved: the link that pipx and uv create survives an upgrade.
    """
    ending = ".exe" if sys.platform == "win32" else ""
    running = Path(os.path.abspath(sys.argv[0]))  # noqa: PTH100  resolve() would follow links
    sibling = Path(sys.executable or "?").with_name(PROGRAM + ending)
    named = running.with_name(PROGRAM + ending) if running.stem == PROGRAM else None
    for script in (named, sibling):
        if script is not None and script.is_absolute() and os.access(script, os.X_OK):
            return (str(script),)
    if not sys.executable:
        raise RefusedError(
            "program_missing",
            "The path of the running Python is unknown. Nothing was written.",
            "Install kartra-mcp with `uv tool install kartra-mcp` or `pipx install kartra-mcp`.",
        )
    return (sys.executable, "-P", "-m", PACKAGE)


def own_command_if_known() -> tuple[str, ...]:
    """Return the command of this installation, or nothing if it is unknown."""
    try:
        return own_command()
    except RefusedError:
        return ()


def format_public_command(words: Sequence[str], home: Path, platform: str) -> str:
    """Return a command for a page without a login: the user's name is not in its path."""
    program, *more = words
    path = Path(program)
    if not path.is_relative_to(home):
        return format_command(words, platform)
    below = str(path.relative_to(home))
    if platform == "win32":
        quoted = quote_for_powershell(below).removeprefix('"')
        return " ".join((f'& "$HOME\\{quoted}', *more))
    return f"~/{shlex.join((below, *more))}"


def own_entry(
    env: Mapping[str, str] | None = None, *, name: str | None = None, sandbox: bool = False
) -> ServerEntry:
    """Return the entry for this installation.

    Args:
        env: KARTRA_MCP_… variables that the user set.
        name: replaces the default `kartra`, or `kartra-rehearsal` for the sandbox.
        sandbox: serve the embedded account.

    Raises:
        RefusedError: the name is invalid, or the running Python is unknown.
    """
    named = name if name is not None else (REHEARSAL if sandbox else REAL)
    check_name(named)
    program, *words = own_command()
    flags = ("--sandbox",) if sandbox else ()
    return ServerEntry(named, program, (*words, "serve", *flags), dict(env or {}))


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise RefusedError(
            "invalid_arguments",
            f"{name[:60]!r} is not a valid server name. Nothing was written.",
            "Use up to 20 letters, digits, `_` and `-`; start with a letter.",
        )
