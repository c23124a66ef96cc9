"""State of an account by its state folder, read without creating or changing anything."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kartra_mcp.account.refresher import SERVED
from kartra_mcp.account.snapshot import parse_stored_connection
from kartra_mcp.app.membrane_factory import PACE_FILE
from kartra_mcp.core.json_types import as_dict
from kartra_mcp.core.models import Connection
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.ledger.sqlite.inspection import LedgerInspection, inspect_ledger


@dataclass(frozen=True, slots=True)
class StoredState:
    """The files of one state folder.

    Attributes:
        folder: the folder, which need not exist.
        served: the connection served last from it; None if none was.
        connections: those whose list of actions it stores.
        called_at: time of the last call to Kartra; None without one, or without a rate limit.
        ledger: what its ledger contains.
    """

    folder: Path
    served: Connection | None = None
    connections: tuple[Connection, ...] = ()
    called_at: float | None = None
    ledger: LedgerInspection = field(default_factory=LedgerInspection)

    @property
    def last_use(self) -> float | None:
        """Return the time of the last call or the newest entry of the ledger."""
        times = (self.called_at, self.ledger.newest_at)
        return max((at for at in times if at is not None), default=None)

    @property
    def owners(self) -> frozenset[str]:
        """Return the ids of the connections that this folder was ever used for."""
        known = {one.id for one in self.connections} | set(self.ledger.unknown)
        return frozenset(known | ({self.served.id} if self.served else set()))

    def find(self, wanted: str | None) -> Connection | None:
        """Return the stored connection of an id, key or name; without one, that served last."""
        if wanted is None:
            return self.served
        known = (*self.connections, *([self.served] if self.served else []))
        for field_name in ("id", "key", "name"):
            for one in known:
                if getattr(one, field_name) == wanted:
                    return one
        return None


def read_stored_state(folder: Path) -> StoredState:
    """Return what a folder shows; of one that cannot be read, nothing."""
    state = StateDir(folder)
    names = sorted(_list_names(folder))
    found = (parse_stored_connection(state.read(name)) for name in names)
    connections = tuple(one for one in found if one is not None)
    last = as_dict(state.read(SERVED))
    return StoredState(
        folder,
        _find_served(last.get("id"), last.get("key"), connections),
        connections,
        _changed_at(folder / PACE_FILE),
        inspect_ledger(folder),
    )


def _list_names(folder: Path) -> Iterable[str]:
    with suppress(OSError):
        return [file.name for file in folder.glob("actions-*.json")]
    return ()


def _find_served(
    identity: object, key: object, connections: Iterable[Connection]
) -> Connection | None:
    if not isinstance(identity, str):
        return None
    plain = Connection(identity, key if isinstance(key, str) else "")
    return next((one for one in connections if one.id == identity), plain)


def _changed_at(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None
