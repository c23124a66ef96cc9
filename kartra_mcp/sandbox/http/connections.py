"""Routes for connections: list, get, create, reconnect, update, archive."""

from __future__ import annotations

from typing import Any

from kartra_mcp.sandbox.http.request import Call, Form, invalid
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


def listed(call: Call) -> Map:
    limit, cursor = call.named("limit", "cursor")
    integration = call.asked("integrationKey")
    if call.asked("integrationId"):
        integration = _key(call.asked("integrationId"))
    found = connections.every(call.account, integration, call.asked("search"))
    for name in ("connected", "disconnected"):
        if call.asked(name):
            found = [one for one in found if one[name] == call.flag(name)]
    return actions.page(found, limit, cursor)


def _key(integration: str) -> str:
    return "kartra" if integration == seed.INTEGRATION else integration


def got(call: Call) -> Map:
    """Return a connection; wait if requested, since the user may sign in meanwhile."""
    timeout = php_values.integer(call.asked("timeout") or "30")
    if timeout is None or not 1 <= timeout <= 60:
        raise invalid("timeout has to be from 1 to 60", "timeout")
    row = _found(call)
    if call.flag("wait"):
        row = connections.settled(call.account, row)
    return connections.printed(row)


def _found(call: Call) -> Row:
    return connections.find(call.account, call.part(_SELF))


def made(call: Call) -> Map:
    """Create a connection. The user must sign in to it; with an intent it is built first."""
    given = call.given(_NEW)
    if given.get("intent"):
        row = connections.add(
            call.account, "", given.get("key", ""), given.get("name", ""), "BUILDING", "kartra"
        )
        return connections.printed(row)
    _known(given)
    return connections.printed(
        connections.connect(call.account, "", given.get("name", ""), interactive=False)
    )


def _known(given: Map) -> None:
    """Return the app to connect; it must be named and must be Kartra."""
    named = [given[name] for name in _WHICH if given.get(name)]
    if not named:
        raise invalid("An integration or a connector has to be named", *_WHICH)
    for one in named:
        if one not in _KARTRA:
            raise MembraneError(f'Connector or integration "{one}" not found')


def ensured(call: Call) -> Map:
    given = call.given({"appUrl": str, "name": str})
    if not given.get("appUrl"):
        raise invalid("appUrl is required", "appUrl")
    row = connection_updates.ensure(call.account, given["appUrl"], given.get("name", ""))
    return connections.printed(row)


def connected(call: Call) -> Map:
    given = call.given(_CONNECT)
    selector = given.get("connectionId") or given.get("connectionKey")
    if selector:
        return _mended(call, selector)
    _known(given)
    return connections.printed(
        connections.connect(call.account, "", given.get("name", ""), interactive=False)
    )


def reconnected(call: Call) -> Map:
    return _mended(call, call.part(_SELF))


def _mended(call: Call, selector: str) -> Map:
    number = connections.find(call.account, selector)["id"]
    return connections.printed(connections.connect(call.account, number, "", interactive=False))


def changed(call: Call) -> Map:
    row = connection_updates.rename(call.account, call.part(_SELF), call.given(_CHANGES))
    return connections.printed(row)


def archived(call: Call) -> None:
    connection_updates.archive(call.account, call.part(_SELF))


def restored(call: Call) -> Map:
    return connections.printed(connection_updates.restore(call.account, call.part(_SELF)))


def disconnected(call: Call) -> Map:
    return connections.printed(connection_updates.disconnect(call.account, call.part(_SELF)))
