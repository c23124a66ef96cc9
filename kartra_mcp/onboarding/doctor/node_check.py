"""Node.js and Membrane's program, as this shell and as a desktop program find them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import anyio

from kartra_mcp.app.membrane_factory import membrane_command, membrane_env
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.sanitize import strip_control_chars
from kartra_mcp.core.surroundings import expand_home
from kartra_mcp.membrane import executable
from kartra_mcp.onboarding.doctor.explanations import NodeInfo
from kartra_mcp.processes import runner
from kartra_mcp.settings import Settings

SHORT_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
"""The PATH of a program that is started from the desktop."""

SECONDS = 5.0
HEAD = 2_048
"""Bytes of a script that are read to find its interpreter."""


async def look_for_node(
    settings: Settings, command: tuple[str, ...] | KartraMCPError, folder: Path
) -> NodeInfo:
    """Find the node that the program's first line would start, and read its version.

    Args:
        settings: of the server.
        command: the program, or the error that explains why there is none.
        folder: an empty one, to start node in.
    """
    env = membrane_env(settings, command)
    if isinstance(command, KartraMCPError):
        place = _find_node_on(settings.environment.get("PATH", ""), settings)
    elif not _needs_node(command):
        return NodeInfo(None, needed=False)
    elif _is_node(command[0]):
        place = command[0]
    else:
        place = shutil.which("node", path=env["PATH"])
    if place is None:
        return NodeInfo(None)
    usual = settings.platform == "win32" or _find_node_on(SHORT_PATH, settings) is not None
    return NodeInfo(place, await _read_version(place, env, folder), on_short_path=usual)


def is_on_short_path(settings: Settings) -> bool:
    """Return true if a client that was started from the desktop finds the same program."""
    if settings.sandbox or settings.platform == "win32":
        return True
    try:
        found = executable.find_executable(
            settings.membrane, SHORT_PATH, settings.platform, settings.home
        )
    except KartraMCPError:
        return False
    return found == membrane_command(settings)


def find_idle_program(settings: Settings) -> str:
    """Return a file of the program's name that is not executable, or ""."""
    if settings.membrane is not None:
        files = [expand_home(settings.membrane)]
    else:
        folders = settings.environment.get("PATH", "").split(os.pathsep)
        files = [Path(folder) / executable.PROGRAM for folder in folders if folder]
    return next((str(f) for f in files if f.is_file() and not os.access(f, os.X_OK)), "")


def _find_node_on(path: str, settings: Settings) -> str | None:
    """Return node from a folder of this PATH, or from a usual folder."""
    here = (sys.executable,)
    return shutil.which("node", path=executable.search_path(here, path, home=settings.home))


def _needs_node(command: tuple[str, ...]) -> bool:
    """Return true for node itself, or for a script whose first line names node."""
    if _is_node(command[0]):
        return True
    try:
        with Path(command[0]).open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return head.startswith(b"#!") and b"node" in head


def _is_node(word: str) -> bool:
    return Path(word).stem.lower() == "node"


async def _read_version(place: str, env: dict[str, str], folder: Path) -> str:
    deadline = anyio.current_time() + SECONDS
    try:
        done = await runner.run([place, "--version"], env=env, cwd=folder, deadline=deadline)
    except (KartraMCPError, runner.ProcessTimeout):
        return ""
    return strip_control_chars(done.stdout.decode(errors="replace"))[:200]
