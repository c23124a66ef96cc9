"""Routes for actions: list, get, run; and `POST /act`, which describes one operation."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from kartra_mcp.sandbox.http.request import Call, Form, check_fields, invalid_error
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


def list_actions(call: Call) -> Map:
    """List actions. Without a connection the intent is ignored, as Membrane documents."""
    number, key = call.list_named("connectionId", "connectionKey")
    if not (number or key):
        return _paginate(call, _list_named(call), searched=False)
    return _list_of(call, connections.choose(call.account, number, key))


def list_of_connection(call: Call) -> Map:
    return _list_of(call, connections.find(call.account, call.get_part("connection")))


def list_of_integration(call: Call) -> Map:
    kartra = call.get_part("integration") in {seed.INTEGRATION, "kartra"}
    if not kartra:
        raise MembraneError(f'Integration "{call.get_part("integration")}" not found')
    return _paginate(call, actions.load(call.account), searched=False)


def _list_named(call: Call) -> list[Any]:
    """Return all actions, or those of the named integration: none unless it is Kartra."""
    named = {one for one in call.list_named("integrationId", "integrationKey") if one}
    return actions.load(call.account) if named <= {seed.INTEGRATION, "kartra"} else []


def _list_of(call: Call, connection: Row) -> Map:
    found = _list_named(call) if connection["integration"] == "kartra" else []
    intent = call.get_query("intent")
    if intent:
        found = actions.search(found, intent)
    return _paginate(call, found, searched=bool(intent))


def _paginate(call: Call, found: list[Any], *, searched: bool) -> Map:
    search = call.get_query("search").lower()
    if search:
        found = [one for one in found if _matches(one, search)]
    limit, cursor = call.list_named("limit", "cursor")
    try:
        page = actions.make_page(call.account, found, limit, cursor, searched=searched)
    except UsageError as error:
        raise invalid_error(str(error), "limit", "cursor") from error
    page["items"] = [actions.public_view(action) for action in page["items"]]
    return page


def _matches(action: object, search: str) -> bool:
    entry = php_values.fields(action)
    return any(search in php_values.text(entry.get(name)).lower() for name in ("name", "key"))


def get_action(call: Call) -> object:
    return actions.public_view(_find_action(call))


def _find_action(call: Call) -> Map:
    """Find the action by the path, or by the query of the client's object selectors."""
    selector = call.parts.get("action") or call.get_query("id") or call.get_query("key")
    return actions.find(call.account, selector)


def run_action(call: Call) -> Map:
    """Run an action through the deprecated route."""
    given = call.read_form(_RUN)
    where = {name: call.get_query(name) for name in _WHERE}
    connection = _resolve_connection(call.account, where)
    return engine.run(
        call.account, _find_action(call), connection, given.get("input"), given.get("meta")
    )


def run_action_on_connection(call: Call) -> Map:
    """Run an action of one connection. The vendor's client sends the input itself as the body."""
    connection = connections.require_usable(
        connections.find(call.account, call.get_part("connection"))
    )
    return engine.run(call.account, _find_action(call), connection, call.read_json(), None)


def act(call: Call) -> Map:
    """Handle `POST /act`: the body must describe exactly one operation; code is not run."""
    given = call.read_form(_ACT, strict=True)
    ways = [name for name in WAYS if name in given]
    if len(ways) != 1:
        raise invalid_error("Give exactly one of id, key, api, code", *WAYS)
    if ways == ["code"]:
        raise MembraneError("The sandbox runs no code", key="access_denied")
    api = _parse_api_request(given["api"]) if ways == ["api"] else {}
    connection = _resolve_connection(call.account, given)
    if api:
        return engine.pass_on(call.account, connection, api, given.get("meta"))
    action = actions.find(call.account, given[ways[0]])
    return engine.run(call.account, action, connection, given.get("input"), given.get("meta"))


def _resolve_connection(account: Account, given: Map) -> Row:
    """Return the named connection, else its integration's default, else the workspace's first."""
    number, key, integration, integration_key = (given.get(name, "") for name in _WHERE)
    if not (number or key) and (integration or integration_key):
        row = connection_updates.find_of_integration(account, integration or integration_key)
    else:
        row = connections.choose(account, number, key)
    return connections.require_usable(row)


def _parse_api_request(given: Map) -> Map:
    """Return a request under its documented names.

    `url` and `data` are aliases, the rest is dropped.
    """
    api = check_fields(given, _API)
    path = api.get("path") or api.get("url")
    if api.get("method") not in METHODS or not path:
        raise invalid_error("api needs a method and a path", "api")
    headers, query = api.get("headers", {}), api.get("query", {})
    if not all(isinstance(value, str) for value in headers.values()):
        raise invalid_error("The values of api.headers have to be text", "api.headers")
    if not all(isinstance(value, str | int | float) for value in query.values()):
        raise invalid_error("The values of api.query have to be scalars", "api.query")
    if query:
        path += ("&" if "?" in path else "?") + urlencode(query)
    body = api.get("body", api.get("data"))
    return {"method": api["method"], "path": path, "headers": headers, "body": body}
