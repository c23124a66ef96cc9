"""Entries of this server in every client of this machine, with the settings that each starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kartra_mcp.client_config.install import Checked, check_clients
from kartra_mcp.onboarding.doctor.launch_settings import make_launch_config
from kartra_mcp.options import ENV_PREFIX
from kartra_mcp.settings import Settings


@dataclass(frozen=True, slots=True)
class ClientEntry:
    """One entry of one client.

    Attributes:
        checked: the entry as the client's file has it.
        settings: the settings of the server that it starts.
    """

    checked: Checked
    settings: Settings

    @property
    def name(self) -> str:
        return self.checked.name

    @property
    def client(self) -> str:
        return self.checked.client

    @property
    def is_started(self) -> bool:
        return not self.checked.disabled

    @property
    def key(self) -> tuple[str, str]:
        """Return what identifies an entry on this machine."""
        return self.client, self.name


@dataclass(frozen=True, slots=True)
class ClientEntries:
    """Every entry, and the clients that have none or whose file cannot be read."""

    entries: tuple[ClientEntry, ...] = ()
    without: tuple[str, ...] = ()
    broken: tuple[Checked, ...] = ()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Return each state folder of an entry once, in order."""
        return tuple(dict.fromkeys(entry.settings.state_dir for entry in self.entries))


def list_client_entries(shell: Settings) -> ClientEntries:
    """Return the entries of every client.

    The settings of this shell do not count: a client on the desktop never gets them.
    """
    found = check_clients(shell)
    plain = without_own_settings(shell)
    return ClientEntries(
        tuple(_make_entry(one, plain) for one in found if one.name),
        tuple(one.client for one in found if one.state == "no entry"),
        tuple(one for one in found if one.state == "broken file"),
    )


def without_own_settings(shell: Settings) -> Settings:
    """Return the settings with an environment that has no variable of this server."""
    env = {n: v for n, v in shell.environment.items() if not n.startswith(ENV_PREFIX)}
    return replace(shell, environment=env)


def find_real_folder(folder: Path) -> Path:
    """Return a folder without links and `..`: two paths of one folder are one ledger."""
    return Path(os.path.realpath(folder))  # `resolve` raises where links form a loop


def _make_entry(one: Checked, plain: Settings) -> ClientEntry:
    settings = make_launch_config(one, plain).settings
    return ClientEntry(one, replace(settings, state_dir=find_real_folder(settings.state_dir)))


def names_of(entries: Sequence[ClientEntry]) -> tuple[str, ...]:
    """Return the different names of entries, in order."""
    return tuple(dict.fromkeys(entry.name for entry in entries))
