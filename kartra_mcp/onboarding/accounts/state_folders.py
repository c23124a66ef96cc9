"""A state folder for each account: two ledgers of one account would admit a refund twice.

`choose_folder` decides; `complete_settings` reads what it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Connection
from kartra_mcp.core.state_location import NO_FOLDER
from kartra_mcp.onboarding.accounts.entries import (
    ClientEntry,
    find_real_folder,
    list_client_entries,
    names_of,
    without_own_settings,
)
from kartra_mcp.onboarding.accounts.stored_state import StoredState, read_stored_state
from kartra_mcp.settings import Settings, read_settings

ACCOUNTS = "accounts"
"""Folder in the platform's state folder that has one folder for each further account."""


@dataclass(frozen=True, slots=True)
class KnownFolders:
    """Entries of real accounts and what their folders, and those under `base`, contain."""

    base: Path
    entries: tuple[ClientEntry, ...]
    stored: Mapping[Path, StoredState]

    def ids_of(self, wanted: str | None) -> frozenset[str]:
        """Return the ids that a setting may mean: it may be an id, a key or a name."""
        if wanted is None:
            return frozenset()
        found = (state.find(wanted) for state in self.stored.values())
        return frozenset({wanted, *(one.id for one in found if one is not None)})

    def serves(self, entry: ClientEntry, ids: frozenset[str]) -> bool:
        """Return whether an entry serves one of these connections, as far as is stored."""
        state = self.stored.get(entry.settings.state_dir)
        found = state.find(entry.settings.connection) if state else None
        named = {entry.settings.connection, found.id if found else None}
        return not ids.isdisjoint(name for name in named if name)

    def is_free(self, folder: Path, ids: frozenset[str], others: Iterable[ClientEntry]) -> bool:
        """Return whether no other account uses a folder, or ever used it."""
        used = any(one.settings.state_dir == folder for one in others)
        state = self.stored.get(folder)
        return not used and (state is None or state.owners <= ids)


def complete_settings(
    place: tuple[str | None, str], given: Mapping[str, str], shell: Settings, *, replaces: bool
) -> dict[str, str]:
    """Return the settings by name that an entry needs besides those given, for `install`.

    An entry of the same name in another client is the same account: its connection and its folder
    are taken over. Otherwise the account gets the folder that `choose_folder` chooses.

    Args:
        place: client and name of the entry; without a client it is only printed.
        given: settings by name.
        shell: home folder and environment.
        replaces: the settings of this entry, if there is one, will be lost.

    Raises:
        RefusedError: this client's entry of this name serves another connection.
    """
    if "STATE_DIR" in given:
        return {}
    known = read_known_folders(shell)
    own = [one for one in known.entries if one.key == place]
    wanted = given.get("CONNECTION")
    if wanted is None:
        alike = next((one for one in known.entries if one.name == place[1]), None)
        return {} if own or alike is None else _account_settings(alike, known.base)
    if replaces:
        known, own = _without(known, own), []
    for one in own:
        if one.settings.connection and not known.serves(one, known.ids_of(wanted)):
            raise _other_account_error(one, wanted)
    folder = choose_folder(place[1], own, wanted, known)
    return {} if folder is None else {"STATE_DIR": str(folder)}


def read_known_folders(shell: Settings) -> KnownFolders:
    """Read the entries of all clients, and every state folder that they or earlier ones use."""
    entries = tuple(one for one in list_client_entries(shell).entries if not one.settings.sandbox)
    base = find_real_folder(read_settings({}, without_own_settings(shell).environment).state_dir)
    folders = dict.fromkeys([base, *_list_folders(base / ACCOUNTS)])
    folders |= dict.fromkeys(one.settings.state_dir for one in entries)
    return KnownFolders(base, entries, {folder: read_stored_state(folder) for folder in folders})


