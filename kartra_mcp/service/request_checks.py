"""Checks of a request before its token: host, origin, path. By the ASGI scope alone. Pure.

`request.url` is never used: it is built from the Host header, which the client chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kartra_mcp.team.addresses import LOOPBACK_HOSTS

_MCP = re.compile(r"/a/([a-z0-9][a-z0-9-]{0,39})/mcp/?")
_METADATA = re.compile(r"/\.well-known/oauth-protected-resource/a/([a-z0-9][a-z0-9-]{0,39})/mcp/?")
_PORT = re.compile(r"(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Hosts and origins under which the service answers: its public address, and loopback."""

    public_url: str
    host: str

    @classmethod
    def of(cls, public_url: str) -> AllowedHosts:
        return cls(public_url, urlsplit(public_url).netloc)

    def accepts_host(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a request names one host, and it is this service."""
        named = list_header(scope, b"host")
        if len(named) != 1:
            return False
        host = named[0].lower()
        return host == self.host or _is_loopback(host)

    def accepts_origin(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a request comes from no browser, or from the service's own page."""
        return all(origin == self.public_url for origin in list_header(scope, b"origin"))


def list_header(scope: Mapping[str, Any], name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key == name]


def find_mcp_account(path: str) -> str | None:
    """Return the account whose MCP endpoint a path is; it may not exist."""
    found = _MCP.fullmatch(path)
    return found[1] if found else None


def find_metadata_account(path: str) -> str | None:
    """Return the account whose resource metadata a path is; it may not exist."""
    found = _METADATA.fullmatch(path)
    return found[1] if found else None


def has_two_lengths(scope: Mapping[str, Any]) -> bool:
    """Return whether the end of the body is given in two ways, which two readers may read apart."""
    names = {name for name, _ in scope["headers"]}
    return {b"content-length", b"transfer-encoding"} <= names


def declared_length(scope: Mapping[str, Any]) -> int | None:
    """Return the declared length of the body; None if it is not declared as one number."""
    given = list_header(scope, b"content-length")
    return int(given[0]) if len(given) == 1 and given[0].isdecimal() else None


def _is_loopback(host: str) -> bool:
    for name in LOOPBACK_HOSTS:
        spelled = f"[{name}]" if ":" in name else name
        if host.startswith(spelled) and _PORT.fullmatch(host[len(spelled) :]):
            return True
    return False
