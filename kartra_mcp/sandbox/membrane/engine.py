"""Membrane in front of the account: run actions, pass requests through, log every run.

The connector's schemas are not published; those of `actions.json` are inferred from Kartra's
commands. Kartra documents no command that grants or revokes a membership; these two are inferred as
well and act on the account itself. An entry's `x-sandbox` names the command (`cmd`), how
names of the input map to it (`input`), and where the output is put (`output`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from kartra_mcp.sandbox.kartra import api as kartra_api
from kartra_mcp.sandbox.kartra import endpoint, fault_injection, memberships
from kartra_mcp.sandbox.kartra.errors import TooManyRequestsError
from kartra_mcp.sandbox.kartra.leads import TEXTS
from kartra_mcp.sandbox.membrane import actions, validation
from kartra_mcp.sandbox.membrane.errors import Deferred, MembraneError, ProgramEnd
from kartra_mcp.sandbox.store import clock, php_values, seed
from kartra_mcp.sandbox.store.database import Account, Row

Map = dict[str, Any]
_OF_THE_LEAD = {"email", "new_email", "custom_fields", *TEXTS}


def run(account: Account, action: Map, connection: Row, given: object, meta: object) -> Map:
    """Run an action and log it; a refusal by Kartra is a successful run."""
    if connection["integration"] != "kartra":
        raise MembraneError(f'Action "{action.get("id")}" not found on this connection')
    if action.get("state", "READY") != "READY":
        raise MembraneError("This action is not ready", kind="configuration", key="not_ready")
    what = {"id": action.get("id"), "connectionId": connection["id"], "input": given, "meta": meta}
    return _logged(
        account, php_values.text(action.get("name")), what, lambda: _run(account, action, given)
    )


def pass_on(account: Account, connection: Row, api: Map, meta: object) -> Map:
    """Send a request as `act --api` does: the response body is the output."""
    what = {"api": api, "connectionId": connection["id"], "meta": meta}
    return _logged(account, "API request", what, lambda: _run_api(account, api))


def request(account: Account, method: str, path: str, headers: Map, data: object) -> Map:
    body = endpoint.decode(data, endpoint.get_content_type(headers))
    names = endpoint.list_commands(body)

    def go() -> Map:
        return endpoint.request(account, method, path, headers, data)

    return _apply_outer_fault(account, names, go)


def _run_api(account: Account, api: Map) -> object:
    method = php_values.text(api.get("method")).upper()
    if method not in {"GET", "POST", "PATCH", "PUT", "DELETE"} or not api.get("path"):
        raise MembraneError("api needs a method and a path", key="validation_error")
    headers = php_values.fields(api.get("headers"))
    answer = request(account, method, php_values.text(api["path"]), headers, api.get("body"))
    if answer["status"] >= 400:
        raise _make_http_error(answer)
    return answer["body"]


def _make_http_error(answer: Map) -> MembraneError:
    limited = answer["status"] == 429
    response = {"status": answer["status"], "headers": answer["headers"], "data": answer["body"]}
    return MembraneError(
        f"Kartra answered {answer['status']}",
        kind="connection" if limited else "action_run",
        key="rate_limit_exceeded" if limited else "not_found",
        data={"response": response},
        cause={
            "type": "internal",
            "message": f"Request failed with status code {answer['status']}",
            "data": {"response": response},
        },
    )


def _run(account: Account, action: Map, given: object) -> object:
    ours = php_values.fields(action.get(actions.OURS))
    cmd = php_values.text(ours.get("cmd"))
    flat = _flatten_input(
        validation.validate_input(action.get("inputSchema"), given),
        php_values.fields(ours.get("input")),
    )
    if not cmd:
        lacks = f'its entry has no {{"{actions.OURS}": {{"cmd": …}}}}'
        message = f"This action has no implementation in the sandbox: {lacks}"
        raise MembraneError(message, kind="action_run", key="")
    output = _apply_outer_fault(account, [cmd], lambda: _run_command(account, cmd, flat))
    for name in reversed(php_values.text(ours.get("output")).split(".")):
        output = {name: output} if name else output
    return output


def _run_command(account: Account, cmd: str, flat: Map) -> object:
    try:
        if cmd in memberships.COMMANDS:
            return memberships.answer(account, cmd, flat)
        return kartra_api.answer(account, make_body(cmd, flat))
    except TooManyRequestsError:
        answer: Map = {"status": 429, "headers": {}, "body": "Too many requests"}
        raise _make_http_error(answer) from None


def make_body(cmd: str, flat: Map) -> Map:
    """Return the request to Kartra for an action's input."""
    lead = {name: value for name, value in flat.items() if name in _OF_THE_LEAD}
    if "lead_id" in flat:
        lead["id"] = flat["lead_id"]
    if cmd == "get_lead":
        return {"get_lead": lead}
    rest = {name: value for name, value in flat.items() if name not in lead and name != "lead_id"}
    return {"lead": lead, "actions": [{"cmd": cmd, **rest}]}


