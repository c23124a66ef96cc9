"""The absolute command that starts this installation of kartra-mcp."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from kartra_mcp.client_config.entry import NAME, PACKAGE, PROGRAM, REAL, REHEARSAL, ServerEntry
from kartra_mcp.core.errors import RefusedError


def own_command() -> tuple[str, ...]:
    """Return the running console script, else the one next to Python, else Python and the module.

    Links are not resolved: the link that pipx and uv create outlives an upgrade.
    """
    ending = ".exe" if sys.platform == "win32" else ""
    said = Path(os.path.abspath(sys.argv[0]))  # noqa: PTH100  links are not followed
    beside = Path(sys.executable or "?").with_name(PROGRAM + ending)
    for script in (said.with_name(PROGRAM + ending) if said.stem == PROGRAM else None, beside):
        if script is not None and script.is_absolute() and os.access(script, os.X_OK):
            return (str(script),)
    if not sys.executable:
        raise RefusedError(
            "program_missing",
            "It is not known which Python runs this. Nothing was written.",
            "Install kartra-mcp with `uv tool install kartra-mcp` or `pipx install kartra-mcp`.",
        )
    return (sys.executable, "-P", "-m", PACKAGE)


def own_entry(
    env: Mapping[str, str] | None = None, *, name: str | None = None, sandbox: bool = False
) -> ServerEntry:
    """Return the entry for this installation.

    Args:
        env: KARTRA_MCP_… variables that the user set.
        name: instead of `kartra`, and of `kartra-rehearsal` for the sandbox.
        sandbox: serve the embedded account.

    Raises:
        RefusedError: the name is not valid.
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
            f"{name[:60]!r} is no name for a server. Nothing was written.",
            "Use up to 20 letters, digits, `_` and `-`, a letter first.",
        )
