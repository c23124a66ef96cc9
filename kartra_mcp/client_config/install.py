"""Installation, removal, discovery and checks of our entry in MCP clients."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any, Literal

from kartra_mcp.client_config.command import check_name
from kartra_mcp.client_config.edit import (
    Edited,
    ForeignEntryError,
    How,
    WouldRelaxError,
    get_command,
    own_entries,
    with_entry,
    without_entry,
)
from kartra_mcp.client_config.entry import ServerEntry, is_ephemeral
from kartra_mcp.client_config.errors import UneditableConfigError
from kartra_mcp.client_config.files import (
    NOT_WRITTEN_NOTICE,
    decode_text,
    locate,
    read,
    refused_error,
    replace,
)
from kartra_mcp.client_config.registry import BY_NAME, CLIENTS, ClientSpec
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import as_dict
from kartra_mcp.core.sanitize import strip_control_chars
from kartra_mcp.settings import Settings

State = Literal[
    "no entry",
    "fine",
    "broken file",
    "command not absolute",
    "command does not exist",
    "command is not executable",
]


@dataclass(frozen=True, slots=True)
class Installed:
    """Result of an installation: `how` is new, updated or same; `backup` is the previous file.

    `kept` names settings of the entry that were not given again, `lost` those that only the
    replaced entry had. `then` is the next step for the user; `notices` are sentences to display.
    """

    client: str
    title: str
    name: str
    file: Path
    how: How
    backup: Path | None
    then: str
    kept: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Removed:
    """Result of a removal; `removed` is False if there was no entry."""

    client: str
    title: str
    name: str
    file: Path
    removed: bool
    backup: Path | None
    then: str


@dataclass(frozen=True, slots=True)
class FoundClient:
    """A known client: installed or not (`exists`), and our entries in its file."""

    client: str
    title: str
    file: Path
    exists: bool
    entries: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """Check result of one entry; `state` is "no entry" if an installed client has none.

    `detail` is its command, or the problem of the file. `args` and `env` are copied from the file.
    `remedy` fixes the problem.
    """

    client: str
    title: str
    file: Path
    state: State
    name: str = ""
    detail: str = ""
    remedy: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    disabled: bool = False


def install(
    client: str,
    entry: ServerEntry,
    settings: Settings,
    *,
    replace: bool = False,
    create: bool = False,
) -> Installed:
    """Set an entry in a client's configuration. Repeating it changes nothing.

    Args:
        client: one of `BY_NAME`.
        entry: see `own_entry`.
        settings: platform, home folder and environment.
        replace: overwrite another program's entry, or one whose flags would be lost.
        create: create the file even if the client's folder does not exist.

    Raises:
        RefusedError: nothing was written.
    """
    row = get_client(client)
    check_name(entry.name)
    spot = locate(row, settings)
    before = read(spot.file)
    if before is None and not spot.present and not create:
        raise RefusedError(
            "not_allowed",
            f"{row.title} was not found: {spot.file.parent} does not exist. {NOT_WRITTEN_NOTICE}",
            "Install and start it first, or use --create to create the file anyway.",
        )
    edited = _edit_file(row, spot.file, before, entry, replace=replace)
    backup = None if edited.change == "same" else _write_file(spot.file, before, edited.text)
    notices = (_ephemeral_notice(entry.command),) if is_ephemeral(entry.command) else ()
    done = Installed(client, row.title, entry.name, spot.file, edited.change, backup, row.then)
    return replaced(done, kept=edited.kept, lost=edited.lost, notices=notices)


def uninstall(client: str, name: str, settings: Settings) -> Removed:
    """Remove our entry; the rest of the file is not changed.

    Raises:
        RefusedError: the entry is not ours, or the file cannot be edited. Nothing was written.
    """
    row = get_client(client)
    file = locate(row, settings).file
    before = read(file)
    text = "" if before is None else decode_text(file, before)
    try:
        after = without_entry(row, text, name)
    except ForeignEntryError as problem:
        raise refused_error(
            file, str(problem), "The entry starts another program. Remove it by hand."
        ) from None
    except UneditableConfigError as problem:
        raise refused_error(file, str(problem)) from None
    removed = after != text
    backup = _write_file(file, before, after) if removed else None
    return Removed(client, row.title, name, file, removed, backup, row.then)


def find_clients(settings: Settings) -> list[FoundClient]:
    """Return every known client, including those that are not installed."""
    return [_find_client(row, settings) for row in CLIENTS]


def check_clients(settings: Settings) -> list[Checked]:
    """Check our entries in each installed client, for the doctor."""
    return [one for row in CLIENTS for one in _check_client(row, settings)]


def get_client(client: str) -> ClientSpec:
    """Return a client by name.

    Raises:
        RefusedError: the client is not supported.
    """
    if client not in BY_NAME:
        raise RefusedError(
            "invalid_arguments",
            f"{client[:60]!r} is not a supported client. {NOT_WRITTEN_NOTICE}",
            f"Use one of {', '.join(BY_NAME)}. For any other: `kartra-mcp install --print`.",
        )
    return BY_NAME[client]


def _edit_file(
    row: ClientSpec, file: Path, before: bytes | None, entry: ServerEntry, *, replace: bool
) -> Edited:
    text = "" if before is None else decode_text(file, before)
    try:
        return with_entry(row, text, entry, replace=replace)
    except ForeignEntryError as problem:
        remedy = "Choose another name with --name, or use --replace to overwrite the entry."
        raise refused_error(file, str(problem), remedy) from None
    except WouldRelaxError as problem:
        remedy = "Use --replace to overwrite the entry without them."
        raise refused_error(file, str(problem), remedy) from None
    except UneditableConfigError as problem:
        raise refused_error(file, str(problem)) from None


def _write_file(file: Path, before: bytes | None, text: str) -> Path | None:
    return replace(file, before, text.encode())


def _ephemeral_notice(command: str) -> str:
    return (
        f"{command} is in a cache. When the cache is emptied, the client cannot start it. "
        "Run `uv tool install kartra-mcp` or `pipx install kartra-mcp`, then this command again."
    )


def _read_entries(row: ClientSpec, settings: Settings) -> tuple[Path, bool, dict[str, Any]]:
    """Return the file, True if the client is installed, and our entries. Refuses a broken file."""
    spot = locate(row, settings)
    data = read(spot.file)
    if data is None:
        return spot.file, spot.present, {}
    try:
        return spot.file, True, own_entries(row, decode_text(spot.file, data))
    except UneditableConfigError as problem:
        raise refused_error(spot.file, str(problem)) from None


def _find_client(row: ClientSpec, settings: Settings) -> FoundClient:
    try:
        file, present, entries = _read_entries(row, settings)
    except RefusedError as problem:
        file = locate(row, settings).file
        why = problem.message.removesuffix(NOT_WRITTEN_NOTICE).strip()
        return FoundClient(row.name, row.title, file, exists=True, problem=why)
    return FoundClient(row.name, row.title, file, present, tuple(entries))


def _check_client(row: ClientSpec, settings: Settings) -> Iterator[Checked]:
    again = f"Run `kartra-mcp install {row.name}`."
    here = _find_client(row, settings)
    if not here.exists:
        return
    if here.problem:
        remedy = f"Repair the file, or restore {row.title}'s newest backup in the same folder."
        yield Checked(row.name, row.title, here.file, "broken file", "", here.problem, remedy)
        return
    if not here.entries:
        yield Checked(row.name, row.title, here.file, "no entry", remedy=again)
    _, _, entries = _read_entries(row, settings)
    for name, entry in entries.items():
        command, args = get_command(row, entry)
        state = _command_state(command)
        quoted = shlex.quote(strip_control_chars(name))
        remedy = "" if state == "fine" else f"{again[:-2]} --name {quoted}`."
        one = Checked(row.name, row.title, here.file, state, name, command, remedy, args)
        yield replaced(one, env=_get_env(row, entry), disabled=_is_disabled(entry))


def _get_env(row: ClientSpec, entry: Mapping[str, Any]) -> dict[str, str]:
    env: Any = entry.get(row.env)
    return {n: v for n, v in as_dict(env).items() if isinstance(v, str)}


def _is_disabled(entry: Mapping[str, Any]) -> bool:
    """Return True if a flag of the client disables the entry.

    Windsurf uses the first flag; Goose, Codex CLI and Zed the second.
    """
    return entry.get("disabled") is True or entry.get("enabled") is False


def _command_state(command: str) -> State:
    """Return the state of an entry; clients have a short PATH, so the command must be absolute."""
    file = Path(command)
    if not file.is_absolute():
        return "command not absolute"
    if not file.is_file():
        return "command does not exist"
    return "fine" if os.access(file, os.X_OK) else "command is not executable"
