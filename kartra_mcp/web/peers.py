"""User id behind a loopback connection, read from the system's connection tables (Linux).

The loopback interface is shared by all users of a machine, and a cookie by all ports of a host.
With this check, another user's program cannot use a stolen cookie.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9
"""Columns of the tables."""

_MAPPED = "0" * 16 + ("FFFF0000" if sys.byteorder == "little" else "0000FFFF")
_CLOSED_INODE, _UNKNOWN_UID = "0", -1
"""Values of a closed end in the tables: no inode, and uid 0, which would pass as root."""

_MAX_READS = 3
"""Reads of a table that may omit a line, because it changes while it is read."""

_ROOT = 0
"""Accepted user: root can read everything anyway, and port forwarders often run as root."""


def is_foreign_user(client: tuple[str, int] | None, server_port: int) -> bool:
    """Return True if the peer belongs to another user, or if its user cannot be determined.

    Systems without these tables (all but Linux) accept every peer.
    """
    if not TABLES[0].exists():
        return False
    if client is None:
        return True
    reads = (find_uid(client, server_port, _read_tables()) for _ in range(_MAX_READS))
    uid = next((found for found in reads if found is not None), _UNKNOWN_UID)
    return uid not in {os.getuid(), _ROOT}


def find_uid(client: tuple[str, int], server_port: int, lines: Iterable[str]) -> int | None:
    """Find the user id of the peer in the lines of the connection tables."""
    local, remote = _format_address(*client), _format_address(client[0], server_port)
    for line in lines:
        columns = line.split()
        if len(columns) <= _INODE:
            continue
        if _parse_end(columns[_LOCAL]) == local and _parse_end(columns[_REMOTE]) == remote:
            return int(columns[_UID]) if columns[_INODE] != _CLOSED_INODE else _UNKNOWN_UID
    return None


def _read_tables() -> Iterable[str]:
    for table in TABLES:
        try:
            yield from table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # e.g. no file descriptor left; the peer is then unknown and rejected
            continue


def _format_address(host: str, port: int) -> tuple[str, int]:
    """Format an address as in the tables: four bytes in the machine's byte order."""
    number = int.from_bytes(socket.inet_aton(host), sys.byteorder)
    return f"{number:08X}", port


def _parse_end(column: str) -> tuple[str, int]:
    """Parse an address of the tables; an IPv4 address mapped to IPv6 becomes the IPv4 address."""
    address, _, port = column.partition(":")
    return address.removeprefix(_MAPPED), int(port, 16)
