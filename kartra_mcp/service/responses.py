"""Responses of the service's own: without a body, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Send

_OWN = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


async def send_empty(send: Send, status: int, headers: Mapping[str, str] | None = None) -> None:
    """Send a status without a body: it can reveal nothing of an account."""
    await _send(send, status, b"", {"content-length": "0", **(headers or {})})


async def send_json(
    send: Send, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> None:
    content = json.dumps(body, separators=(",", ":")).encode()
    own = {"content-type": "application/json", "content-length": str(len(content))}
    await _send(send, status, content, {**own, **(headers or {})})


async def _send(send: Send, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": [*_OWN, *encoded]})
    await send({"type": "http.response.body", "body": content})