def _flatten_input(given: Map, names: Map) -> Map:
    """Return an input under the sandbox's names; a dotted name addresses nested parts."""
    flat = {name: value for name, value in given.items() if name not in names}
    for path, name in names.items():
        value: object = given
        for step in path.split("."):
            value = php_values.fields(value).get(step)
        if value is not None:
            flat[name] = value
    return flat


def _apply_outer_fault(account: Account, commands: list[str], go: Callable[[], Any]) -> Any:
    """Apply a fault of Membrane or the program instead of the response, or after it."""
    found = [
        row
        for cmd in commands or [""]
        for row in [fault_injection.take_outer_fault(account, cmd)]
        if row
    ]
    return apply_fault(account, found[0] if found else None, go)


def apply_fault(account: Account, fault: Row | None, go: Callable[[], Any]) -> Any:
    """Apply a fault. If it loses the response after the effect, Membrane itself does not notice."""
    if fault is None:
        return go()
    kind: str = fault["type"]
    if account.can_wait:
        _raise_if_deferred(fault)
    if kind == fault_injection.SLOW or (fault["effect"] and kind in fault_injection.PROGRAM):
        account.after = (kind, fault["message"])
        return go()
    if fault["effect"]:
        go()
    if kind in fault_injection.PROGRAM:
        raise ProgramEnd(kind)
    raise _make_fault_error(fault)


def _raise_if_deferred(fault: Row) -> None:
    """Raise `Deferred` for a fault whose effect comes later than its response."""
    kind: str = fault["type"]
    if kind == fault_injection.QUEUED:
        raise Deferred(fault_injection.parse_delay(fault["message"]))
    if not (fault["effect"] and fault["after"]):
        return
    if kind in fault_injection.PROGRAM:
        raise Deferred(fault["after"], kind)
    if kind in fault_injection.MEMBRANE:
        raise Deferred(fault["after"], reply=_make_fault_error(fault))


def _make_fault_error(fault: Row) -> MembraneError:
    kind = fault["type"]
    message = fault["message"] or f"Something went wrong: {kind}"
    return MembraneError(message, kind=fault_injection.MEMBRANE[kind], key=kind)


def _logged(account: Account, name: str, what: Map, go: Callable[[], object]) -> Map:
    number, began, started = os.urandom(12).hex(), clock.iso(), time.monotonic()
    body = {key: value for key, value in what.items() if value is not None}
    log: Map = {"id": number, "name": name, "createdAt": began, "action": body}
    log |= {name: body[name] for name in ("connectionId", "input", "meta") if name in body}
    log |= {"integrationId": seed.INTEGRATION, "integrationActionId": what.get("id", "")}
    log |= {"userId": seed.USER}
    try:
        output = go()
    except MembraneError as error:
        error.data["actionRunId"] = number
        _keep(account, {**log, "status": "error", "error": error.envelope()}, started)
        raise
    _keep(account, {**log, "status": "success", "output": output}, started)
    return {"output": output, "actionRunId": number}


def _keep(account: Account, log: Map, started: float) -> None:
    log["completedAt"] = clock.iso()
    log["duration"] = round((time.monotonic() - started) * 1000)
    account.run(
        "INSERT INTO run_logs VALUES (?, ?, ?)", log["id"], log["createdAt"], json.dumps(log)
    )


def run_log(account: Account, number: str, *, details: bool) -> Map:
    found = account.row("SELECT log FROM run_logs WHERE id = ?", number)
    if found is None:
        raise MembraneError(f'Action run log "{number}" not found')
    log: Map = json.loads(found["log"])
    if details:
        log["details"] = {"request": log["action"], "response": log.get("output", log.get("error"))}
    return log
