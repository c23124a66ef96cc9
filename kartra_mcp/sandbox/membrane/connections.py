"""Membrane's connections to the account: list, create, reconnect, and set up for tests."""

from __future__ import annotations

import os
from typing import Any

from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.store import clock, seed
from kartra_mcp.sandbox.store.database import Account, Row

Map = dict[str, Any]
ADDRESS = "https://console.getmembrane.com/sandbox/connect"
WAITING = "CLIENT_ACTION_REQUIRED"


def render_connection(row: Row) -> Map:
    found: Map = {
        "id": row["id"],
        "key": row["key"],
        "name": row["name"],
        "state": row["state"],
        "connected": not row["disconnected"],
        "disconnected": bool(row["disconnected"]),
        "isTest": False,
        "userId": seed.USER,
        "integrationId": seed.INTEGRATION,
        "connectorId": seed.CONNECTOR,
        "integration": format_integration(row["integration"]),
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }
    if row["archived_at"]:
        found["archivedAt"] = row["archived_at"]
    if row["state"] == WAITING:
        found["clientAction"] = _make_client_action(row["id"])
    if row["state"] in {"CONFIGURATION_ERROR", "SETUP_FAILED"}:
        found["errors"] = [{"type": "configuration", "message": "The connector is not set up"}]
    return found


def format_integration(key: str) -> Map:
    """Return the integration; the vendor's client requires a logo URL in each."""
    logo = f"https://example.com/{key}.svg"
    return {"id": seed.INTEGRATION, "key": key, "name": key.capitalize(), "logoUri": logo}


def _make_client_action(number: str) -> Map:
    return {
        "type": "connect",
        "description": "Open the address and sign in to Kartra",
        "uiUrl": f"{ADDRESS}/{number}",
        "agentInstructions": f"Ask the person to open {ADDRESS}/{number}",
    }


def list_all(account: Account, integration: str = "", search: str = "") -> list[Map]:
    rows = account.rows("SELECT * FROM connections WHERE archived_at = '' ORDER BY n")
    return [
        render_connection(row)
        for row in rows
        if integration in {"", row["integration"]} and search.lower() in row["name"].lower()
    ]


def find(account: Account, selector: str) -> Row:
    """Find a connection by id, else by key."""
    found = account.row("SELECT * FROM connections WHERE id = ?", selector) or account.row(
        "SELECT * FROM connections WHERE key = ?", selector
    )
    if found is None:
        raise MembraneError(f'Connection "{selector}" not found')
    return found


def choose(account: Account, number: str, key: str) -> Row:
    """Return the named connection; without a name Membrane silently takes the first."""
    column, wanted = ("id", number) if number else ("key", key)
    found = (
        account.row(f"SELECT * FROM connections WHERE {column} = ? AND archived_at = ''", wanted)
        if wanted
        else account.row("SELECT * FROM connections WHERE archived_at = '' ORDER BY n LIMIT 1")
    )
    if found is None:
        raise MembraneError(f'Connection "{wanted}" not found')
    return found


def require_usable(row: Row) -> Row:
    if row["disconnected"]:
        raise MembraneError(
            f'Connection "{row["name"]}" is disconnected',
            kind="connection",
            key="connection_is_defunct",
        )
    if row["state"] != "READY":
        raise MembraneError(
            f'Connection "{row["name"]}" is in state {row["state"]}',
            kind="connection",
            key="connection_not_ready",
        )
    return row


def add(account: Account, number: str, key: str, name: str, state: str, integration: str) -> Row:
    made = clock.iso()
    number = number or os.urandom(12).hex()
    key = key or f"{integration}-{account.number('SELECT count(*) FROM connections') + 1}"
    if account.row("SELECT 1 FROM connections WHERE id = ? OR key = ?", number, key):
        raise MembraneError("This connection exists", key="already_exists")
    account.run(
        "INSERT INTO connections (id, key, name, state, disconnected, integration, created_at,"
        " updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        *(number, key, name or key, state, int(state == "DISCONNECTED"), integration, made, made),
    )
    return find(account, number)


def set_state(account: Account, selector: str, state: str, *, disconnected: bool = False) -> Row:
    row = find(account, selector)
    account.run(
        "UPDATE connections SET state = ?, disconnected = ?, updated_at = ? WHERE id = ?",
        *(state, int(disconnected or state == "DISCONNECTED"), clock.iso(), row["id"]),
    )
    return find(account, row["id"])


def connect(account: Account, number: str, name: str, *, interactive: bool) -> Row:
    """Create or reconnect a connection; without a user it waits for one to sign in."""
    state = "READY" if interactive else WAITING
    if number:
        return set_state(account, number, state)
    return add(account, "", "", name or "Kartra", state, "kartra")


def wait_until_settled(account: Account, row: Row) -> Row:
    """Advance a connection that was waited for: the user signed in meanwhile, or it was built."""
    fate = account.setting("address")
    if row["state"] not in {WAITING, "BUILDING"} or fate == "ignored":
        return row
    return set_state(account, row["id"], "SETUP_FAILED" if fate == "refused" else "READY")
