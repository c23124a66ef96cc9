"""Ownership of a folder: only this user may be able to change it, or to replace it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_OTHERS_CAN_WRITE = 0o022
_OVERFLOW_UID = 65_534
"""Owner of folders from outside the user namespace of a container, which nobody in it can use."""


def make_private_folder(folder: Path) -> None:
    """Create a folder with mode 0700. Tighten an existing one that others can only read.

    One that others could write is left as it is: they may have changed its content.
    """
    # One by one: `parents=True` gives the folders above the mode of the umask, which may be open.
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True)  # raises if it is a file
    with suppress(OSError):
        if not folder.stat().st_mode & _OTHERS_CAN_WRITE:
            folder.chmod(0o700)


def find_folder_fault(folder: Path) -> tuple[str, str]:
    """Return how other users can change this folder, and the command that prevents it, or "".

    A folder above it counts too, if other users can rename what is in it.
    """
    if os.name != "posix":
        return "", ""
    try:
        real = folder.resolve()
        own = real.stat()
    except OSError:  # the caller reports a folder that cannot be used
        return "", ""
    if own.st_uid != os.geteuid():
        return f"{folder} belongs to another user", "set KARTRA_MCP_STATE_DIR to a folder of yours"
    if own.st_mode & _OTHERS_CAN_WRITE:
        mode = stat.S_IMODE(own.st_mode)
        return f"other users can write to {folder} (mode {mode:04o})", f"run `chmod 700 {folder}`"
    for parent in dict.fromkeys((*real.parents, *folder.absolute().parents)):
        if why := _find_parent_fault(parent):
            return f"other users can replace {folder}: {why}", f"run `chmod go-w {parent}`"
    return "", ""


def _find_parent_fault(parent: Path) -> str:
    try:
        found = parent.stat()
    except OSError:
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
