"""Location of the state folder: the same one for every client of one user.

Two ledgers for one account would each admit the same refund once. Therefore a value that depends on
the working folder, or that a client left unexpanded, is an error and is never resolved.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from kartra_mcp.core.surroundings import expand_home

WANTED = "an absolute path or one that begins with ~, without variables or quotes"
NO_FOLDER = Path(os.devnull).absolute() / "kartra-mcp"
"""Folder that can never exist, used if no other is known: nothing is stored."""

_UNEXPANDED = re.compile(r"\$\{|\$\(|\$[A-Za-z_]|%[A-Za-z_][^%/\\]*%|\"|^'|'$|^`|\x00")


def is_plain(text: str) -> bool:
    """Return whether a path has no variable or quote that a shell or client left unexpanded."""
    return _UNEXPANDED.search(text) is None


def resolve_folder(text: str) -> Path | None:
    """Return the folder that a setting names; None if it does not name the same one everywhere."""
    if not is_plain(text):
        return None
    try:
        found = expand_home(text) if text.startswith("~") else Path(text)
        os.fsencode(found)
    except (RuntimeError, ValueError):  # no home folder is known; no name of a file
        return None
    return found if found.is_absolute() else None


def default_folder(env: Mapping[str, str]) -> Path | None:
    """Return the platform's state folder; None if it is not known absolutely.

    A relative `XDG_STATE_HOME` is ignored, as its specification requires.
    """
    if sys.platform == "linux":
        state, home = env.get("XDG_STATE_HOME", "").strip(), env.get("HOME", "")
        if state and Path(state).is_absolute() and is_plain(state):
            return Path(state) / "kartra-mcp"
        base = Path(home) if home else find_home()
        found = None if base is None else base / ".local" / "state" / "kartra-mcp"
    else:
        from platformdirs import user_state_path

        found = user_state_path("kartra-mcp", appauthor=False)
    return found if found is not None and found.is_absolute() else None


def find_home() -> Path | None:
    """Return the home folder of the OS user; None if the system has none for this uid."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def make_absolute(text: str) -> str:
    """Return a typed path in the absolute form that every client can use.

    A path with a variable or a quote is returned unchanged: reading the setting then refuses it.
    """
    return str(expand_home(text).absolute()) if is_plain(text) else text