def choose_folder(
    name: str, own: Sequence[ClientEntry], wanted: str, known: KnownFolders
) -> Path | None:
    """Return the folder to write into an entry; None if the one that it has, or gets, is right.

    Args:
        name: of the entry.
        own: the entries that are being written, as they are now.
        wanted: the connection: its id, key or name.
        known: what is on this machine.
    """
    ids = known.ids_of(wanted)
    if known.base == NO_FOLDER or any(known.serves(one, ids) for one in own):
        return None
    keys = {one.key for one in own}
    others = [one for one in known.entries if one.key not in keys]
    now = own[0].settings.state_dir if own else known.base
    shared = [one.settings.state_dir for one in others if known.serves(one, ids)]
    foreign = [one for one in others if not known.serves(one, ids)]
    if shared:
        chosen = shared[0]
    elif own and not any(one.settings.state_dir == now for one in foreign):
        chosen = now
    else:
        chosen = _first_free(name, ids, foreign, known)
    return None if chosen == now else chosen


def find_folder(
    name: str, connection: Connection, shell: Settings
) -> tuple[Path | None, tuple[ClientEntry, ...]]:
    """Return the folder for an entry of setup, and its entries that serve another connection.

    Args:
        name: of the entry, in every client.
        connection: the one to serve.
        shell: home folder and environment.
    """
    known = read_known_folders(shell)
    own = [one for one in known.entries if one.name == name]
    ids = known.ids_of(connection.id) | {connection.key} - {""}
    others = tuple(one for one in own if one.settings.connection and not known.serves(one, ids))
    return choose_folder(name, own, connection.id, known), others


def list_served_by_others(
    name: str, connections: Iterable[Connection], shell: Settings
) -> dict[str, tuple[str, ...]]:
    """Return the ids of the connections that entries of other names serve, with those names."""
    known = read_known_folders(shell)
    others = [one for one in known.entries if one.name != name]
    found: dict[str, tuple[str, ...]] = {}
    for one in connections:
        ids = frozenset({one.id, one.key, one.name} - {""})
        names = names_of([entry for entry in others if known.serves(entry, ids)])
        found |= {one.id: names} if names else {}
    return found


def own_folder(name: str, known: KnownFolders) -> Path:
    """Return a folder for an account that no entry and no earlier account uses."""
    return _first_named(name, frozenset(), known.entries, known)


def _first_free(
    name: str, ids: frozenset[str], foreign: Sequence[ClientEntry], known: KnownFolders
) -> Path:
    """Return the account's earlier folder, else the platform's own, else a new one."""
    earlier = (folder for folder, state in known.stored.items() if state.owners & ids)
    for folder in (*earlier, known.base):
        if known.is_free(folder, ids, foreign):
            return folder
    return _first_named(name, ids, foreign, known)


def _first_named(
    name: str, ids: frozenset[str], foreign: Sequence[ClientEntry], known: KnownFolders
) -> Path:
    folders = known.base / ACCOUNTS
    names = [name, *(f"{name}-{number}" for number in range(2, len(known.stored) + 3))]
    return next(folders / one for one in names if known.is_free(folders / one, ids, foreign))


def _without(known: KnownFolders, own: Sequence[ClientEntry]) -> KnownFolders:
    return replace(known, entries=tuple(one for one in known.entries if one not in own))


def _list_folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(one for one in folder.iterdir() if one.is_dir())
    return []


def _account_settings(alike: ClientEntry, base: Path) -> dict[str, str]:
    settings = alike.settings
    found = {"CONNECTION": settings.connection} if settings.connection else {}
    if settings.state_dir != base and settings.state_dir_error is None:
        found["STATE_DIR"] = str(settings.state_dir)
    return found


def _other_account_error(own: ClientEntry, wanted: str) -> RefusedError:
    return RefusedError(
        "not_allowed",
        f"{own.name!r} in {own.checked.title} serves the connection {own.settings.connection!r}, "
        f"not {wanted[:100]!r}. Nothing was written.",
        "Give the second account an entry of its own with --name. To let this entry serve the "
        f"other account: `kartra-mcp setup --name {own.name} --connection ID`.",
    )
