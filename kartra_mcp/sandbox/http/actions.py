"""Routes for actions: list, get, run; and `POST /act`, which describes one operation."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from kartra_mcp.sandbox.http.request import Call, Form, checked, invalid
from kartra_mcp.sandbox.membrane import actions, connection_updates, connections, engine
from kartra_mcp.sandbox.membrane.errors import MembraneError, UsageError
from kartra_mcp.sandbox.store import php_values, seed
from kartra_mcp.sandbox.store.database import Account, Row

Map = dict[str, Any]
WAYS = ("id", "key", "api", "code")
_WHERE = ("connectionId", "connectionKey", "integrationId", "integrationKey")
_ACT: Form = {
    **dict.fromkeys(("id", "key", "code", *_WHERE), str),
    "api": dict,
    "input": object,
    "meta": dict,
}
_RUN: Form = {"input": object, "meta": dict}
_API: Form = {
    **dict.fromkeys(("method", "path", "url"), str),
    **dict.fromkeys(("body", "data"), object),
    **dict.fromkeys(("headers", "query"), dict),
}
METHODS = {"GET", "POST", "PATCH", "PUT", "DELETE"}


def listed(call: Call) -> Map:
    """List actions. Without a connection the intent is ignored, as Membrane documents."""
    number, key = call.named("connectionId", "connectionKey")
    if not (number or key):
        return _listed(call, _named(call), searched=False)
    return _of(call, connections.chosen(call.account, number, key))


def of_connection(call: Call) -> Map:
    return _of(call, connections.find(call.account, call.part("connection")))


def of_integration(call: Call) -> Map:
    kartra = call.part("integration") in {seed.INTEGRATION, "kartra"}
    if not kartra:
        raise MembraneError(f'Integration "{call.part("integration")}" not found')
    return _listed(call, actions.load(call.account), searched=False)


def _named(call: Call) -> list[Any]:
    """Return all actions, or those of the named integration: none unless it is Kartra."""
    named = {one for one in call.named("integrationId", "integrationKey") if one}
    return actions.load(call.account) if named <= {seed.INTEGRATION, "kartra"} else []


def _of(call: Call, connection: Row) -> Map:
    found = _named(call) if connection["integration"] == "kartra" else []
    intent = call.asked("intent")
    if intent:
        found = actions.search(found, intent)
    return _listed(call, found, searched=bool(intent))


def _listed(call: Call, found: list[Any], *, searched: bool) -> Map:
    search = call.asked("search").lower()
    if search:
        found = [one for one in found if _holds(one, search)]
    limit, cursor = call.named("limit", "cursor")
    try:
        page = actions.page_of(call.account, found, limit, cursor, searched=searched)
    except UsageError as error:
        raise invalid(str(error), "limit", "cursor") from error
    page["items"] = [actions.served(action) for action in page["items"]]
    return page


def _holds(action: object, search: str) -> bool:
    entry = php_values.fields(action)
    return any(search in php_values.text(entry.get(name)).lower() for name in ("name", "key"))


def got(call: Call) -> object:
    return actions.served(_action(call))


def _action(call: Call) -> Map:
    """Find the action by the path, or by the query of the client's object selectors."""
    selector = call.parts.get("action") or call.asked("id") or call.asked("key")
    return actions.find(call.account, selector)


def ran(call: Call) -> Map:
    """Run an action through the deprecated route."""
    given = call.given(_RUN)
    where = {name: call.asked(name) for name in _WHERE}
    connection = _resolved(call.account, where)
    return engine.run(
        call.account, _action(call), connection, given.get("input"), given.get("meta")
    )


def ran_there(call: Call) -> Map:
    """Run an action of one connection. The vendor's client sends the input itself as the body."""
    connection = connections.usable(connections.find(call.account, call.part("connection")))
    return engine.run(call.account, _action(call), connection, call.json(), None)


def acted(call: Call) -> Map:
    """Handle `POST /act`: the body must describe exactly one operation; code is not run."""
    given = call.given(_ACT, strict=True)
    ways = [name for name in WAYS if name in given]
    if len(ways) != 1:
        raise invalid("Give exactly one of id, key, api, code", *WAYS)
    if ways == ["code"]:
        raise MembraneError("The sandbox runs no code", key="access_denied")
    api = _api(given["api"]) if ways == ["api"] else {}
    connection = _resolved(call.account, given)
    if api:
        return engine.pass_on(call.account, connection, api, given.get("meta"))
    action = actions.find(call.account, given[ways[0]])
    return engine.run(call.account, action, connection, given.get("input"), given.get("meta"))


def _resolved(account: Account, given: Map) -> Row:
    """Return the named connection, else its integration's default, else the workspace's first."""
    number, key, integration, integration_key = (given.get(name, "") for name in _WHERE)
    if not (number or key) and (integration or integration_key):
        row = connection_updates.of_integration(account, integration or integration_key)
    else:
        row = connections.chosen(account, number, key)
    return connections.usable(row)


def _api(given: Map) -> Map:
    """Return a request under its documented names.

    `url` and `data` are aliases, the rest is dropped.
    """
    api = checked(given, _API)
    path = api.get("path") or api.get("url")
    if api.get("method") not in METHODS or not path:
        raise invalid("api needs a method and a path", "api")
    headers, query = api.get("headers", {}), api.get("query", {})
    if not all(isinstance(value, str) for value in headers.values()):
        raise invalid("The values of api.headers have to be text", "api.headers")
    if not all(isinstance(value, str | int | float) for value in query.values()):
        raise invalid("The values of api.query have to be scalars", "api.query")
    if query:
        path += ("&" if "?" in path else "?") + urlencode(query)
    body = api.get("body", api.get("data"))
    return {"method": api["method"], "path": path, "headers": headers, "body": body}
