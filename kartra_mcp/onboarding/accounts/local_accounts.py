"""Entries joined to accounts: the same connection with the same state folder. Decisions only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kartra_mcp.account.connect_steps import next_step
from kartra_mcp.account.selection import is_kartra, select_connection
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.models import Connection, Risk
from kartra_mcp.onboarding.accounts.entries import ClientEntry, names_of
from kartra_mcp.onboarding.accounts.membrane_reads import ListedConnections, login_key
from kartra_mcp.onboarding.accounts.stored_state import StoredState

AccountState = Literal[
    "ready",
    "needs reconnect",
    "being prepared",
    "archived",
    "not found",
    "several connections",
    "not logged in",
    "unknown",
]
_OF_STEPS: Mapping[str, AccountState] = {
    "ready": "ready",
    "open": "needs reconnect",
    "reconnect": "needs reconnect",
    "wait": "being prepared",
}
_OF_CODES: Mapping[str, AccountState] = {
    "no_connection": "not found",
    "several_connections": "several connections",
    "not_logged_in": "not logged in",
}


@dataclass(frozen=True, slots=True)
class LocalAccount:
    """One account on this machine.

    Attributes:
        entries: the entries that serve it, of all clients.
        stored: its state folder.
        state: of its connection, as Membrane reports it now.
        connection: as Membrane or the state folder has it; None for the sandbox, or if not known.
        problem: why the state is not known, or no connection is chosen.
    """

    entries: tuple[ClientEntry, ...]
    stored: StoredState
    state: AccountState = "unknown"
    connection: Connection | None = None
    problem: KartraMCPError | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return names_of(self.entries)

    @property
    def is_sandbox(self) -> bool:
        return self.entries[0].settings.sandbox

    @property
    def setting(self) -> str | None:
        """Return the connection that the entries name; None if Membrane chooses."""
        return self.entries[0].settings.connection

    @property
    def identity(self) -> str:
        """Return the id of the connection, else the text that names it; "" if neither is known."""
        return self.connection.id if self.connection else self.setting or ""

    @property
    def unknown_writes(self) -> int:
        """Return the number of its writes whose outcome must be settled."""
        counts = self.stored.ledger.unknown
        known = counts.get(self.identity)
        return known if known is not None and len(counts) > 1 else sum(counts.values())

    @property
    def irreversible_gates(self) -> tuple[str, ...]:
        """Return what irreversible tools need, in each different way that entries have."""
        return tuple(dict.fromkeys(_irreversible_gate(entry) for entry in self.entries))


def join_accounts(
    entries: Iterable[ClientEntry],
    stored: Mapping[Path, StoredState],
    listed: Mapping[Hashable, ListedConnections],
) -> list[LocalAccount]:
    """Return the accounts in the order of their first entries.

    Args:
        entries: of all clients.
        stored: each state folder of an entry.
        listed: the answer of each login; empty if Membrane was not asked.
    """
    found: dict[tuple[str, str, Path], LocalAccount] = {}
    for entry in entries:
        folder = entry.settings.state_dir
        one = _make_account(entry, stored[folder], listed.get(login_key(entry.settings)))
        key = ("sandbox" if one.is_sandbox else "real", one.identity, folder)
        there = found.get(key, one)
        joined = (*there.entries, entry) if key in found else (entry,)
        found[key] = LocalAccount(
            joined, there.stored, there.state, there.connection, there.problem
        )
    return list(found.values())


def list_unused(
    accounts: Sequence[LocalAccount], listed: Iterable[ListedConnections]
) -> list[Connection]:
    """Return the Kartra connections of all logins that no entry serves."""
    served = {one.identity for one in accounts}
    known = {one.id: one for answer in listed for one in answer.known}
    return [
        one
        for one in known.values()
        if is_kartra(one) and one.state != "ARCHIVED" and one.id not in served
    ]


def _make_account(
    entry: ClientEntry, stored: StoredState, answer: ListedConnections | None
) -> LocalAccount:
    wanted = entry.settings.connection
    if entry.settings.sandbox:
        return LocalAccount((entry,), stored, "ready")
    problem = answer.problem if answer else None
    if answer and problem is None:
        served = stored.served.id if stored.served else None
        try:
            chosen = select_connection(answer.known, wanted, served)
        except RefusedError as refusal:
            problem = refusal
        else:
            return LocalAccount((entry,), stored, _connection_state(chosen), chosen)
    state = _OF_CODES.get(problem.code, "unknown") if problem else "unknown"
    return LocalAccount((entry,), stored, state, stored.find(wanted), problem)


def _connection_state(connection: Connection) -> AccountState:
    if connection.state == "ARCHIVED":
        return "archived"
    return _OF_STEPS[next_step(connection)]


def _irreversible_gate(entry: ClientEntry) -> str:
    settings = entry.settings
    if settings.read_only:
        return "read-only"
    return str(settings.gates[Risk.IRREVERSIBLE]) if settings.writes else "writes off"
