"""Input schemas of the raw-request tools, separate from the parser: they are always listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
HEADERS = ("Accept", "Accept-Language", "If-None-Match", "If-Modified-Since", "X-Request-Id")


def _make_schema(body: str) -> dict[str, Any]:
    objects = {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}
    properties: dict[str, Any] = {
        "method": {"type": "string", "enum": list(METHODS), "default": "GET"},
        "path": {"type": "string", "description": "/api"},
        "path_params": {"type": "object", "description": "For {name} in path"},
        "query": {"type": "object"},
        "headers": {"type": "object"},
        "json": objects,
        "form": {"type": "object", "description": body},
        "raw": {"type": "string", "description": "JSON or form"},
    }
    closed = {"required": ["path"]}
    return {"type": "object", "properties": properties, **closed}


READ_SCHEMA: Mapping[str, Any] = _make_schema("Body as Kartra's form, POST")
WRITE_SCHEMA: Mapping[str, Any] = _make_schema(
    'Body as Kartra\'s form, POST: {"lead": {"email": …}, '
    '"actions": [{"cmd": "assign_tag", "tag_name": …}]}'
)
