"""Commands that only the sandbox has.

Users and tests set up its account with them. `help_text.py` describes the arguments of each.
"""

from __future__ import annotations

import os
from typing import Any

from kartra_mcp.sandbox.kartra import fault_injection
from kartra_mcp.sandbox.membrane import actions, connections
from kartra_mcp.sandbox.membrane.errors import MembraneError, UsageError
from kartra_mcp.sandbox.program import login
from kartra_mcp.sandbox.program.argv import Arguments
from kartra_mcp.sandbox.store import judging, request_journal
from kartra_mcp.sandbox.store.database import Account

Map = dict[str, Any]


def digest(account: Account, _line: Arguments) -> Map:
    return {"digest": account.digest()}


def journal(account: Account, _line: Arguments) -> Map:
    return {"items": account.journal()}


def fault_set(account: Account, line: Arguments) -> Map:
    cmd, kind = line.word(2, "cmd"), line.word(3, "type")
    if kind not in fault_injection.KNOWN:
        raise UsageError(f"unknown fault {kind}")
    if kind in fault_injection.TIMED and _parse_duration(line.get("message", "1")) is None:
        raise UsageError(f"{kind} takes seconds: --message=2.5")
    after = _parse_duration(line.get("after", "0"))
    if after is None or (after and not line.has("effect")):
        raise UsageError("--after takes the seconds until the effect, with --effect: --after=2.5")
    times = line.number("times", 1)
    effect, message = line.has("effect"), line.get("message")
    fault_injection.set_fault(account, cmd, kind, times, message, effect=effect, after=after)
    return {"cmd": cmd, "type": kind, "times": times, "effect": effect, "after": after}


def _parse_duration(text: str) -> float | None:
    """Parse seconds, which may have a fraction; None for other text."""
    digits = text.replace(".", "", 1)
    return float(text) if digits.isascii() and digits.isdecimal() else None


def fault_list(account: Account, _line: Arguments) -> Map:
    rows = account.rows("SELECT cmd, type, times, effect, message, after FROM faults ORDER BY id")
    return {"items": [dict(row) for row in rows]}


def fault_clear(account: Account, _line: Arguments) -> Map:
    return {"cleared": account.changed("DELETE FROM faults")}


def set_state(account: Account, line: Arguments) -> Map:
    number, state = line.word(2, "connectionId"), line.word(3, "state")
    row = connections.set_state(account, number, state, disconnected=line.has("disconnected"))
    return connections.render_connection(row)


def add(account: Account, line: Arguments) -> Map:
    state, integration = line.get("state", "READY"), line.get("integrationKey", "kartra")
    named = (line.get("id"), line.get("key"), line.get("name"))
    return connections.render_connection(connections.add(account, *named, state, integration))


def use(account: Account, line: Arguments) -> Map:
    name = line.word(2, "file")
    path = "" if name == "published" else os.path.abspath(name)  # noqa: PTH100
    account.set("actions", path)
    try:
        found = actions.load(account)
    except MembraneError as error:
        raise UsageError(error.message) from error
    return {"actions": len(found), "that_can_run": sum(map(actions.can_run, found))}


def paging(account: Account, line: Arguments) -> Map:
    habit = line.word(2, "habit")
    if habit not in {"normal", "ten", "repeat", "refuse"}:
        raise UsageError(f"unknown habit {habit}")
    account.set("paging", habit)
    return {"paging": habit}


def address(account: Account, line: Arguments) -> Map:
    fate = line.word(1, "fate")
    if fate not in {"opened", "ignored", "refused"}:
        raise UsageError(f"unknown fate {fate}")
    account.set("address", fate)
    return {"address": fate}


def requests(account: Account, _line: Arguments) -> Map:
    return {"items": request_journal.list_requests(account)}


def tokens(account: Account, line: Arguments) -> Map:
    """Set how the API judges signed tokens: the leeway after their end, and the tenant."""
    leeway = line.get("leeway", account.setting(judging.LEEWAY) or "0")
    if leeway != judging.ANY_AGE and _parse_duration(leeway) is None:
        raise UsageError("--leeway takes seconds, or any")
    tenant = line.get("tenant", judging.get_tenant(account))
    account.set(judging.LEEWAY, leeway)
    account.set(judging.TENANT, tenant)
    return {"leeway": leeway, "tenant": tenant}


def clock(account: Account, line: Arguments) -> Map:
    """Set how many seconds the API's clock is ahead of this machine's."""
    text = line.get("ahead", account.setting(judging.AHEAD) or "0")
    seconds = _parse_duration(text.removeprefix("-"))
    if seconds is None:
        raise UsageError("--ahead takes seconds; negative: behind")
    ahead = -seconds if text.startswith("-") else seconds
    account.set(judging.AHEAD, str(ahead))
    return {"ahead": ahead}


UNRECORDED = {"journal": journal, "digest": digest, "requests": requests}
"""Commands that only read the sandbox; they are not recorded in the journal."""

VERBS = {
    "fault set": fault_set,
    "fault list": fault_list,
    "fault clear": fault_clear,
    "connection set-state": set_state,
    "connection add": add,
    "login code": login.code,
    "login refuse": login.refuse,
    "address": address,
    "tokens": tokens,
    "clock": clock,
    "actions use": use,
    "actions paging": paging,
}
