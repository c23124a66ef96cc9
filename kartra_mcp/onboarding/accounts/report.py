"""Everything that `kartra-mcp accounts` reports: collected here, and as data for `--json`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kartra_mcp.account.selection import connection_summary
from kartra_mcp.core.models import Connection
from kartra_mcp.onboarding.accounts.entries import (
    ClientEntries,
    list_client_entries,
    names_of,
)
from kartra_mcp.onboarding.accounts.faults import (
    AccountFault,
    add_command,
    find_faults,
    make_name,
)
from kartra_mcp.onboarding.accounts.local_accounts import (
    LocalAccount,
    join_accounts,
    list_unused,
)
from kartra_mcp.onboarding.accounts.membrane_reads import (
    ListedConnections,
    Login,
    group_logins,
    list_connections,
)
from kartra_mcp.onboarding.accounts.state_folders import read_known_folders
from kartra_mcp.onboarding.accounts.stored_state import read_stored_state
from kartra_mcp.processes import runner
from kartra_mcp.settings import Settings


@dataclass(frozen=True, slots=True)
class UnusedConnection:
    """A connection that no entry serves, and the command that adds an entry for it."""

    connection: Connection
    name: str
    command: str


@dataclass(frozen=True, slots=True)
class AccountsReport:
    """The accounts of this user on this machine.

    Attributes:
        asked: whether Membrane was asked.
        next_step: what to do first; "" where there are accounts.
    """

    asked: bool
    accounts: tuple[LocalAccount, ...]
    faults: tuple[AccountFault, ...]
    unused: tuple[UnusedConnection, ...]
    next_step: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the report for `--json`."""
        return {
            "asked_membrane": self.asked,
            "accounts": [_account_as_dict(one) for one in self.accounts],
            "faults": [asdict(one) for one in self.faults],
            "unused_connections": [
                {**connection_summary(one.connection), "command": one.command}
                for one in self.unused
            ],
            "next_step": self.next_step,
        }


def make_report(shell: Settings, run_program: runner.Run, *, offline: bool) -> AccountsReport:
    """Collect entries, stored state and, unless offline, the states that Membrane reports."""
    clients = list_client_entries(shell)
    known = read_known_folders(shell)
    sandboxes = {one: read_stored_state(one) for one in clients.folders if one not in known.stored}
    logins = _list_logins(clients, shell)
    listed = {} if offline else list_connections(logins, run_program)
    accounts = join_accounts(clients.entries, {**known.stored, **sandboxes}, listed)
    faults = find_faults(accounts, clients, known)
    if not clients.entries:
        faults += _login_faults(listed)
    return AccountsReport(
        not offline,
        tuple(accounts),
        tuple(faults),
        tuple(_list_unused(accounts, clients, logins, listed)),
        "" if accounts else _next_step(clients),
    )


def _list_logins(clients: ClientEntries, shell: Settings) -> dict[Hashable, Login]:
    """Return the logins of all real entries; without one, that of this shell."""
    real = [one.settings for one in clients.entries if not one.settings.sandbox]
    return group_logins(real or [shell])


def _login_faults(listed: Mapping[Hashable, ListedConnections]) -> list[AccountFault]:
    return [
        AccountFault("membrane", answer.problem.message, answer.problem.remedy)
        for answer in listed.values()
        if answer.problem
    ]


def _list_unused(
    accounts: list[LocalAccount],
    clients: ClientEntries,
    logins: Mapping[Hashable, Login],
    listed: Mapping[Hashable, ListedConnections],
) -> list[UnusedConnection]:
    taken = set(names_of(clients.entries))
    found: list[UnusedConnection] = []
    for one in list_unused(accounts, listed.values()):
        key = next(key for key, answer in listed.items() if one in answer.known)
        name = make_name(one, frozenset(taken))
        taken.add(name)
        command = add_command(one, name, clients, logins[key].settings)
        found.append(UnusedConnection(one, name, command))
    return found


def _next_step(clients: ClientEntries) -> str:
    if clients.broken:
        return ""
    return (
        "No client on this machine has an entry of kartra-mcp. `kartra-mcp setup` makes one; "
        "`kartra-mcp demo` shows the rehearsal account first."
    )


def _account_as_dict(one: LocalAccount) -> dict[str, Any]:
    return {
        "names": list(one.names),
        "entries": [
            {
                "client": entry.client,
                "name": entry.name,
                "file": str(entry.checked.file),
                "started": entry.is_started,
            }
            for entry in one.entries
        ],
        "sandbox": one.is_sandbox,
        "connection": connection_summary(one.connection) if one.connection else None,
        "setting": one.setting,
        "state": one.state,
        "state_folder": str(one.stored.folder),
        "last_use": one.stored.last_use,
        "unknown_writes": one.unknown_writes,
        "irreversible": list(one.irreversible_gates),
    }
