"""The verbs of the `membrane` program: arguments in, the value to print out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kartra_mcp.sandbox.kartra import endpoint
from kartra_mcp.sandbox.membrane import actions as action_list
from kartra_mcp.sandbox.membrane import connections, engine
from kartra_mcp.sandbox.membrane.errors import MembraneError, UsageError
from kartra_mcp.sandbox.program import login
from kartra_mcp.sandbox.program.argv import Arguments
from kartra_mcp.sandbox.store import php_values, seed
from kartra_mcp.sandbox.store.database import Account

Map = dict[str, Any]
Verb = Callable[[Account, Arguments], object]
NUMBER = "1.18.3"


def connection_list(account: Account, line: Arguments) -> Map:
    found = connections.list_all(account, line.get("integrationKey"), line.get("search"))
    return action_list.paginate(found, line.get("limit"), line.get("cursor"))


def connection_get(account: Account, line: Arguments) -> Map:
    row = connections.find(account, line.word(2, "connectionId"))
    return connections.render_connection(
        connections.wait_until_settled(account, row) if line.has("wait") else row
    )


def connect(account: Account, line: Arguments) -> Map:
    number = line.get("connectionId")
    connector = line.get("connectorId") or line.get("connectorKey")
    connector = connector or line.get("integrationKey") or line.get("integrationId")
    if not number and not connector:
        raise UsageError("connect needs --connectorId or --connectionId")
    known = {seed.CONNECTOR, seed.INTEGRATION, "kartra"}
    if not number and connector not in known:
        raise MembraneError(f'Connector "{connector}" not found')
    interactive = not line.has("non-interactive")
    return connections.render_connection(
        connections.connect(account, number, line.get("name"), interactive=interactive)
    )


def search(_account: Account, line: Arguments) -> Map:
    found = elements(line.word(1, "query"), line.get("elementType").lower())
    return action_list.paginate(found, line.get("limit"), line.get("cursor"))


def elements(query: str, kind: str) -> list[Map]:
    """Return what a search of the workspace finds, of one type if given."""
    known = [
        ("connector", {"id": seed.CONNECTOR, "name": "Kartra"}),
        ("integration", {"id": seed.INTEGRATION, "name": "Kartra", "key": "kartra"}),
    ]
    return [
        {"elementType": one, "element": element}
        for one, element in known
        if kind in {"", one} and query.lower() in str(element["name"]).lower()
    ]


def actions(account: Account, line: Arguments) -> Map:
    """List actions. Without a connection the intent is ignored, as Membrane documents."""
    number, key, intent = (line.get(name) for name in ("connectionId", "connectionKey", "intent"))
    found = action_list.load(account)
    named = bool(number or key)
    if named and connections.choose(account, number, key)["integration"] != "kartra":
        found = []
    searched = named and bool(intent)
    if searched:
        found = action_list.search(found, intent)
    items = [action_list.public_view(action) for action in found]
    page = (line.get("limit"), line.get("cursor"))
    return action_list.make_page(account, items, *page, searched=searched)


def action_get(account: Account, line: Arguments) -> object:
    return action_list.public_view(action_list.find(account, line.word(2, "actionId")))


def action_run(account: Account, line: Arguments) -> Map:
    return _run(account, line, line.word(2, "actionId"))


def act(account: Account, line: Arguments) -> Map:
    """Run exactly one operation; code is not run."""
    named = [name for name in ("id", "key", "api", "code") if line.get(name)]
    if len(named) != 1:
        raise MembraneError("Give exactly one of id, key, api, code", key="validation_error")
    if named == ["code"]:
        raise MembraneError("The sandbox runs no code", key="access_denied")
    if named == ["api"]:
        api = php_values.fields(_json(line, "api"))
        return engine.pass_on(account, _connection(account, line), api, _json(line, "meta"))
    return _run(account, line, line.get(named[0]))


def _run(account: Account, line: Arguments, selector: str) -> Map:
    connection = _connection(account, line)
    action = action_list.find(account, selector)
    return engine.run(account, action, connection, _json(line, "input"), _json(line, "meta"))


def _connection(account: Account, line: Arguments) -> Any:
    row = connections.choose(account, line.get("connectionId"), line.get("connectionKey"))
    return connections.require_usable(row)


def _json(line: Arguments, name: str) -> object:
    if not line.get(name):
        return None
    try:
        return json.loads(line.get(name))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--{name} is not JSON") from error


def run_log(account: Account, line: Arguments) -> Map:
    return engine.run_log(account, line.word(2, "actionRunId"), details=line.has("details"))


def request(account: Account, line: Arguments) -> Map:
    connections.require_usable(connections.choose(account, line.word(1, "connectionId"), ""))
    path = endpoint.fill_path(line.word(2, "path"), _pairs(line, "pathParam", "="))
    method = line.get("method", "GET").upper()
    return engine.request(account, method, path, _pairs(line, "header", ":"), _data(line))


def _pairs(line: Arguments, flag: str, mark: str) -> dict[str, str]:
    pairs = [given.partition(mark) for given in line.all(flag)]
    if any(not found for _name, found, _value in pairs):
        raise UsageError(f"--{flag} takes name{mark}value")
    return {name.strip(): value.strip() if mark == ":" else value for name, _, value in pairs}


def _data(line: Arguments) -> object:
    """Parse a body if it is JSON, unless it is to be sent unchanged."""
    text = line.get("data")
    if line.has("rawData"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


OPEN: dict[str, Verb] = {
    "status": login.status,
    "login": login.login,
    "login start": login.start,
    "login complete": login.complete,
    "logout": login.logout,
}
"""Verbs that need no login."""

VERBS: dict[str, Verb] = {
    "connection list": connection_list,
    "connection get": connection_get,
    "connect": connect,
    "search": search,
    "action list": actions,
    "action get": action_get,
    "action run": action_run,
    "act": act,
    "action-run-log get": run_log,
    "request": request,
}
