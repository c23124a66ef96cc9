"""Routes that send a request to Kartra: described in a body, or passed through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from kartra_mcp.sandbox.http.actions import METHODS
from kartra_mcp.sandbox.http.request import Call, Form, invalid_error
from kartra_mcp.sandbox.kartra import endpoint
from kartra_mcp.sandbox.membrane import connection_updates, connections, engine
from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.store.database import Row

Map = dict[str, Any]
_REQUEST: Form = {
    **dict.fromkeys(("path", "method"), str),
    **dict.fromkeys(("pathParameters", "query", "headers"), dict),
    "data": object,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """Response that is returned to the caller unchanged."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def request(call: Call) -> Map:
    given = call.read_form(_REQUEST)
    method, path = given.get("method", "").upper(), given.get("path", "")
    if method not in METHODS or not path:
        raise invalid_error("A method and a path are required", "method", "path")
    for name in ("pathParameters", "query", "headers"):
        if not all(isinstance(value, str) for value in given.get(name, {}).values()):
            raise invalid_error(f"The values of {name} have to be text", name)
    path = endpoint.fill_path(path, given.get("pathParameters", {}))
    if given.get("query"):
        path += ("&" if "?" in path else "?") + urlencode(given["query"])
    connections.require_usable(connections.find(call.account, call.get_part("connection")))
    headers = given.get("headers", {})
    return engine.request(call.account, method, path, headers, given.get("data"))


def forward(call: Call) -> Reply:
    connections.require_usable(_choose_connection(call))
    data = call.read_text() if call.body else None
    path = call.path_after("/proxy/")
    answer = engine.request(call.account, call.method, path, dict(call.headers), data)
    body = answer["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    return Reply(answer["status"], answer["headers"], text.encode())


def _choose_connection(call: Call) -> Row:
    """Return the connection by id or key, else the default one of an integration."""
    selector = call.get_part("connection")
    try:
        return connections.find(call.account, selector)
    except MembraneError:
        return connection_updates.find_of_integration(call.account, selector)
