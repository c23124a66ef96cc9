"""Updates of connections that only Membrane's REST API offers: names, archive, find-or-create."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from kartra_mcp.sandbox.membrane import connections
from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.store import clock, seed
from kartra_mcp.sandbox.store.database import Account, Row

Map = dict[str, Any]
APP = "kartra.com"
_ADDRESS = re.compile(r"(\d{1,3}\.){3}\d{1,3}")


def archive(account: Account, selector: str) -> Row:
    return _set_archived(account, selector, clock.iso())


def restore(account: Account, selector: str) -> Row:
    return _set_archived(account, selector, "")


def _set_archived(account: Account, selector: str, at: str) -> Row:
    row = connections.find(account, selector)
    account.run("UPDATE connections SET archived_at = ? WHERE id = ?", at, row["id"])
    return connections.find(account, row["id"])


def disconnect(account: Account, selector: str) -> Row:
    """Delete the credentials; only the user can sign in again."""
    row = connections.find(account, selector)
    return connections.set_state(account, row["id"], row["state"], disconnected=True)


def rename(account: Account, selector: str, changes: Map) -> Row:
    """Set the name and the key if they are given."""
    row = connections.find(account, selector)
    name, key = changes.get("name") or row["name"], changes.get("key") or row["key"]
    taken = account.row("SELECT id FROM connections WHERE key = ? AND id <> ?", key, row["id"])
    if taken is not None:
        raise MembraneError("This connection exists", key="already_exists")
    account.run(
        "UPDATE connections SET name = ?, key = ?, updated_at = ? WHERE id = ?",
        *(name, key, clock.iso(), row["id"]),
    )
    return connections.find(account, row["id"])


def ensure(account: Account, address: str, name: str) -> Row:
    """Return the connection to an app, created if there is none; a new app is built first."""
    app = parse_domain(address)
    integration = "kartra" if app == APP or app.endswith("." + APP) else app.split(".")[0]
    found = account.row(
        "SELECT * FROM connections WHERE integration = ? AND archived_at = '' ORDER BY n LIMIT 1",
        integration,
    )
    if found is not None:
        return found
    state = connections.WAITING if integration == "kartra" else "BUILDING"
    return connections.add(account, "", "", name or app, state, integration)


def parse_domain(address: str) -> str:
    """Return the host of a URL or of a bare domain."""
    whole = address if re.match(r"https?://", address, re.IGNORECASE) else f"https://{address}"
    try:
        host = (urlsplit(whole).hostname or "").removeprefix("www.")
    except ValueError:
        host = ""
    if "." not in host or len(address) > 2000 or _ADDRESS.fullmatch(host):
        raise MembraneError(
            "Must be a valid URL or domain", key="validation_error", data={"fields": ["appUrl"]}
        )
    return host


def find_of_integration(account: Account, selector: str) -> Row:
    """Return the default connection of an integration, by its id or key."""
    key = "kartra" if selector == seed.INTEGRATION else selector
    found = account.row(
        "SELECT * FROM connections WHERE integration = ? AND archived_at = '' ORDER BY n LIMIT 1",
        key,
    )
    if found is None:
        raise MembraneError(f'Integration "{selector}" has no connection')
    return found
