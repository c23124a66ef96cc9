"""Addresses of the team file: https, or http on this machine; exact, never normalized. Pure."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from kartra_mcp.team.mapping_reader import Check

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"https": 443, "http": 80}
_PATH = re.compile(r"(?:/[\w.~%!$&'()*+,;=:@-]*)*", re.ASCII)
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|[0-9a-f:.]+")


def read_address(text: str) -> str | None:
    """Return an address as it is written if a secret may be sent to it, else None.

    It is https, or http on loopback; without a user, a query or a fragment; its host is lower-case
    and a default port is left out, because tokens name it exactly.
    """
    parts = _split(text)
    if parts is None:
        return None
    host, port = parts.hostname or "", parts.port
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK_HOSTS)
    plain = parts.username is None and parts.password is None and "?" not in text
    exact = "#" not in text and text.startswith(f"{parts.scheme}://")
    if not (secure and plain and exact and _PATH.fullmatch(parts.path)):
        return None
    if parts.netloc != parts.netloc.lower() or not _HOST.fullmatch(host):
        return None
    return None if port in (0, _DEFAULT_PORTS[parts.scheme]) else text


def is_loopback(address: str) -> bool:
    """Return whether an address is on this machine."""
    return urlsplit(address).hostname in LOOPBACK_HOSTS


def read_origin(text: str) -> str | None:
    """Return an address without a path; one slash at its end is left out."""
    found = read_address(text)
    if found is None or urlsplit(found).path not in {"", "/"}:
        return None
    return found.removesuffix("/")


def is_webhook_address(text: str) -> bool:
    """Return whether a notice may be sent to an address. It may have a query: Teams signs by it."""
    plain, _, query = text.partition("?")
    whole = query.isascii() and query.isprintable() and " " not in query and "#" not in query
    return whole and read_address(plain) is not None


def read_database(text: str) -> str | None:
    """Return the address of a PostgreSQL database that contains no password, else None."""
    return text if is_database_address(text) and ":" not in _user_part(text) else None


def is_database_address(text: str) -> bool:
    """Return whether a text is a PostgreSQL address that names a database."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    known = parts.scheme in {"postgresql", "postgres"}
    return known and len(parts.path) > 1 and text.isprintable() and " " not in text


def _user_part(text: str) -> str:
    parts = urlsplit(text)
    has_password = "password=" in parts.query.lower()
    return ":" if has_password else parts.netloc.rpartition("@")[0]


def _split(text: str) -> SplitResult | None:
    """Return the parts of an address with a valid port, else None."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    whole = text.isascii() and text.isprintable() and " " not in text and "\\" not in text
    return parts if whole and parts.hostname and parts.scheme in _DEFAULT_PORTS else None


ADDRESS = Check("an https address (http only on this machine)", read_address)
WEBHOOK = Check(
    "an https address without a query (http only on this machine); put one with a secret into the"
    " file that url_file names",
    read_address,
)
ISSUER = Check(
    "the exact https address of the issuer, as its discovery document has it (http only on this"
    " machine)",
    read_address,
)
ORIGIN = Check(
    "an https address without a path, e.g. https://kartra.example.com (http only on this machine)",
    read_origin,
)
DATABASE = Check(
    "postgresql://USER@HOST/NAME without a password (put an address with a password into the file"
    " that database_file names)",
    read_database,
)
