"""Kartra's host as Membrane's proxy reaches it: path, body and encodings; no rules."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from kartra_mcp.sandbox.kartra import api
from kartra_mcp.sandbox.kartra.errors import TooManyRequestsError
from kartra_mcp.sandbox.store import php_values
from kartra_mcp.sandbox.store.database import Account

Map = dict[str, Any]
HOST = "app.kartra.com"
_JSON = {"content-type": "application/json; charset=utf-8"}
_TEXT = {"content-type": "text/html; charset=utf-8"}
CREDENTIALS = {"app_id", "api_key", "api_password"}


def request(account: Account, method: str, path: str, headers: Map, data: object) -> Map:
    """Return `{status, headers, body}`; an error of Kartra is still HTTP 200."""
    if not _is_api(path):
        return {"status": 404, "headers": _TEXT, "body": "<h1>404 Not Found</h1>"}
    body = decode(data, get_content_type(headers)) if method == "POST" else None
    try:
        answer = api.answer(account, without_credentials(body))
    except TooManyRequestsError:
        return {"status": 429, "headers": _TEXT, "body": "Too many requests"}
    return {"status": 200, "headers": _JSON, "body": answer}


def fill_path(path: str, parameters: dict[str, str]) -> str:
    for name, value in parameters.items():
        path = path.replace("{" + name + "}", quote(value, safe=""))
    return path


def get_content_type(headers: Map) -> str:
    return next(
        (
            php_values.text(value).lower()
            for name, value in headers.items()
            if name.lower() == "content-type"
        ),
        "",
    )


def decode(data: object, kind: str) -> object:
    """Decode a body as PHP would: by its content type, else by its form."""
    if not isinstance(data, str):
        return data if php_values.is_array(data) else {}
    if "json" in kind:
        return _parse_json(data)
    if "urlencoded" in kind:
        return php_values.parse_form(data)
    if "multipart" in kind:
        return {}
    found = _parse_json(data)
    return found if php_values.is_array(found) else php_values.parse_form(data)


def _parse_json(data: str) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def without_credentials(body: object) -> Map:
    """Remove Kartra's credentials: Membrane supplies its own, those of a caller are ignored."""
    return {
        name: value for name, value in php_values.fields(body).items() if name not in CREDENTIALS
    }


def list_commands(body: object) -> list[str]:
    """Return the commands of a body, for fault injection."""
    found = php_values.fields(body)
    names = ["get_lead"] if "get_lead" in found else []
    actions = php_values.values(found.get("actions"))
    return names + [php_values.text(php_values.fields(one).get("cmd")) for one in actions]


def _is_api(path: str) -> bool:
    """Return whether a path, decoded and with dots resolved, is the endpoint."""
    parts = urlsplit(path)
    if parts.netloc and parts.hostname != HOST:
        return False
    steps: list[str] = []
    for step in unquote(parts.path).split("/"):
        if step == "..":
            steps = steps[:-1]
        elif step not in {"", "."}:
            steps.append(step)
    return steps == ["api"]
