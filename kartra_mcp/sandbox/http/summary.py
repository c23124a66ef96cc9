"""Operation that a request would run, read from its body unjudged: for journal and faults."""

from __future__ import annotations

from typing import Any

from kartra_mcp.sandbox.http.request import Call
from kartra_mcp.sandbox.kartra import endpoint
from kartra_mcp.sandbox.membrane import actions
from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.store import php_values

Map = dict[str, Any]


def summarize(call: Call) -> tuple[str, object]:
    """Return the commands of a request, joined by `+`, and its `meta`."""
    body = _read_body(call)
    return "+".join(_list_commands(call, body)), body.get("meta")


def list_commands(call: Call) -> list[str]:
    """Return the commands that a request would run."""
    return _list_commands(call, _read_body(call))


def _read_body(call: Call) -> Map:
    try:
        return php_values.fields(call.read_json())
    except MembraneError:
        return {}


def _list_commands(call: Call, body: Map) -> list[str]:
    if call.method == "GET":
        return []
    selector = call.parts.get("action") or body.get("id") or body.get("key")
    if isinstance(selector, str) and selector:
        return _find_command(call, selector)
    api = php_values.fields(body.get("api")) or body
    headers = php_values.fields(api.get("headers"))
    data = api.get("body", api.get("data"))
    return endpoint.list_commands(endpoint.decode(data, endpoint.get_content_type(headers)))


def _find_command(call: Call, selector: str) -> list[str]:
    try:
        action = actions.find(call.account, selector)
    except MembraneError:
        return []
    return [php_values.text(php_values.fields(action.get(actions.OURS)).get("cmd"))]
