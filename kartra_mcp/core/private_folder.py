"""Ownership of a folder: only this user may be able to change it, or to replace it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

_OTHERS_CAN_WRITE = 0o022
_OVERFLOW_UID = 65_534
"""Owner of folders from outside the user namespace of a container, which nobody in it can use."""


def make_private_folder(folder: Path) -> None:
    """Create a folder with mode 0700. Tighten an existing one that others can only read.

    One that others could write is left as it is: they may have changed its content.
    """
    if _is_private(folder):  # as before each commit of the ledger, where it has to be cheap
        return
    # One by one: `parents=True` gives the folders above the mode of the umask, which may be open.
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True)  # raises if it is a file
    with suppress(OSError):
        if not folder.stat().st_mode & _OTHERS_CAN_WRITE:
            folder.chmod(0o700)


def _is_private(folder: Path) -> bool:
    try:
        found = os.stat(folder).st_mode  # noqa: PTH116  see above
    except OSError:
        return False
    return stat.S_ISDIR(found) and stat.S_IMODE(found) == 0o700  # noqa: PLR2004  a mode


def find_folder_fault(folder: Path) -> tuple[str, str]:
    """Return how other users can change this folder, and the command that prevents it, or "".

    A folder above it counts too, if other users can rename what is in it.
    """
    if os.name != "posix":
        return "", ""
    try:
        own = os.stat(folder)  # noqa: PTH116  before each commit of the ledger
    except OSError:  # the caller reports a folder that cannot be used
        return "", ""
    if own.st_uid != os.geteuid():
        return f"{folder} belongs to another user", "set KARTRA_MCP_STATE_DIR to a folder of yours"
    if own.st_mode & _OTHERS_CAN_WRITE:
        mode = stat.S_IMODE(own.st_mode)
        return f"other users can write to {folder} (mode {mode:04o})", f"run `chmod 700 {folder}`"
    for parent in _list_parents(folder.absolute(), own.st_dev, own.st_ino):
        if why := _find_parent_fault(parent):
            return f"other users can replace {folder}: {why}", f"run `chmod go-w {parent}`"
    return "", ""


@lru_cache(maxsize=8)
def _list_parents(folder: Path, device: int, inode: int) -> tuple[str, ...]:
    """List every folder above one, under its real path and under the path given.

    Kept for the file system's name of the folder: a link that leads elsewhere gives another one.
    """
    del device, inode
    return tuple(dict.fromkeys(map(str, (*folder.resolve().parents, *folder.parents))))


def _find_parent_fault(parent: str) -> str:
    try:
        found = os.stat(parent)  # noqa: PTH116  a `Path` costs more than the check
    except OSError:
        _list_parents.cache_clear()  # it was moved; the next check finds where the folder is now
        return ""
    if found.st_uid not in (0, os.geteuid(), _OVERFLOW_UID):
        return f"{parent} belongs to another user"
    mode = found.st_mode
    if not mode & _OTHERS_CAN_WRITE or mode & stat.S_ISVTX:
        return ""
    if not mode & stat.S_IWOTH and _is_private_group(found.st_gid):
        return ""
    return f"they can write to {parent} (mode {stat.S_IMODE(mode):04o})"


def _is_private_group(gid: int) -> bool:
    """Return True for the group of this user alone, which many systems let write by default."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_name == group.gr_name and set(group.gr_mem) <= {user.pw_name}
