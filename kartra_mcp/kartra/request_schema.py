"""Input schemas of the raw-request tools, separate from the parser: they are always listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
HEADERS = ("Accept", "Accept-Language", "If-None-Match", "If-Modified-Since", "X-Request-Id")

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _make_schema(body: str) -> dict[str, Any]:
    objects = {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}
    properties: dict[str, Any] = {
        "method": {"type": "string", "enum": list(METHODS), "default": "GET"},
        "path": {"type": "string", "description": "Begins with one /, no ? or #. Kartra's: /api"},
        "path_params": {**_TEXTS, "description": "Values for {name} in the path"},
        "query": {"type": "object", "description": "Values: texts or lists of texts"},
        "headers": {**_TEXTS, "description": f"Only {', '.join(HEADERS)}"},
        "json": {**objects, "description": "Body as JSON"},
        "form": {"type": "object", "description": body},
        "raw": {"type": "string", "description": "Body as text: JSON or a form"},
    }
    closed = {"required": ["path"], "additionalProperties": False}
    return {"type": "object", "properties": properties, **closed}


READ_SCHEMA: Mapping[str, Any] = _make_schema("Body as Kartra's form, POST")
WRITE_SCHEMA: Mapping[str, Any] = _make_schema(
    'Body as Kartra\'s form, POST: {"lead": {"email": …}, '
    '"actions": [{"cmd": "assign_tag", "tag_name": …}]}'
)
