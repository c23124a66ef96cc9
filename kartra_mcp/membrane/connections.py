"""Parse the connection objects of Membrane. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from kartra_mcp.core.json_types import as_dict, is_array, is_object
from kartra_mcp.core.models import Connection
from kartra_mcp.core.sanitize import safe_excerpt, strip_ansi, strip_control_chars, truncate

READY = "READY"


_APP_PLACES = ("integration", "connector", "externalApp")


_APP_KEYS = ("integrationKey", "connectorKey", "externalAppKey")


def parse_connection(entry: Any) -> Connection | None:
    """Parse one entry of `connection list`; None if it has no id."""
    if not is_object(entry) or not isinstance(entry.get("id"), str) or not entry["id"]:
        return None
    state = _parse_state(entry.get("state"))
    ended = entry.get("disconnected") is True or entry.get("connected") is False
    defunct = entry.get("isDefunct") is True
    archived = bool(entry.get("archivedAt")) or entry.get("isDeactivated") is True
    over = {"ARCHIVED": archived, "DISCONNECTED": ended, "DEFUNCT": defunct}
    return Connection(
        id=entry["id"],
        key=_clean_text(entry.get("key")),
        name=_clean_text(entry.get("name")),
        app=_parse_app(entry),
        state=next((known for known, is_so in over.items() if is_so), state or READY),
        usable=state in ("", READY) and not any(over.values()),
        created_at=_clean_text(entry.get("createdAt")),
        error=_parse_error(entry),
        action_url=_parse_action_url(entry),
        instructions=_parse_instructions(entry),
    )


def parse_connect(value: Any, asked_for: str) -> Connection:
    """Parse the result of `connect`: a connection, or only its id or the address to open.

    Args:
        value: a connection, on its own or under `connection` or `output`.
        asked_for: the id of the connection to reconnect, "" for a new one.
    """
    inner = next((value[n] for n in ("connection", "output") if _has_object(value, n)), value)
    entry: Mapping[str, Any] = as_dict(inner)
    identity = entry.get("id") or entry.get("connectionId") or asked_for
    found = parse_connection({**entry, "id": identity})
    if found is None:
        return Connection(id="", state="UNKNOWN", usable=False, action_url=_parse_action_url(entry))
    usable = bool(entry.get("state")) and found.usable
    return replace(found, usable=usable, state=found.state if entry.get("state") else "UNKNOWN")


def _has_object(value: Any, name: str) -> bool:
    return is_object(value) and is_object(value.get(name))


def get_connector_id(entry: Any) -> str | None:
    """Return the id in one search result if it is Kartra's connector."""
    if not is_object(entry):
        return None
    element = entry.get("element")
    found = element if is_object(element) else entry
    kind = _clean_text(entry.get("elementType")).lower()
    name = f"{_clean_text(found.get('name'))} {_clean_text(found.get('key'))}".lower()
    identity = found.get("id")
    if kind in ("", "connector") and "kartra" in name and isinstance(identity, str):
        return identity
    return None


def _parse_state(value: Any) -> str:
    """Return the state in capitals; "" only if there is none: an unreadable state is not READY."""
    return "" if value in (None, "") else _clean_text(value).strip().upper() or "UNKNOWN"


def _parse_app(entry: Mapping[str, Any]) -> str:
    """Return key and name of the integration, connector or external app."""
    parts = [_clean_text(entry.get(key)) for key in _APP_KEYS]
    for place in _APP_PLACES:
        inner = entry.get(place)
        if is_object(inner):
            parts += [_clean_text(inner.get("key")), _clean_text(inner.get("name"))]
    return " ".join(part for part in parts if part)


def _parse_error(entry: Mapping[str, Any]) -> str:
    action = entry.get("clientAction")
    if is_object(action) and action.get("description"):
        return safe_excerpt(str(action["description"]), 200)
    errors = entry.get("errors")
    first = errors[0] if is_array(errors) and errors else entry.get("error")
    message = first.get("message") if is_object(first) else first
    return safe_excerpt(message, 200) if isinstance(message, str) else ""


_ADDRESSES = ("uiUrl", "url", "connectUrl", "link")


_ADDRESS = re.compile(
    r"https?://[!#-&(-;=?-\[\]-_a-~]+"
)  # visible ASCII but for " ' < > ` and backslash


_HOST = re.compile(r"[a-z0-9._-]+|::1")


MAX_URL_CHARS = 2_000


def safe_url(value: Any) -> str:
    """Return an address that the user may open, else "": https, or http on loopback.

    The text comes from Membrane or a program. Only visible ASCII without user info is accepted, so
    that the address cannot hide its host or leave the line that it is shown on.
    """
    if not isinstance(value, str) or len(value) > MAX_URL_CHARS:
        return ""
    if not _ADDRESS.fullmatch(value):
        return ""
    try:
        parts = urlsplit(value)
        host, named = parts.hostname, parts.username
    except ValueError:
        return ""
    if not host or not _HOST.fullmatch(host) or named is not None:
        return ""
    here = host in ("localhost", "127.0.0.1", "::1")
    return value if parts.scheme == "https" or here else ""


def find_url(text: str) -> str:
    """Return the first such address in a program's output, else ""."""
    found = (
        safe_url(match.group().rstrip(".,;:)]"))
        for match in _ADDRESS.finditer(strip_ansi(text[:20_000]))
    )
    return next((one for one in found if one), "")


def _parse_action_url(entry: Mapping[str, Any]) -> str:
    action = entry.get("clientAction")
    places = [action, entry] if is_object(action) else [entry]
    urls = (safe_url(place.get(name)) for place in places for name in _ADDRESSES)
    return next((one for one in urls if one), "")


def _parse_instructions(entry: Mapping[str, Any]) -> str:
    action = entry.get("clientAction")
    text = action.get("agentInstructions") if is_object(action) else None
    return safe_excerpt(text, 1000) if isinstance(text, str) else ""


def _clean_text(value: Any) -> str:
    return truncate(strip_control_chars(value), 120) if isinstance(value, str) else ""
