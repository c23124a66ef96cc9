"""Routes for connections: list, get, create, reconnect, update, archive."""

from __future__ import annotations

from typing import Any

from kartra_mcp.sandbox.http.request import Call, Form, invalid_error
from kartra_mcp.sandbox.membrane import actions, connection_updates, connections
from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.store import php_values, seed
from kartra_mcp.sandbox.store.database import Row

Map = dict[str, Any]
_SELF = "connection"
_KARTRA = {seed.INTEGRATION, seed.CONNECTOR, "kartra"}
_NAMES = ("integrationId", "integrationKey", "connectorId", "connectorKey")
_WHICH: Form = dict.fromkeys(_NAMES, str)
_NEW: Form = {**_WHICH, "intent": str, "name": str, "key": str}
_CHANGES: Form = {"name": str, "key": str}
_CONNECT: Form = {**_WHICH, "connectionId": str, "connectionKey": str, "name": str}


def list_connections(call: Call) -> Map:
    limit, cursor = call.list_named("limit", "cursor")
    integration = call.get_query("integrationKey")
    if call.get_query("integrationId"):
        integration = _integration_key(call.get_query("integrationId"))
    found = connections.list_all(call.account, integration, call.get_query("search"))
    for name in ("connected", "disconnected"):
        if call.get_query(name):
            found = [one for one in found if one[name] == call.has_flag(name)]
    return actions.paginate(found, limit, cursor)


def _integration_key(integration: str) -> str:
    return "kartra" if integration == seed.INTEGRATION else integration


def get_connection(call: Call) -> Map:
    """Return a connection; wait if requested, since the user may sign in meanwhile."""
    timeout = php_values.integer(call.get_query("timeout") or "30")
    if timeout is None or not 1 <= timeout <= 60:
        raise invalid_error("timeout has to be from 1 to 60", "timeout")
    row = _find_connection(call)
    if call.has_flag("wait"):
        row = connections.wait_until_settled(call.account, row)
    return connections.render_connection(row)


def _find_connection(call: Call) -> Row:
    return connections.find(call.account, call.get_part(_SELF))


def create_connection(call: Call) -> Map:
    """Create a connection. The user must sign in to it; with an intent it is built first."""
    given = call.read_form(_NEW)
    if given.get("intent"):
        row = connections.add(
            call.account, "", given.get("key", ""), given.get("name", ""), "BUILDING", "kartra"
        )
        return connections.render_connection(row)
    _require_kartra(given)
    return connections.render_connection(
        connections.connect(call.account, "", given.get("name", ""), interactive=False)
    )


def _require_kartra(given: Map) -> None:
    """Return the app to connect; it must be named and must be Kartra."""
    named = [given[name] for name in _WHICH if given.get(name)]
    if not named:
        raise invalid_error("An integration or a connector has to be named", *_WHICH)
    for one in named:
        if one not in _KARTRA:
            raise MembraneError(f'Connector or integration "{one}" not found')


def ensure_connection(call: Call) -> Map:
    given = call.read_form({"appUrl": str, "name": str})
    if not given.get("appUrl"):
        raise invalid_error("appUrl is required", "appUrl")
    row = connection_updates.ensure(call.account, given["appUrl"], given.get("name", ""))
    return connections.render_connection(row)


def connect(call: Call) -> Map:
    given = call.read_form(_CONNECT)
    selector = given.get("connectionId") or given.get("connectionKey")
    if selector:
        return _reconnect(call, selector)
    _require_kartra(given)
    return connections.render_connection(
        connections.connect(call.account, "", given.get("name", ""), interactive=False)
    )


def reconnect(call: Call) -> Map:
    return _reconnect(call, call.get_part(_SELF))


def _reconnect(call: Call, selector: str) -> Map:
    number = connections.find(call.account, selector)["id"]
    return connections.render_connection(
        connections.connect(call.account, number, "", interactive=False)
    )


def update_connection(call: Call) -> Map:
    row = connection_updates.rename(call.account, call.get_part(_SELF), call.read_form(_CHANGES))
    return connections.render_connection(row)


def archive_connection(call: Call) -> None:
    connection_updates.archive(call.account, call.get_part(_SELF))


def restore_connection(call: Call) -> Map:
    return connections.render_connection(
        connection_updates.restore(call.account, call.get_part(_SELF))
    )


def disconnect(call: Call) -> Map:
    return connections.render_connection(
        connection_updates.disconnect(call.account, call.get_part(_SELF))
    )
