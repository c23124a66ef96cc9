"""Routes for the rest of the workspace: the caller, the one integration, and search."""

from __future__ import annotations

import json
from typing import Any

from kartra_mcp.sandbox.http.auth import TENANT, WORKSPACE
from kartra_mcp.sandbox.http.request import Call, Form, invalid
from kartra_mcp.sandbox.membrane import actions, connections
from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.program import verbs
from kartra_mcp.sandbox.store import clock, php_values, seed

Map = dict[str, Any]
_SELF: Form = {"name": str, "fields": dict, "meta": dict, "credentials": object}
_TYPES = set(
    """
    customer app connector integration flow flow-instance flow-run action package action-instance
    connection field-mapping field-mapping-instance data-source data-source-instance
    data-link-table data-link-table-instance app-event-type app-event-subscription
    app-event-log-record app-data-schema app-data-schema-instance external-event-subscription
    external-event-log-record external-event-pull screen action-run-log-record
    external-api-log-record incoming-webhook-log-record connected-product
    """.split()  # noqa: SIM905  a table that is read as words
)


def self(call: Call) -> Map:
    """Return the tenant; stored fields are kept, its credentials are never returned."""
    kept: Map = json.loads(call.account.setting("tenant") or "{}")
    own = {"id": seed.USER, "internalId": TENANT, "name": "Sandbox", "workspaceKey": WORKSPACE}
    return {**own, "fields": {}, "lastActiveAt": clock.iso(), **kept}


def self_changed(call: Call) -> Map:
    given = call.given(_SELF)
    given.pop("credentials", None)
    kept: Map = json.loads(call.account.setting("tenant") or "{}")
    call.account.set("tenant", json.dumps({**kept, **given}))
    return self(call)


def integrations(call: Call) -> Map:
    search = call.asked("search").lower()
    found = [one for one in [_kartra(call)] if search in one["name"].lower()]
    limit, cursor = call.named("limit", "cursor")
    return actions.page(found, limit, cursor)


def integration(call: Call) -> Map:
    selector = call.parts.get("integration") or call.asked("id") or call.asked("key")
    if selector not in {seed.INTEGRATION, "kartra"}:
        raise MembraneError(f'Integration "{selector}" not found')
    return _kartra(call)


def _kartra(call: Call) -> Map:
    """Return the Kartra integration with its default connection."""
    found = connections.integration("kartra")
    found |= {"connectorId": seed.CONNECTOR, "state": "READY"}
    own = connections.every(call.account, "kartra")
    return {**found, "connection": own[0]} if own else found


def search(call: Call) -> Map:
    query, kind, limit, cursor = call.named("q", "elementType", "limit", "cursor")
    if not 1 <= len(query) <= 200:
        raise invalid("q has to have 1 to 200 characters", "q")
    if kind and kind not in _TYPES:
        raise invalid("elementType is not known", "elementType")
    if limit and not 1 <= (php_values.integer(limit) or 0) <= 100:
        raise invalid("limit has to be from 1 to 100", "limit")
    return actions.page(verbs.elements(query, kind), limit, cursor)
