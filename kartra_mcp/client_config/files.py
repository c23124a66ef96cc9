"""Configuration file of a client: location, reading, and atomic replacement."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kartra_mcp.client_config.registry import ClientSpec, ConfigPath, Platform
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.settings import Settings

MAX_FILE_BYTES = 64_000_000
"""Largest file: Claude Code's configuration contains the history of all chats."""

NOT_WRITTEN_NOTICE = "Nothing was written."


@dataclass(frozen=True, slots=True)
class ConfigLocation:
    """Path of a client's configuration; `present` is True if the client is installed."""

    file: Path
    present: bool


def locate(client: ClientSpec, settings: Settings) -> ConfigLocation:
    """Return the first existing path of the client, else the path where it would be created."""
    home, env = settings.home, settings.environment
    places = client.places(Platform(settings.platform, str(home), env))
    for place in places:
        found = _find_existing(place)
        if found is not None:
            return ConfigLocation(found, present=True)
    return ConfigLocation(Path(next(p.file for p in places if "*" not in p.file)), present=False)


def _find_existing(place: ConfigPath) -> Path | None:
    """Return the file, or its path in an existing folder."""
    files = _list_matching(place.file)
    if files:
        return files[0]
    folders = _list_matching(place.folder)
    if not folders:
        return None
    return folders[0] / Path(place.file).name if "*" in place.file else Path(place.file)


def _list_matching(pattern: str) -> list[Path]:
    if "*" not in pattern:
        path = Path(pattern)
        return [path] if os.path.lexists(path) else []
    fixed, star, rest = pattern.partition("*")
    folder, _, first = fixed.rpartition("/")
    return sorted(Path(folder or "/").glob(first + star + rest))


def read(file: Path) -> bytes | None:
    """Return the content of the file; None if it does not exist.

    Raises:
        RefusedError: it is a broken link, not a regular file, too large, or unreadable.
    """
    try:
        _require_readable(file, file.stat())
        return file.read_bytes()
    except FileNotFoundError:
        if file.is_symlink():
            raise refused_error(file, "is a link to a file that does not exist") from None
        return None
    except OSError as problem:
        raise refused_error(file, f"cannot be read ({problem.strerror})") from problem


def _require_readable(file: Path, found: os.stat_result) -> None:
    """Refuse special files: reading a pipe would block, and a device has no end."""
    if not stat.S_ISREG(found.st_mode):
        raise refused_error(file, "cannot be read: it is not a regular file")
    if found.st_size > MAX_FILE_BYTES:
        raise refused_error(
            file, f"is larger than {MAX_FILE_BYTES // 1_000_000} MB, which is too large to edit"
        )


def decode_text(file: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise refused_error(file, "is not UTF-8 text") from None


def replace(file: Path, before: bytes | None, after: bytes) -> Path | None:
    """Replace `before` by `after`; return the path of the backup of `before`.

    Another program's write between the last check and the replacement is lost: no system can
    replace a file on the condition that it is unchanged.

    Raises:
        RefusedError: the file is not writable or has changed since it was read. Nothing was
            written.
    """
    target = Path(os.path.realpath(file))
    _require_writable(file, target)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.kartra-mcp-new")
    backup: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(temporary, after, _get_mode(target), target)
        backup = None if before is None else _write_backup(file, before)
        _require_unchanged(file, before)
        temporary.replace(target)
    except BaseException as problem:
        _tidy_up(temporary, backup)
        if isinstance(problem, OSError):
            raise refused_error(file, f"cannot be written ({problem.strerror})") from problem
        raise
    _sync_folder(target.parent)
    return backup


def _tidy_up(temporary: Path, backup: Path | None) -> None:
    """Remove our files after a failure. Once the file was replaced, its backup must stay."""
    if not temporary.exists():
        return
    if backup is not None:
        backup.unlink(missing_ok=True)
    temporary.unlink(missing_ok=True)


def _require_unchanged(file: Path, before: bytes | None) -> None:
    if read(file) != before:
        raise refused_error(
            file, "was changed by another program meanwhile", "Run the command again."
        )


def refused_error(file: Path, why: str, remedy: str = "") -> RefusedError:
    return RefusedError(
        "not_allowed",
        f"{file} {why}. {NOT_WRITTEN_NOTICE}",
        remedy or "Repair or rename the file, or use --print and add the entry by hand.",
    )


def _require_writable(file: Path, target: Path) -> None:
    """Check the file's mode: replacing it needs only write access to its folder."""
    if not target.exists():
        return
    writable = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
    if not target.stat().st_mode & writable or not os.access(target, os.W_OK):
        raise refused_error(file, "is write-protected", "Make it writable, or use --print.")


def _get_mode(target: Path) -> int:
    return stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600


def _write(file: Path, data: bytes, mode: int, like: Path | None = None) -> None:
    """Write a new file, durable when this returns, with the owner of `like`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(file, flags, 0o600)
    try:
        _fill(handle, data)
        file.chmod(mode)
        _own_as(file, like)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _fill(handle: int, data: bytes) -> None:
    with os.fdopen(handle, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _own_as(file: Path, like: Path | None) -> None:
    if like is not None and like.exists() and hasattr(os, "chown"):
        was, now = like.stat(), file.stat()
        if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
            os.chown(file, was.st_uid, was.st_gid)


def _write_backup(file: Path, data: bytes) -> Path:
    """Copy the file, readable by this user alone: such files contain other servers' keys."""
    name = f"{file.name}.kartra-mcp-backup-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    for number in range(2, 100):
        backup = file.with_name(name)
        with suppress(FileExistsError):
            _write(backup, data, 0o600)
            return backup
        name = f"{name.removesuffix(f'-{number - 1}')}-{number}"
    raise refused_error(file, "has too many backups from this second")


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that a power failure does not restore the old file.

    Windows has no such call, and some file systems reject it; the file is replaced anyway.
    """
    if os.name == "nt":
        return
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
