"""Routes for the rest of the workspace: the caller, the one integration, and search."""

from __future__ import annotations

import json
from typing import Any

from kartra_mcp.sandbox.http.auth import WORKSPACE
from kartra_mcp.sandbox.http.request import Call, Form, invalid_error
from kartra_mcp.sandbox.membrane import actions, connections
from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.program import verbs
from kartra_mcp.sandbox.store import clock, judging, php_values, seed

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


def get_self(call: Call) -> Map:
    """Return the tenant; stored fields are kept, its credentials are never returned."""
    kept: Map = json.loads(call.account.setting("tenant") or "{}")
    own = {"id": seed.USER, "name": "Sandbox", "workspaceKey": WORKSPACE}
    own["internalId"] = judging.get_tenant(call.account)
    return {**own, "fields": {}, "lastActiveAt": clock.iso(), **kept}


def update_self(call: Call) -> Map:
    given = call.read_form(_SELF)
    given.pop("credentials", None)
    kept: Map = json.loads(call.account.setting("tenant") or "{}")
    call.account.set("tenant", json.dumps({**kept, **given}))
    return get_self(call)


def list_integrations(call: Call) -> Map:
    search = call.get_query("search").lower()
    found = [one for one in [_kartra_integration(call)] if search in one["name"].lower()]
    limit, cursor = call.list_named("limit", "cursor")
    return actions.paginate(found, limit, cursor)


def get_integration(call: Call) -> Map:
    selector = call.parts.get("integration") or call.get_query("id") or call.get_query("key")
    if selector not in {seed.INTEGRATION, "kartra"}:
        raise MembraneError(f'Integration "{selector}" not found')
    return _kartra_integration(call)


def _kartra_integration(call: Call) -> Map:
    """Return the Kartra integration with its default connection."""
    found = connections.format_integration("kartra")
    found |= {"connectorId": seed.CONNECTOR, "state": "READY"}
    own = connections.list_all(call.account, "kartra")
    return {**found, "connection": own[0]} if own else found


def search(call: Call) -> Map:
    query, kind, limit, cursor = call.list_named("q", "elementType", "limit", "cursor")
    if not 1 <= len(query) <= 200:
        raise invalid_error("q has to have 1 to 200 characters", "q")
    if kind and kind not in _TYPES:
        raise invalid_error("elementType is not known", "elementType")
    if limit and not 1 <= (php_values.integer(limit) or 0) <= 100:
        raise invalid_error("limit has to be from 1 to 100", "limit")
    return actions.paginate(verbs.elements(query, kind), limit, cursor)
