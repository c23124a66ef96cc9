"""Snapshot of the served account, in memory and on disk. Pure."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from typing import Any

from kartra_mcp.account import selection
from kartra_mcp.catalogue import catalogue
from kartra_mcp.catalogue.builder import build_catalogue
from kartra_mcp.catalogue.catalogue import Catalogue
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import as_list, is_array, is_object
from kartra_mcp.core.models import Connection, Executed
from kartra_mcp.membrane.client import ProgramInfo


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """Account as served now. `fetched_at` is in seconds since the epoch, 0 if nothing was listed.

    `confirmed_at` is on the monotonic clock, None until Membrane confirmed it in this process.
    `error` is that of the last refresh. `partial`: the list could not be read completely, so that
    earlier entries fill in. `login` is the program's status if nothing else decides it.
    """

    connection: Connection | None = None
    catalogue: Catalogue = catalogue.EMPTY
    fetched_at: float = 0.0
    complete: bool = True
    confirmed_at: float | None = None
    program: ProgramInfo | None = None
    error: KartraMCPError | None = None
    partial: bool = False
    login: bool | None = None

    @property
    def stale(self) -> bool:
        """Return whether this process has not confirmed the list, or its last refresh failed."""
        return self.confirmed_at is None or self.error is not None

    @property
    def is_healthy(self) -> bool:
        """Return whether no problem is known that may have been fixed since."""
        usable = self.connection is None or self.connection.usable
        known = self.program is None or self.program.is_membrane is not False
        return usable and known and self.error is None

    def is_fresh(self, seconds: float) -> bool:
        """Return whether the list was confirmed within these seconds and no problem is known."""
        at = self.confirmed_at
        return at is not None and self.is_healthy and time.monotonic() - at < seconds


def with_refresh_error(served: AccountSnapshot, problem: KartraMCPError) -> AccountSnapshot:
    """Record a failed refresh. A refresh executes nothing at Kartra, so `executed` is no."""
    problem.executed = Executed.NO
    return replace(served, error=problem)


def no_catalogue_error(served: AccountSnapshot) -> KartraMCPError:
    """Return why no tool is known yet: the connection, or a list that was not loaded in time."""
    try:
        if served.connection:
            selection.require_usable(served.connection)
    except KartraMCPError as problem:
        return problem
    return RefusedError(
        "catalogue_unavailable",
        "The action list has not been loaded yet; nothing was started.",
        "Call kartra_status, then repeat the call.",
    )


def previous_listing(before: AccountSnapshot, connection: Connection) -> AccountSnapshot:
    """Return the existing list if it belongs to this connection."""
    same = before.connection is not None and before.connection.id == connection.id
    return before if same else AccountSnapshot()


def parse_snapshot(
    kept: Any, own: frozenset[str], *, commands: bool = False
) -> AccountSnapshot | None:
    """Parse a stored snapshot; None if it is damaged or of another version."""
    if not is_object(kept) or not is_array(kept.get("entries")):
        return None
    connection = parse_stored_connection(kept)
    try:
        fetched_at, complete = float(kept["fetched_at"]), bool(kept["complete"])
    except (KeyError, TypeError, ValueError):
        return None
    if connection is None:
        return None
    entries = build_catalogue(kept["entries"], own, commands=commands)
    lost = kept.get("lost") is True
    return AccountSnapshot(
        connection, entries, fetched_at=fetched_at, complete=complete, partial=lost
    )


def parse_stored_connection(kept: Any) -> Connection | None:
    """Parse the connection of a stored snapshot; None if it is damaged or of another version."""
    try:
        found = Connection(**kept["connection"])
    except (KeyError, TypeError):
        return None
    texts = (found.id, found.key, found.name, found.app, found.state, found.created_at)
    return found if all(isinstance(text, str) for text in texts) else None  # pyright: ignore[reportUnnecessaryIsInstance]


def stored_entries(kept: Any) -> list[Any]:
    entries = kept.get("entries") if is_object(kept) else None
    return as_list(entries)


def snapshot_filename(connection_id: str) -> str:
    return f"actions-{hashlib.sha256(connection_id.encode()).hexdigest()[:12]}.json"


def refresh_internal_error() -> KartraMCPError:
    return RefusedError(
        "internal_error",
        "The list of actions could not be read because of an error in this server.",
        "Please report it with the version that kartra_status shows.",
    )


def wrong_program_error(program: ProgramInfo | None) -> KartraMCPError:
    return RefusedError(
        "wrong_program",
        "The program `membrane` that was found was not recognized as Membrane's.",
        "Install Membrane's with `npm install -g @membranehq/cli`, or set KARTRA_MCP_MEMBRANE to "
        "its full path.",
        detail={"version": program.output} if program and program.output else None,
    )
