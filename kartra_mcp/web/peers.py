"""Whose program is at the other end of a connection, where the system tells (Linux).

The loopback interface is shared by all users of a machine, and a cookie by all ports of a host: a
stolen one is worth nothing to a program of another user.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_MAPPED = "0" * 16 + ("FFFF0000" if sys.byteorder == "little" else "0000FFFF")
_GONE, _NOBODY = "0", -1
"""Of an end that was closed already the system no longer tells whose it was, and says root."""

_LOOKS = 3
"""A table that changes while it is read may leave a line out."""

_ROOT = 0
"""May read everything anyway; what forwards connections to us often runs as root."""


def is_foreign_user(client: tuple[str, int] | None, server_port: int) -> bool:
    """Whether another user's program asks, or on a system that tells nobody knows whose.

    Elsewhere than on Linux nothing tells, and nobody is strange.
    """
    if not TABLES[0].exists():
        return False
    looks = (find_uid(client, server_port, _read_tables()) for _ in range(_LOOKS)) if client else ()
    uid = next((found for found in looks if found is not None), _NOBODY)
    return uid not in {os.getuid(), _ROOT}


def find_uid(client: tuple[str, int], server_port: int, lines: Iterable[str]) -> int | None:
    """Who has the other end open, by the lines of the system's tables of connections."""
    here, there = _format_address(*client), _format_address(client[0], server_port)
    for line in lines:
        columns = line.split()
        if len(columns) > 9 and _parse_end(columns[1]) == here and _parse_end(columns[2]) == there:  # noqa: PLR2004
            return int(columns[7]) if columns[9] != _GONE else _NOBODY
    return None


def _read_tables() -> Iterable[str]:
    for table in TABLES:
        try:
            yield from table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # such as no descriptor left: then nobody is found
            continue


def _format_address(host: str, port: int) -> tuple[str, int]:
    """As the tables have it: four bytes in the machine's own order."""
    number = int.from_bytes(socket.inet_aton(host), sys.byteorder)
    return f"{number:08X}", port


def _parse_end(column: str) -> tuple[str, int]:
    """An address of the table; of one in IPv6 that stands for IPv4, that."""
    address, _, port = column.partition(":")
    return address.removeprefix(_MAPPED), int(port, 16)
