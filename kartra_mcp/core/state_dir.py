"""The state folder: the only file that reads and writes JSON there, whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kartra_mcp.core.file_locks import is_locked, try_exclusive_lock
from kartra_mcp.core.files import read_small_text
from kartra_mcp.core.private_folder import make_private_folder

WORK = "work-"
MAX_FILE_BYTES = 256_000_000
"""Largest file that is read back, far above the longest list of actions that is accepted."""


def _is_held(lock: Path) -> bool:
    file = os.open(lock, os.O_RDWR)
    try:
        return is_locked(file)
    finally:
        os.close(file)


@dataclass(slots=True)
class StateDir:
    """One folder, for this user only (0700; files 0600).

    If the folder is not writable, the next start has no cache, but no call fails. `error` then has
    the reason, for `kartra_status`.
    """

    folder: Path
    error: str = ""
    _work: Path | None = field(default=None)
    _work_lock: int | None = field(default=None)
    _parent: Path = field(default_factory=Path)

    def read(self, name: str) -> Any:
        """Return the JSON stored under a name; None if there is none or it is damaged."""
        try:
            return json.loads(read_small_text(self.folder / name, MAX_FILE_BYTES))
        except (OSError, ValueError, RecursionError):
            return None

    def write(self, name: str, value: Any) -> bool:
        """Store JSON under a name; as ASCII, so that unpaired surrogates survive."""
        return self.write_text(name, json.dumps(value))

    def write_text(self, name: str, text: str) -> bool:
        """Store a text that is JSON under a name: written to another file, then renamed."""
        try:
            self._make()
            handle, aside = tempfile.mkstemp(dir=self.folder, prefix=f".{name}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                Path(aside).replace(self.folder / name)
            except BaseException:
                Path(aside).unlink(missing_ok=True)
                raise
        except OSError as problem:
            self.error = f"The state folder cannot be written ({problem.strerror})."
            return False
        self.error = ""
        return True

    def work_dir(self) -> Path:
        """Return an empty folder for programs to run in, created on first use.

        The real program reads configuration from its working directory: a folder of another project
        could redirect the account.
        """
        if self._work is None or not self._work.is_dir():
            self._work = self._make_private_dir()
        return self._work

    def close(self) -> None:
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)
            self._work = None
        if self._work_lock is not None:
            os.close(self._work_lock)
            self._work_lock = None
            _sweep(self._parent)

    def _make_private_dir(self) -> Path:
        for parent in (self.folder, _fallback_folder()):
            with suppress(OSError):
                return self._make_work_in(parent)
        return Path(tempfile.mkdtemp(prefix="kartra-mcp-"))

    def _make_work_in(self, parent: Path) -> Path:
        if parent == self.folder:
            make_private_folder(parent)
        else:
            _make_own(parent)
        _sweep(parent)
        name = f"{WORK}{secrets.token_hex(8)}"
        # Locked before the folder exists, so that no other server takes it for abandoned.
        self._work_lock = try_exclusive_lock(parent / f".{name}.lock")
        work = parent / name
        work.mkdir(mode=0o700)
        self._parent = parent
        return work

    def _make(self) -> None:
        make_private_folder(self.folder)


def _fallback_folder() -> Path:
    """Return the parent of work folders while the state folder cannot be written."""
    user = f"kartra-mcp-{os.geteuid()}" if os.name == "posix" else "kartra-mcp-work"
    return Path(tempfile.gettempdir()) / user


def _make_own(folder: Path) -> None:
    """Create a folder in a shared one; raise OSError if there is one that others made or can read.

    Nothing is changed in an existing one: its name is known, so that it may be a link of others.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(f"{folder} is not a folder")
    if os.name == "posix" and (found.st_uid != os.geteuid() or found.st_mode & 0o077):
        raise OSError(f"{folder} is not private")


def _sweep(parent: Path) -> None:
    """Remove the folders of servers that were killed: those of which no process has the lock.

    None is removed while a program that a call started may live: it may run in one of them.
    """
    with suppress(OSError):
        if any(_is_held(lock) for lock in (parent / "locks").glob("*.lock")):
            return
        for lock in parent.glob(f".{WORK}*.lock"):
            held = try_exclusive_lock(lock)
            if held is not None:
                work = parent / lock.stem.removeprefix(".")
                shutil.rmtree(work, ignore_errors=True)
                lock.unlink(missing_ok=True)
                os.close(held)
