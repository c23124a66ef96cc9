"""Grant and revoke memberships. Inferred: Kartra documents no command for either."""

from __future__ import annotations

from typing import Any

from kartra_mcp.sandbox.kartra import fault_injection, leads
from kartra_mcp.sandbox.kartra.errors import KartraError, require
from kartra_mcp.sandbox.store import php_values
from kartra_mcp.sandbox.store.database import Account

Map = dict[str, Any]
GRANT, REVOKE = "grant_membership_access", "revoke_membership_access"
COMMANDS = {GRANT, REVOKE}


def answer(account: Account, cmd: str, flat: Map) -> Map:
    try:
        fault_injection.refuse_whole(account, cmd)
        fault_injection.refuse(account, cmd)
        lead = {"id": flat.get("lead_id"), "email": flat.get("email")}
        require(leads.is_named(lead), "206")
        done = _grant(account, lead, flat) if cmd == GRANT else _revoke(account, lead, flat)
        account.effects.append({"cmd": cmd, "lead": lead, "arguments": flat})
        return {"status": "Success", "actions": [{cmd: {"status": "Success", "message": done}}]}
    except KartraError as error:
        refusal = {"status": "Error", "message": error.message, "type": error.kind}
        return {"status": "Success", "actions": [{cmd: refusal}]}


def _find_levels(account: Account, flat: Map) -> list[int]:
    """Return the requested levels; no documented error type fits a missing one."""
    name, level = (
        php_values.text(flat.get(key)).strip() for key in ("membership_name", "level_name")
    )
    found = account.column(
        "SELECT l.id FROM levels l JOIN memberships m ON m.id = membership_id"
        " WHERE m.name = ? AND (? = '' OR l.name = ?) ORDER BY l.id",
        *(name, level, level),
    )
    if not found:
        raise KartraError("262", "This membership or level does not exist")
    return found


def _grant(account: Account, lead: Map, flat: Map) -> str:
    number = leads.find(account, lead)["id"]
    level = _find_levels(account, flat)[0]
    account.run("INSERT OR REPLACE INTO lead_memberships VALUES (?, ?, 1)", number, level)
    return "Membership granted"


def _revoke(account: Account, lead: Map, flat: Map) -> str:
    number = leads.find(account, lead)["id"]
    for level in _find_levels(account, flat):
        account.run(
            "UPDATE lead_memberships SET active = 0 WHERE lead_id = ? AND level_id = ?",
            *(number, level),
        )
    return "Membership revoked"
