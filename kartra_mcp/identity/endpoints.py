"""Addresses of an issuer: where its documents are, and which endpoints it may name. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from kartra_mcp.team.addresses import LOOPBACK_HOSTS, is_loopback

MAX_ADDRESS_CHARS = 2_000
_DISCOVERY_PATH = "/.well-known/openid-configuration"


def make_discovery_url(issuer: str) -> str:
    """Return the address of the discovery document; a slash at the issuer's end is left out."""
    return issuer.removesuffix("/") + _DISCOVERY_PATH


def is_endpoint_of(issuer: str, address: str) -> bool:
    """Return whether a secret or a login may be sent to an endpoint that the issuer names.

    It is https. Only an issuer on this machine may name http, and only on this machine: another
    one would let the service send requests to its own host.
    """
    if len(address) > MAX_ADDRESS_CHARS or not address.isascii() or not address.isprintable():
        return False
    if any(char in address for char in ' \\#"<>'):
        return False
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None:
        return False
    here = parts.hostname in LOOPBACK_HOSTS
    if parts.scheme == "http":
        return here and is_loopback(issuer)
    return parts.scheme == "https" and (not here or is_loopback(issuer))
