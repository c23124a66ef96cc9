"""The sandbox's own verbs, with which people and tests arrange the account; Membrane has none.

reset
digest                                     a hash of all that Kartra keeps
journal                                    every invocation so far, but none of this verb's own
fault set CMD TYPE [--times=N] [--effect] [--message=TEXT]
                                           CMD: a command of Kartra's, `*` for every one, or over
                                           HTTP an address as in `http_routes.py`: "POST /act"
                                           TYPE: a type of Kartra's or Membrane's errors, or
                                           hang, killed, silent, garbage, cut, slow
fault list
fault clear
connection set-state ID STATE [--disconnected]
connection add [--id=] [--key=] [--name=] [--state=READY] [--integrationKey=kartra]
login code                                 the code that the page of `login start` would show
login refuse [off]                         let nobody in any more
address opened|ignored|refused             what becomes of the address of a connection that is
                                           waited for: opened at once, unless this says otherwise
actions use FILE                           serve another list; `actions use published` goes back
actions paging normal|ten|repeat|refuse    list as older programs do: flags ignored or refused
"""

from __future__ import annotations

import json
import os
from typing import Any

from kartra_mcp.sandbox import action_list, connections, faults, login
from kartra_mcp.sandbox.account import Account
from kartra_mcp.sandbox.argv import Arguments
from kartra_mcp.sandbox.membrane_errors import UsageError

Map = dict[str, Any]


def digest(account: Account, _line: Arguments) -> Map:
    return {"digest": account.digest()}


def journal(account: Account, _line: Arguments) -> Map:
    return {"items": account.journal()}


def fault_set(account: Account, line: Arguments) -> Map:
    cmd, kind = line.word(2, "cmd"), line.word(3, "type")
    if kind not in faults.KNOWN:
        raise UsageError(f"unknown fault {kind}")
    if kind == faults.SLOW and not line.get("message", "1").replace(".", "", 1).isdecimal():
        raise UsageError("slow takes seconds: --message=2.5")
    times = line.number("times", 1)
    effect = line.has("effect")
    faults.put(account, cmd, kind, times, line.get("message"), effect=effect)
    return {"cmd": cmd, "type": kind, "times": times, "effect": effect}


def fault_list(account: Account, _line: Arguments) -> Map:
    rows = account.rows("SELECT cmd, type, times, effect, message FROM faults ORDER BY id")
    return {"items": [dict(row) for row in rows]}


def fault_clear(account: Account, _line: Arguments) -> Map:
    return {"cleared": account.changed("DELETE FROM faults")}


def set_state(account: Account, line: Arguments) -> Map:
    number, state = line.word(2, "connectionId"), line.word(3, "state")
    row = connections.set_state(account, number, state, disconnected=line.has("disconnected"))
    return connections.printed(row)


def add(account: Account, line: Arguments) -> Map:
    state, integration = line.get("state", "READY"), line.get("integrationKey", "kartra")
    named = (line.get("id"), line.get("key"), line.get("name"))
    return connections.printed(connections.add(account, *named, state, integration))


def use(account: Account, line: Arguments) -> Map:
    name = line.word(2, "file")
    path = "" if name == "published" else os.path.abspath(name)  # noqa: PTH100
    try:
        account.set("actions", path)
        return {"actions": len(action_list.load(account))}
    except (OSError, json.JSONDecodeError) as error:
        account.set("actions", "")
        raise UsageError(f"{name} is no list of actions") from error


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


UNRECORDED = {"journal": journal, "digest": digest}
"""What only looks at the sandbox leaves no trace in the journal."""

VERBS = {
    "fault set": fault_set,
    "fault list": fault_list,
    "fault clear": fault_clear,
    "connection set-state": set_state,
    "connection add": add,
    "login code": login.code,
    "login refuse": login.refuse,
    "address": address,
    "actions use": use,
    "actions paging": paging,
}
