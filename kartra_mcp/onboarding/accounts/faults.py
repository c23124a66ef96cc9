"""Faults between accounts, each with its fix, and the commands that add an account."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kartra_mcp.client_config.entry import NAME, REAL
from kartra_mcp.core.display import display_value, quote_word
from kartra_mcp.core.models import Connection
from kartra_mcp.core.sanitize import strip_control_chars
from kartra_mcp.onboarding.accounts.entries import ClientEntries, ClientEntry
from kartra_mcp.onboarding.accounts.local_accounts import LocalAccount
from kartra_mcp.onboarding.accounts.state_folders import KnownFolders, own_folder
from kartra_mcp.settings import Settings

MAX_NAME_CHARS = 20
INSTALL = "kartra-mcp install"


@dataclass(frozen=True, slots=True)
class AccountFault:
    """A fault that the user must fix: its kind, one sentence, and what to do."""

    kind: str
    message: str
    remedy: str


def find_faults(
    accounts: Sequence[LocalAccount], clients: ClientEntries, known: KnownFolders
) -> list[AccountFault]:
    """Return every fault: files, entries, folders, connections."""
    return [
        *_broken_files(clients),
        *_broken_entries(clients.entries),
        *_two_ledgers(accounts, known),
        *_shared_folders(accounts, known),
        *_served_twice(accounts),
        *_same_names(accounts),
        *_damaged_ledgers(accounts),
        *_not_ready(accounts),
    ]


def _broken_files(clients: ClientEntries) -> Iterator[AccountFault]:
    for one in clients.broken:
        message = f"{one.title}'s configuration cannot be read, so its entries are not listed: "
        yield AccountFault("broken file", message + one.detail, one.remedy)


def _broken_entries(entries: Iterable[ClientEntry]) -> Iterator[AccountFault]:
    for one in entries:
        checked, fault = one.checked, one.settings.state_dir_error
        if checked.state != "fine":
            message = f"{checked.title} starts {one.name} with {checked.detail}: the "
            yield AccountFault("command", f"{message}{checked.state}.", checked.remedy)
        if fault is not None:
            message = f"{_entry(one)}: {fault.variable} is not {fault.expected}. No write runs."
            remedy = f"Correct {fault.variable} in `{checked.file}`."
            yield AccountFault("state folder", message, remedy)


def _two_ledgers(accounts: Sequence[LocalAccount], known: KnownFolders) -> Iterator[AccountFault]:
    """Find connections that are served with several folders."""
    for identity in dict.fromkeys(one.identity for one in accounts if one.identity):
        found = [one for one in _started(accounts) if one.identity == identity]
        if len({one.stored.folder for one in found}) < 2:  # noqa: PLR2004  one folder is right
            continue
        kept = max(found, key=lambda one: _rank_folder(one, known.base))
        where = "; ".join(f"{_entries(one)}: {one.stored.folder}" for one in found)
        others = [one for one in found if one.stored.folder != kept.stored.folder]
        yield AccountFault(
            "two ledgers",
            f"{_title(kept)} is served with {len(found)} state folders ({where}). Neither ledger "
            "has the refunds of the other.",
            f"{_settle_first(others)}Let all use {_describe_kept(kept)}: "
            + _commands(others, kept.stored.folder),
        )


def _rank_folder(one: LocalAccount, base: Path) -> tuple[float, bool]:
    return one.stored.ledger.newest_at or 0.0, one.stored.folder == base


def _describe_kept(one: LocalAccount) -> str:
    written = one.stored.ledger.newest_at is not None
    return "the folder with the newest write" if written else "one folder"


def _shared_folders(
    accounts: Sequence[LocalAccount], known: KnownFolders
) -> Iterator[AccountFault]:
    """Find folders that several connections use."""
    for folder in dict.fromkeys(one.stored.folder for one in accounts):
        found = [one for one in _started(accounts) if one.stored.folder == folder]
        if len(found) < 2:  # noqa: PLR2004  one account is right
            continue
        moved = [one for one in found if one is not _keeper(found)]
        where = " and ".join(f"{_entries(one)} for {_title(one)}" for one in found)
        steps = " ".join(_separate(one, known) for one in moved)
        yield AccountFault(
            "shared folder",
            f"{len(found)} accounts share the state folder {folder}: {where}. They share one "
            "ledger, its daily limits and its PIN.",
            f"{_settle_first(moved)}Give each a folder of its own: {steps}",
        )


def _keeper(found: Sequence[LocalAccount]) -> LocalAccount:
    """Return the account that keeps a shared folder: one that wrote there, with a known id."""
    return max(
        found, key=lambda one: (one.identity in one.stored.ledger.unknown, bool(one.identity))
    )


def _separate(one: LocalAccount, known: KnownFolders) -> str:
    if not one.identity:
        return f"First `{_install(one.entries[0])} --connection ID`."
    return _commands([one], own_folder(one.names[0], known))


def _served_twice(accounts: Sequence[LocalAccount]) -> Iterator[AccountFault]:
    """Find clients in which two entries serve one account: a model sees every tool twice."""
    for one in _started(accounts):
        counts = Counter(entry.client for entry in one.entries if entry.is_started)
        for client in (name for name, count in counts.items() if count > 1):
            found = [entry for entry in one.entries if entry.client == client and entry.is_started]
            names = " and ".join(entry.name for entry in found)
            last = found[-1]
            title = last.checked.title
            move = f"If {last.name} is another account: `{_install(last)} --connection ID`. "
            other = "" if one.is_sandbox else move
            yield AccountFault(
                "served twice",
                f"{names} in {title} serve the same account, {_title(one)}.",
                f"{other}Else `kartra-mcp uninstall {client} --name {_quote(last.name, last)}`.",
            )


def _same_names(accounts: Sequence[LocalAccount]) -> Iterator[AccountFault]:
    """Find accounts that a preview cannot tell apart: it names the connection."""
    labels: dict[str, dict[str, LocalAccount]] = {}
    for one in _started(accounts):
        if one.connection and one.connection.name:
            label = one.connection.name.strip().casefold()
            labels.setdefault(label, {}).setdefault(one.identity, one)
    for found in (list(alike.values()) for alike in labels.values() if len(alike) > 1):
        last = found[-1]
        yield AccountFault(
            "same name",
            f"{' and '.join(one.names[0] for one in found)} have connections of the same name, "
            f"“{display_value(last.connection and last.connection.name, 60)}”. Previews name the "
            "connection, so that they do not show which account is meant.",
            "Give each its own name in Membrane's console, then restart the clients.",
        )


def _damaged_ledgers(accounts: Sequence[LocalAccount]) -> Iterator[AccountFault]:
    for one in {account.stored.folder: account for account in accounts}.values():
        if one.stored.ledger.problem:
            message = f"The ledger of {', '.join(one.names)} cannot be read: "
            remedy = f"`kartra-mcp ledger verify{ledger_flags(one)}` reports the cause."
            yield AccountFault("ledger", message + one.stored.ledger.problem, remedy)


def _not_ready(accounts: Sequence[LocalAccount]) -> Iterator[AccountFault]:
    reported: set[str] = set()
    for one in accounts:
        problem, names = one.problem, ", ".join(one.names)
        if problem is not None and problem.code in ("no_connection", "several_connections"):
            remedy = f"`{_setup(one)} --connection ID` sets another one."
            yield AccountFault("connection", f"{names}: {problem.message}", remedy)
        elif problem is not None and problem.message not in reported:
            reported.add(problem.message)
            yield AccountFault("membrane", problem.message, problem.remedy)
        elif problem is None and one.state in ("needs reconnect", "being prepared", "archived"):
            yield _connection_fault(one)


def _connection_fault(one: LocalAccount) -> AccountFault:
    connection = one.connection
    assert connection is not None  # noqa: S101  such a state is that of a connection
    message = f"{', '.join(one.names)}: {_title(one)} is {display_value(connection.state, 40)}."
    again = f"`{_setup(one)}`"
    remedies = {
        "needs reconnect": f"{again} reconnects the same connection.",
        "being prepared": "Membrane is at work. Run `kartra-mcp accounts` again in a minute.",
        "archived": f"Restore it in Membrane, or choose another one: {again[:-1]} --connection ID`",
    }
    return AccountFault("connection", message, remedies[one.state])


def add_command(connection: Connection, name: str, clients: ClientEntries, login: Settings) -> str:
    """Return the command that adds an entry for a connection that none serves.

    Args:
        connection: as Membrane lists it.
        name: of the new entry.
        clients: of this machine; the one with the most entries is named.
        login: the settings of the login that lists the connection.
    """
    client = _choose_client(clients) or "--print"
    given = (("--connection", connection.id), ("--membrane", login.membrane or ""))
    words = [
        f" {flag} {quote_word(strip_control_chars(text), login.platform)}"
        for flag, text in given
        if text
    ]
    flags = "".join(words)
    return f"{INSTALL} {client} --name {name}{flags}"


def make_name(connection: Connection, taken: frozenset[str]) -> str:
    """Return a valid name that no entry has, from the name, key or id of a connection."""
    texts = (connection.name, connection.key, connection.id)
    slugs = (re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-0123456789") for text in texts)
    base = next((slug[:MAX_NAME_CHARS].strip("-") for slug in slugs if slug), REAL)
    name, number = base, 2
    while name in taken or not NAME.fullmatch(name):
        ending = f"-{number}"
        name, number = base[: MAX_NAME_CHARS - len(ending)] + ending, number + 1
    return name


def ledger_flags(one: LocalAccount) -> str:
    """Return the flags with which a ledger command finds the ledger of an account."""
    return one.entries[0].settings.cli_flags


def _quote(text: str, entry: ClientEntry) -> str:
    """Quote a word for the shell of the system that the entry is on."""
    return quote_word(strip_control_chars(text), entry.settings.platform)


def _choose_client(clients: ClientEntries) -> str:
    counts = Counter(one.client for one in clients.entries)
    most = [name for name, _ in counts.most_common(1)]
    return next(iter((*most, *clients.without)), "")


def _started(accounts: Iterable[LocalAccount]) -> list[LocalAccount]:
    return [one for one in accounts if any(entry.is_started for entry in one.entries)]


def _settle_first(accounts: Iterable[LocalAccount]) -> str:
    waiting = [one for one in accounts if one.unknown_writes]
    shown = "; ".join(
        f"`kartra-mcp ledger list --state unknown{ledger_flags(one)}`" for one in waiting
    )
    return f"First settle the writes with an unknown outcome: {shown}. " if waiting else ""


def _commands(accounts: Iterable[LocalAccount], folder: Path) -> str:
    entries = [entry for one in accounts for entry in one.entries]
    listed = ", ".join(
        f"`{_install(entry)} --state-dir {_quote(str(folder), entry)}`" for entry in entries
    )
    return f"{listed}. Then restart the client."


def _install(entry: ClientEntry) -> str:
    return f"{INSTALL} {entry.client} --name {_quote(entry.name, entry)}"


def _setup(one: LocalAccount) -> str:
    return f"kartra-mcp setup --name {_quote(one.names[0], one.entries[0])}"


def _entry(entry: ClientEntry) -> str:
    return f"{entry.name} in {entry.checked.title}"


def _entries(one: LocalAccount) -> str:
    return ", ".join(_entry(entry) for entry in one.entries)


def _title(one: LocalAccount) -> str:
    if one.is_sandbox:
        return "the sandbox"
    if one.connection and one.connection.name:
        return f"“{display_value(one.connection.name, 60)}” ({display_value(one.identity, 60)})"
    return display_value(one.identity, 60) if one.identity else "a connection that is not known"
